"""Graphs against torch: every architecture, any batch size and length, one file, the same bytes every time."""

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from lilliput import encoder
from lilliput.export.onnx import OPSET, describe, export_onnx
from lilliput.export.quantize import overflows, quantize_int8
from lilliput.export.smooth import smooth
from lilliput.machine import Cpu

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture(scope="module")
def exported(encoders, tiny, tmp_path_factory):
    """Model, input names and graph of an architecture, exported once."""
    made = {}

    def export(architecture):
        if architecture not in made:
            model = encoders.classifier(architecture, layers=2)
            names = encoder.input_names_of(model, encoders.tokenizer(architecture, tiny.tokenizer))
            path = tmp_path_factory.mktemp(architecture) / "onnx" / "model.onnx"
            export_onnx(model, names, path)
            made[architecture] = model, names, path
        return made[architecture]

    return export


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def batch(names, shape, seed=0):
    """Random tokens; the last third of every second row is padding; the second half of a pair has type 1."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, 500, shape)
    mask = np.ones(shape, dtype=np.int64)
    mask[1::2, (2 * shape[1] + 2) // 3 :] = 0
    ids[mask == 0] = 1
    types = np.zeros(shape, dtype=np.int64)
    types[:, shape[1] // 2 + 1 :] = 1
    made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: made[name] for name in names}


def samples(names):
    """Inputs of three single texts, for the quantizer."""
    return [batch(names, (1, length), seed=length) for length in (4, 9, 17)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_graph_answers_as_torch_does_at_any_batch_size_and_length(exported, architecture):
    model, names, path = exported(architecture)
    graph = session(path)
    for shape in ((1, 1), (1, 2), (1, 13), (2, 8), (3, 1), (5, 40)):
        given = batch(names, shape)
        (found,) = graph.run(["logits"], given)
        with torch.no_grad():
            expected = model(**{name: torch.tensor(values) for name, values in given.items()}).logits.numpy()
        assert found.shape == (shape[0], 2)
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() < 2e-5, shape


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_last_feed_forward_network_works_on_one_token(exported, architecture):
    _, names, path = exported(architecture)
    graph = onnx.load(path)
    inner = [node.output[0] for node in graph.graph.node if node.op_type in ("Erf", "Gelu")]
    graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in inner)
    probe = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    shapes = [value.shape for value in probe.run(inner, batch(names, (2, 9)))]
    # Two blocks of 24 neurons; ELECTRA's head has an activation of its own, over the 16 dimensions of that token.
    assert [shape[1] for shape in shapes if shape[-1] == 24] == [9, 1]


@pytest.mark.parametrize("architecture", ["bert", "electra"])
def test_every_input_counts(exported, architecture):
    _, names, path = exported(architecture)
    graph, given = session(path), batch(names, (2, 9))
    (before,) = graph.run(None, given)
    for name in names:
        changed = {**given, name: given[name].copy()}
        changed[name][:, 4] = 1 - changed[name][:, 4] if name != "input_ids" else 77
        (after,) = graph.run(None, changed)
        assert np.abs(after - before).max() > 1e-3, name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_names_types_and_free_dimensions(exported, architecture):
    _, names, path = exported(architecture)
    expected = ["input_ids", "attention_mask"]
    if architecture in ("bert", "electra"):
        expected.append("token_type_ids")
    graph = onnx.load(path).graph

    def of(value):
        tensor = value.type.tensor_type
        return value.name, tensor.elem_type, [d.dim_param or d.dim_value for d in tensor.shape.dim]

    assert list(names) == expected
    free = ["batch_size", "sequence_length"]
    assert [of(value) for value in graph.input] == [(name, onnx.TensorProto.INT64, free) for name in expected]
    assert [of(value) for value in graph.output] == [("logits", onnx.TensorProto.FLOAT, ["batch_size", 2])]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_valid_file_of_opset_18(exported, architecture):
    _, _, path = exported(architecture)
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path, load_external_data=False)
    assert all(tensor.data_location != onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)
    assert [(entry.domain, entry.version) for entry in model.opset_import if entry.domain == ""] == [("", 18)]
    assert OPSET == 18


def test_a_description_counts_the_operators(exported):
    _, _, path = exported("bert")
    found = describe(path)
    assert found["opset"] == 18
    nodes = [node.op_type for node in onnx.load(path).graph.node]
    assert sum(found["operators"].values()) >= len(nodes)
    assert found["operators"]["Erf"] == 2  # one exact GELU a layer
    assert found["operators"]["Softmax"] == 2
    assert list(found["operators"]) == sorted(found["operators"])


def test_the_same_model_gives_the_same_bytes(encoders, tiny, tmp_path):
    digests = []
    for folder in ("one", "other"):
        model = encoders.classifier("bert", layers=1)
        path = tmp_path / folder / "model.onnx"
        export_onnx(model, encoder.input_names_of(model, tiny.tokenizer()), path)
        quantize_int8(path, path.with_name("int8.onnx"), samples(INPUTS))
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(path.parent.iterdir())])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 2


def test_a_model_in_training_is_exported_without_dropout_and_left_as_it_was(encoders, tiny, tmp_path):
    model = encoders.classifier("distilbert", layers=1)
    names = encoder.input_names_of(model, encoders.tokenizer("distilbert", tiny.tokenizer))
    export_onnx(model, names, tmp_path / "model.onnx")
    assert "Dropout" not in describe(tmp_path / "model.onnx")["operators"]
    assert not model.training
    graph, given = session(tmp_path / "model.onnx"), batch(names, (2, 9))
    assert np.array_equal(graph.run(None, given)[0], graph.run(None, given)[0])


def test_exporting_says_nothing(encoders, tiny, tmp_path, capfd, recwarn):
    model = encoders.classifier("bert", layers=1)
    export_onnx(model, encoder.input_names_of(model, tiny.tokenizer()), tmp_path / "model.onnx")
    quantize_int8(tmp_path / "model.onnx", tmp_path / "int8.onnx", samples(INPUTS))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert [str(warning.message) for warning in recwarn] == []


# --- int8 ------------------------------------------------------------------------------------------------------------


def quantized_weights(path):
    """The int8 weights of each integer product of a graph, by the product's name, and all initializers."""
    graph = onnx.load(path).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    return {node.name: tensors[node.input[1]] for node in graph.node if node.op_type == "MatMulInteger"}, tensors


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_int8_weights_are_signed_and_scaled_by_channel_and_answers_come_near(exported, tmp_path, architecture):
    _, names, path = exported(architecture)
    target = tmp_path / "int8.onnx"
    quantize_int8(path, target, samples(names))
    assert [file.name for file in tmp_path.iterdir()] == ["int8.onnx"]
    found = {node.name: node for node in onnx.load(target).graph.node if node.op_type == "MatMulInteger"}
    weights, tensors = quantized_weights(target)
    assert set(weights) == set(found)
    # Queries, keys, values, output and the two of the feed-forward network, in each of 2 layers; products of two
    # activations (scores, mixing) are not among them, and the head is one or two more, ELECTRA's projection another.
    assert 12 <= len(weights) <= 15
    for tensor in weights.values():
        assert tensor.data_type == onnx.TensorProto.INT8
        assert list(tensors[tensor.name.replace("_quantized", "_scale")].dims) == [tensor.dims[1]]
    given = batch(names, (1, 13))
    (exact,), (rough,) = session(path).run(None, given), session(target).run(None, given)
    assert 0 < np.abs(exact - rough).max() < 0.2 * max(1.0, np.abs(exact).max())


def test_smoothing_changes_no_answer_and_evens_out_the_channels(exported, tmp_path):
    _, names, path = exported("bert")
    smooth(path, tmp_path / "smooth.onnx", samples(names))
    onnx.checker.check_model(str(tmp_path / "smooth.onnx"), full_check=True)
    plain, smoothed = session(path), session(tmp_path / "smooth.onnx")
    for shape in ((1, 1), (3, 17)):
        given = batch(names, shape, seed=5)
        (one,), (other,) = plain.run(None, given), smoothed.run(None, given)
        assert np.abs(one - other).max() < 1e-4


def test_smoothing_by_hand(tmp_path):
    """X W with channels of 8 and 1/8 in X and rows of 1 in W: s = 8^0.8 and (1/8)^0.8, whose geometric mean is 1."""
    rows = np.array([[1.0, -1.0], [0.5, 1.0]], dtype=np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "one product",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2])],
        [onnx.numpy_helper.from_array(rows, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.save(model, tmp_path / "plain.onnx")
    seen = [{"x": np.array([[8.0, 0.125], [1.0, 0.0]], np.float32)}, {"x": np.array([[-2.0, -0.1]], np.float32)}]
    smooth(tmp_path / "plain.onnx", tmp_path / "smooth.onnx", seen)
    found = onnx.load(tmp_path / "smooth.onnx").graph
    assert [node.op_type for node in found.node] == ["Mul", "MatMul"]
    inverse, weights = (onnx.numpy_helper.to_array(tensor) for tensor in found.initializer)
    expected = np.array([8.0**0.8, 0.125**0.8])
    assert inverse == pytest.approx(1 / expected, rel=1e-5)
    assert weights == pytest.approx(rows * expected[:, None], rel=1e-5)


@pytest.mark.parametrize(
    ("architecture", "features", "expected"),
    [
        ("x86_64", ("AVX2",), True),
        ("AMD64", (), True),
        ("x86_64", ("AVX2", "AVX-512", "VNNI"), False),
        ("x86_64", ("AMX-INT8",), False),
        ("aarch64", ("DOTPROD",), False),
        ("x86_64", None, False),  # the system does not say: as most processors are
    ],
)
def test_weights_have_seven_bits_where_eight_would_overflow(architecture, features, expected):
    assert overflows(Cpu("any", architecture, features)) is expected


@pytest.mark.parametrize(("reduce_range", "largest"), [(True, 64), (False, 127)])
def test_reduced_weights_are_half_as_large(exported, tmp_path, reduce_range, largest):
    _, names, path = exported("bert")
    quantize_int8(path, tmp_path / "int8.onnx", samples(names), reduce_range=reduce_range)
    weights, _ = quantized_weights(tmp_path / "int8.onnx")
    sizes = [np.abs(numpy_helper.to_array(tensor).astype(int)).max() for tensor in weights.values()]
    assert set(sizes) == {largest}
