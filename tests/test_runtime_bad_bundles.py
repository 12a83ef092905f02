"""Loading bundles that were tampered with, and bundles that an enemy made."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from lilliput import tokenization
from lilliput.bundle import MANIFEST, write_manifest
from lilliput.errors import BundleError, IntegrityError
from lilliput.runtime import load


@pytest.mark.parametrize("name", ["onnx/model_quantized.onnx", "tokenizer.json"])
def test_nothing_of_a_tampered_bundle_is_parsed(tiny_copy, monkeypatch, name):
    folder = tiny_copy()
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)

    def parser(*_, **__):
        pytest.fail("a parser saw bytes of a tampered bundle")

    monkeypatch.setattr(tokenization, "Tokenizer", type("Parser", (), {"from_str": staticmethod(parser)}))
    monkeypatch.setattr(onnxruntime, "InferenceSession", parser)
    with pytest.raises(IntegrityError, match=f"{name}: changed"):
        load(folder)


@pytest.mark.parametrize("name", [MANIFEST, "onnx/model_quantized.onnx", "tokenizer.json"])
def test_missing_and_truncated_files_are_named(tiny_copy, name):
    folder = tiny_copy()
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=name):
        load(folder)
    (folder / name).unlink()
    with pytest.raises(IntegrityError, match=f"{name}: missing"):
        load(folder)


def test_files_that_are_not_needed_are_not_opened(tiny_copy):
    folder = tiny_copy()
    (folder / "model.safetensors").unlink()
    (folder / "onnx/model.onnx").unlink()
    (folder / "config.json").write_text("not JSON")
    assert load(folder)("good")


@pytest.fixture
def hostile(tiny, tiny_copy):
    """Makes a bundle with valid hashes around a graph of our own."""

    def make(graph, **changes):
        folder = tiny_copy()
        (folder / "onnx/model_quantized.onnx").unlink()
        (folder / "onnx/model.onnx").write_bytes(graph)
        write_manifest(folder, **tiny.manifest_fields(folder, **changes))
        return folder

    return make


def graph_of(*nodes, inputs=("input_ids", "attention_mask", "token_type_ids"), output="logits", tensors=()):
    """The bytes of a graph of hand-written nodes over the usual inputs."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        list(nodes),
        "g",
        [value(name, onnx.TensorProto.INT64, ["batch_size", "sequence_length"]) for name in inputs],
        [value(output, onnx.TensorProto.FLOAT, None)],
        list(tensors),
    )
    opset = onnx.helper.make_opsetid("", 18)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()


def constant(output, array):
    return onnx.helper.make_node("Constant", [], [output], value=onnx.numpy_helper.from_array(array))


def test_a_constant_graph_answers(hostile):
    row = np.array([[0, 1, 2]], dtype=np.float32)
    assert load(hostile(graph_of(constant("logits", row)))).logits(["a", "b"]).tolist() == [[0, 1, 2]] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(hostile, bad):
    with pytest.raises(IntegrityError, match=r"onnx/model\.onnx: tensor '' holds numbers that are not finite"):
        load(hostile(graph_of(constant("logits", np.array([[0, bad, 1]], dtype=np.float32)))))


@pytest.mark.parametrize("over_zero", [0, 1, -1])
def test_logits_that_are_not_finite(hostile, over_zero):
    row = constant("row", np.array([[0, over_zero, 1]], dtype=np.float32))
    zeros = constant("zeros", np.array([[1, 0, 1]], dtype=np.float32))
    model = load(hostile(graph_of(row, zeros, onnx.helper.make_node("Div", ["row", "zeros"], ["logits"]))))
    with pytest.raises(BundleError, match="outputs of item 0 are not finite"):
        model("good")


@pytest.mark.parametrize("shape", [(1, 2), (2, 3), (3,), (1, 1)])
def test_logits_of_another_shape(hostile, shape):
    with pytest.raises(IntegrityError, match=r"outputs of shape \[.*\] for 24 tokens and 3 labels"):
        load(hostile(graph_of(constant("logits", np.zeros(shape, dtype=np.float32)))))


def test_logits_of_another_shape_for_short_texts(hostile):
    """As many labels as the longest text has tokens over 8: 3 of 24, none of few."""
    node = onnx.helper.make_node
    eight, zero, one = (constant(name, np.array([n])) for name, n in (("eight", 8), ("zero", 0), ("one", 1)))
    row = constant("row", np.zeros((1, 3), dtype=np.float32))
    count = node("Shape", ["input_ids"], ["tokens"], start=1)
    end, cut = (
        node("Div", ["tokens", "eight"], ["end"]),
        node("Slice", ["row", "zero", "end", "one"], ["logits"]),
    )
    model = load(hostile(graph_of(eight, zero, one, row, count, end, cut)))
    assert model("good " * 24)
    with pytest.raises(BundleError, match="and 3 labels"):
        model("good")


def test_other_inputs_and_outputs(hostile):
    row = constant("logits", np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(BundleError, match="the manifest says"):
        load(hostile(graph_of(row, inputs=("input_ids", "attention_mask"))))
    with pytest.raises(BundleError, match="can feed"):
        load(hostile(graph_of(row, inputs=("input_ids", "pixels")), inputs=("input_ids", "pixels")))
    other = constant("scores", np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(BundleError, match="no output called 'logits'"):
        load(hostile(graph_of(other, output="scores")))


def test_a_graph_without_token_types(hostile):
    row = constant("logits", np.zeros((1, 3), dtype=np.float32))
    names = ("input_ids", "attention_mask")
    assert load(hostile(graph_of(row, inputs=names), inputs=names))("good")


@pytest.mark.parametrize("graph", [b"", b"junk" * 9, b"\x08"], ids=repr)
def test_what_is_no_graph(hostile, graph, capfd):
    with pytest.raises(IntegrityError, match=r"onnx/model\.onnx: not an ONNX graph"):
        load(hostile(graph))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("location", ["weights.bin", "/etc/passwd", "../weights.bin", "*/_ORT_MEM_ADDR_/*"])
def test_external_data_does_not_load(hostile, location, tmp_path, monkeypatch):
    (tmp_path / "weights.bin").write_bytes(bytes(12))
    monkeypatch.chdir(tmp_path)
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1, 3], bytes(12), raw=True)
    onnx.external_data_helper.set_external_data(tensor, location, offset=0, length=12)
    tensor.ClearField("raw_data")
    graph = graph_of(onnx.helper.make_node("Identity", ["w"], ["logits"]), tensors=[tensor])
    with pytest.raises(IntegrityError, match="tensor 'w' lies in another file"):
        load(hostile(graph))


def test_outputs_of_another_type(hostile, capfd):
    row = constant("row", np.zeros((1, 3), dtype=np.int64))
    same = onnx.helper.make_node("Identity", ["row"], ["logits"])
    with pytest.raises(BundleError, match=r"onnx/model\.onnx: the output 'logits' comes to be of element type 7"):
        load(hostile(graph_of(row, same)))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_tokens_beyond_the_embedding_are_an_error(tiny, tiny_copy, precision):
    folder = tiny_copy()
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["good"] = len(tiny.vocabulary())
    (folder / "tokenizer.json").write_text(json.dumps(content))
    write_manifest(folder, **tiny.manifest_fields(folder))
    rows = len(tiny.vocabulary())
    with pytest.raises(IntegrityError, match=rf"tokenizer\.json: token id {rows}, but the model has {rows} rows"):
        load(folder, precision=precision)


def test_a_task_from_the_future(hostile):
    row = constant("logits", np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(BundleError, match="a bundle for 'telepathy'; this version answers classification, "):
        load(hostile(graph_of(row), task="telepathy"))
    with pytest.raises(BundleError, match="at least 2"):
        load(hostile(graph_of(row), labels=("only",)))
