"""Graphs read from their bytes: the onnx package agrees on what they hold; and what they may cost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lilliput.errors import IntegrityError
from lilliput.export.onnx import describe
from lilliput.guards import graphs, limits
from lilliput.guards.limits import Expected
from lilliput.guards.protobuf import Malformed

NAMES = ("onnx/model.onnx", "onnx/model_quantized.onnx")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@pytest.mark.parametrize("name", NAMES)
def test_the_onnx_package_agrees(tiny_bundle, name):
    data = (tiny_bundle / name).read_bytes()
    found, model = graphs.read(data), onnx.load(tiny_bundle / name)
    assert {"opset": found.opsets[""], "operators": found.operators} == describe(tiny_bundle / name)
    assert [node.outputs for node in found.nodes] == [tuple(node.output) for node in model.graph.node]
    assert [node.inputs for node in found.nodes] == [tuple(node.input) for node in model.graph.node]
    assert list(found.inputs) == list(INPUTS)
    assert list(found.outputs) == ["logits"]
    assert list(found.tensors) == [tensor.name for tensor in model.graph.initializer]
    for tensor in model.graph.initializer:
        expected = numpy_helper.to_array(tensor)
        ours = found.tensors[tensor.name]
        assert ours.dims == expected.shape
        np.testing.assert_array_equal(ours.numbers(data), expected.ravel())
    for node, theirs in zip(found.nodes, model.graph.node, strict=True):
        numbers = {a.name: helper.get_attribute_value(a) for a in theirs.attribute if a.type in (2, 7)}
        assert {name: value for name, value in node.attributes.items() if value is not None} == numbers


KINDS = ("FLOAT", "INT64", "INT32", "INT8", "UINT8", "BOOL", "FLOAT16")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raw", [True, False])
def test_numbers_of_every_type(kind, raw):
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind))
    values = np.array([[0, 1], [1, 0]] if kind == "BOOL" else [[0, 1], [100, 7]]).astype(dtype)
    values = -values if kind in ("FLOAT", "INT64", "INT32", "INT8", "FLOAT16") else values
    given = values.tobytes() if raw else values.ravel()
    tensor = helper.make_tensor("a", getattr(TensorProto, kind), (2, 2), given, raw=raw)
    data = helper.make_model(helper.make_graph([], "g", [], [], [tensor])).SerializeToString()
    np.testing.assert_array_equal(graphs.read(data).tensors["a"].numbers(data), values.ravel())


def test_bfloat16():
    tensor = TensorProto(name="a", data_type=TensorProto.BFLOAT16, dims=[2], raw_data=b"\x80\x3f\x80\xff")
    data = helper.make_model(helper.make_graph([], "g", [], [], [tensor])).SerializeToString()
    assert graphs.read(data).tensors["a"].numbers(data).tolist() == [1.0, -np.inf]


def mean(width=4, labels=3, **tensors):
    """``logits = mean(table[input_ids]) @ matrix``"""
    node, value = helper.make_node, helper.make_tensor_value_info
    arrays = {"table": np.ones((10, width), np.float32), "matrix": np.ones((width, labels), np.float32)}
    nodes = [
        node("Gather", ["table", "input_ids"], ["vectors"]),
        node("ReduceMean", ["vectors", "axis"], ["mean"], keepdims=0),
        node("MatMul", ["mean", "matrix"], ["logits"]),
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [value(name, TensorProto.INT64, ["b", "t"]) for name in INPUTS[:2]],
            [value("logits", TensorProto.FLOAT, ["b", labels])],
            [numpy_helper.from_array(a, n) for n, a in {**arrays, "axis": np.array([1]), **tensors}.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )


EXPECTED = Expected(18, {"Gather": 1, "MatMul": 1, "ReduceMean": 1}, INPUTS[:2], ("logits",), ("labels",), 3, 6)


def check(model, expected=EXPECTED):
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return limits.check(data, Path("model.onnx"), expected)


def test_cost_by_hand():
    """6 tokens, width 4. Gather reads 40 and 6 and writes 24; ReduceMean reads 24 and 1 and writes 4; MatMul: 3 x 4."""
    cost = check(mean())
    assert cost.work == 8 * (40 + 6 + 24) + 8 * (24 + 1 + 4) + 12
    assert cost.memory == 4 * 24 + 4 * 4  # the vectors and their mean; then mean and logits, 28 bytes, are less
    assert cost.rows == 10


def test_cost_is_bounded_by_the_size_of_the_file(monkeypatch):
    data = mean().SerializeToString()
    monkeypatch.setattr(limits, "WORK", 0)
    monkeypatch.setattr(limits, "WORK_A_BYTE", 1)
    monkeypatch.setattr(limits, "MEMORY", 112)
    monkeypatch.setattr(limits, "MEMORY_A_BYTE", 0)
    assert 6 * len(data) > check(data).work > 800
    monkeypatch.setattr(limits, "MEMORY", 111)
    with pytest.raises(IntegrityError, match="needs 112 bytes of memory up to operator 'ReduceMean'"):
        check(data)
    monkeypatch.setattr(limits, "WORK_A_BYTE", 0)
    monkeypatch.setattr(limits, "WORK", 700)
    with pytest.raises(IntegrityError, match="needs 792 steps of work up to operator 'ReduceMean'"):
        check(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"opset": 17}, "opset 18, but the manifest says 17"),
        ({"operators": {"Gather": 1, "MatMul": 1}}, "1 of operator 'ReduceMean', but the manifest says 0"),
        ({"operators": {**EXPECTED.operators, "Add": 2}}, "0 of operator 'Add', but the manifest says 2"),
        ({"inputs": INPUTS}, r"inputs \['attention_mask', 'input_ids'\], but the manifest says"),
        ({"outputs": ("start_logits",)}, "no output called 'start_logits'"),
        ({"labels": 2}, r"outputs of shape \[1, 3\] for 6 tokens and 2 labels"),
        ({"dimensions": ("tokens", "labels")}, r"outputs of shape \[1, 3\]"),
        ({"dimensions": ("tokens",)}, r"outputs of shape \[1, 3\]"),
    ],
)
def test_what_the_manifest_says(change, words):
    with pytest.raises(IntegrityError, match=rf"^model\.onnx: {words}"):
        check(mean(), replace(EXPECTED, **change))


def test_masks_may_be_infinite_and_weights_not():
    assert check(mean(mask=np.array(-np.inf, np.float32)))
    for bad in (np.array(np.nan), np.array(np.inf), np.array([-np.inf, 0])):
        with pytest.raises(IntegrityError, match="tensor 'bad' holds numbers that are not finite"):
            check(mean(bad=bad.astype(np.float32)))


def test_texts_longer_than_the_positions(tiny, tiny_bundle):
    """The tiny model has 24 positions: 25 tokens do not fit together with them."""
    data = (tiny_bundle / NAMES[0]).read_bytes()
    expected = Expected(18, graphs.read(data).operators, INPUTS, ("logits",), ("labels",), 3, tiny.MAX_LENGTH)
    assert check(data, expected).rows == len(tiny.vocabulary())
    with pytest.raises(IntegrityError, match=r"shapes .*25.* don't fit together"):
        check(data, replace(expected, tokens=tiny.MAX_LENGTH + 1))


def test_a_graph_that_is_cut_off_anywhere():
    data = mean().SerializeToString()
    for length in range(0, len(data), 7):
        with pytest.raises((Malformed, IntegrityError)):
            check(data[:length])
