"""Shapes and small values of each operator, against the reference implementation of ONNX, or ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from lilliput.guards import graphs, shapes
from lilliput.guards.operators import RULES
from lilliput.guards.protobuf import Malformed
from lilliput.guards.values import Value

F = np.float32
DRAW = np.random.default_rng(0)


def floats(*shape):
    return DRAW.normal(size=shape).astype(F)


def whole(*values):
    return np.array(values, dtype=np.int64)


UNARY = ("Erf", "Tanh", "Relu", "Sigmoid", "Exp", "Neg", "Abs", "Reciprocal", "Clip", "Identity", "IsNaN", "Softmax")
CASES = [
    *((name, [floats(2, 3)], {}) for name in (*UNARY, "LogSoftmax")),
    *((name, [abs(floats(2, 3))], {}) for name in ("Sqrt", "Log")),
    *((name, [floats(2, 1, 3), floats(4, 1)], {}) for name in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min")),
    *((name, [floats(2, 1), floats(3)], {}) for name in ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")),
    *((name, [whole(7, 9, 4), whole(2)], {}) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
    *((name, [whole(7, 2), whole(2)], {}) for name in ("Equal", "Less", "Greater")),
    *((name, [np.array([[True], [False]]), np.array([True, False])], {}) for name in ("And", "Or")),
    ("Not", [np.array([True, False])], {}),
    ("Gelu", [floats(2, 3)], {}),
    ("LayerNormalization", [floats(2, 3), floats(3), floats(3)], {}),
    ("CumSum", [whole(1, 2, 3), np.array(0)], {}),
    ("Where", [np.array([[True], [False]]), floats(1, 3), floats(1, 1)], {}),
    ("Cast", [floats(2, 3)], {"to": TensorProto.INT64}),
    ("Cast", [whole(1, 2)], {"to": TensorProto.INT32}),
    ("Shape", [floats(2, 3, 4)], {}),
    ("Shape", [floats(2, 3, 4)], {"start": 1, "end": -1}),
    ("Reshape", [floats(2, 3, 4), whole(0, -1)], {}),
    ("Reshape", [floats(2, 3, 4), whole(4, 6)], {"allowzero": 1}),
    ("Reshape", [whole(1, 2, 3, 4), whole(2, 2)], {}),
    ("Transpose", [floats(2, 3, 4)], {}),
    ("Transpose", [floats(2, 3, 4)], {"perm": [0, 2, 1]}),
    ("Unsqueeze", [floats(2, 3), whole(0, -1)], {}),
    ("Squeeze", [floats(1, 3, 1), whole(0)], {}),
    ("Squeeze", [floats(1, 3, 1)], {}),
    ("Concat", [floats(2, 3), floats(2, 1)], {"axis": -1}),
    ("Concat", [whole(1), whole(2, 3)], {"axis": 0}),
    ("Slice", [floats(5, 6), whole(1), whole(4), whole(0), whole(2)], {}),
    ("Slice", [floats(5, 6), whole(-2), whole(2**62), whole(-1)], {}),
    ("Slice", [whole(1, 2, 3), whole(2), whole(-10), whole(0), whole(-1)], {}),
    ("Split", [floats(5, 2)], {"num_outputs": 2, "axis": 0}),
    ("Split", [floats(5, 2), whole(1, 4)], {"axis": 0}),
    ("Gather", [floats(5, 2), whole([1, 2], [0, 4])], {}),
    ("Gather", [whole(5, 6, 7), np.array(1)], {}),
    ("GatherElements", [floats(2, 3), whole([0], [1])], {"axis": 1}),
    ("GatherND", [floats(2, 3, 4), whole([0, 1], [1, 2])], {}),
    ("GatherND", [floats(2, 3, 4), whole([0], [1])], {"batch_dims": 1}),
    ("Expand", [floats(3, 1), whole(2, 1, 4)], {}),
    ("Range", [np.array(2), np.array(9), np.array(3)], {}),
    ("Range", [np.array(9), np.array(2), np.array(-3)], {}),
    ("Pad", [floats(2, 3), whole(1, 0, 0, 2)], {}),
    *((name, [floats(2, 3, 4), whole(1)], {"keepdims": 0}) for name in ("ReduceMean", "ReduceSum", "ReduceMax")),
    ("ReduceMin", [floats(2, 3, 4), whole(-1, 0)], {}),
    ("ReduceSum", [floats(2, 3)], {"keepdims": 0}),
    ("MatMul", [floats(2, 1, 3, 4), floats(5, 4, 6)], {}),
    ("MatMul", [floats(4), floats(4, 6)], {}),
    ("MatMul", [floats(3, 4), floats(4)], {}),
    ("MatMul", [floats(4), floats(4)], {}),
    ("MatMulInteger", [np.ones((2, 3), np.uint8), np.ones((3, 4), np.int8)], {}),
    ("Gemm", [floats(3, 2), floats(4, 3), floats(4)], {"transA": 1, "transB": 1}),
    ("QuantizeLinear", [floats(2, 3), np.array(0.1, F), np.array(0, np.int8)], {}),
    ("DequantizeLinear", [np.ones((2, 3), np.int8), np.array(0.1, F)], {}),
    ("DynamicQuantizeLinear", [floats(2, 3)], {}),
]


def rule_outputs(operator, arrays, attributes, outputs, domain=""):
    """What our rule says of an operator on constants."""
    given = []
    for array in arrays:
        tensor = numpy_helper.from_array(array)
        numbers = array.astype(np.int64) if array.dtype in (np.int64, np.int32) else None
        given.append(Value(array.shape, tensor.data_type, numbers))
    made = {name: value for name, value in attributes.items() if not isinstance(value, str)}
    node = graphs.Node(operator, domain, "n", tuple("abcdef"[: len(arrays)]), outputs, made)
    return shapes.outputs_of(node, given, b"")


def model_of(operator, arrays, attributes, outputs, domain="", opset=20):
    names = tuple("abcdef"[: len(arrays)])
    node = helper.make_node(operator, names, outputs, domain=domain, **attributes)
    types = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in arrays]
    ends = [
        helper.make_tensor_value_info(name, type_, array.shape)
        for name, type_, array in zip(names, types, arrays, strict=True)
    ]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "g", ends, results)
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


@pytest.mark.parametrize(("operator", "arrays", "attributes"), CASES)
def test_the_reference_agrees(operator, arrays, attributes):
    outputs = {"Split": ("y", "z"), "DynamicQuantizeLinear": ("y", "s", "p")}.get(operator, ("y",))
    feeds = dict(zip("abcdef", arrays, strict=False))
    with np.errstate(all="ignore"):
        expected = ReferenceEvaluator(model_of(operator, arrays, attributes, outputs)).run(None, feeds)
    found = rule_outputs(operator, arrays, attributes, outputs)
    assert [value.shape for value in found] == [np.shape(array) for array in expected]
    assert [value.type for value in found] == [helper.np_dtype_to_tensor_dtype(np.asarray(a).dtype) for a in expected]
    for value, array in zip(found, expected, strict=True):
        if value.numbers is not None:
            np.testing.assert_array_equal(value.numbers, array)


def test_every_operator_is_compared():
    tried = {operator for operator, *_ in CASES} | {"Constant"}
    assert {name for domain, name in RULES if domain == ""} == tried


def test_small_values_are_followed():
    """What shapes are computed with must not get lost."""
    assert rule_outputs("Shape", [floats(2, 3)], {}, ("y",))[0].numbers.tolist() == [2, 3]
    for operator in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Reshape", "Concat", "Slice", "Gather", "Range"):
        found = [
            rule_outputs(name, arrays, attributes, ("y",))[0].numbers
            for name, arrays, attributes in CASES
            if name == operator and all(array.dtype == np.int64 for array in arrays)
        ]
        assert found, operator
        assert all(numbers is not None for numbers in found), operator


@pytest.mark.parametrize("block", [16, 32])
def test_products_of_blocks(block):
    packed = np.zeros((6, 64 // block, block // 2), np.uint8)
    arrays = [floats(2, 3, 64), packed, np.ones((6, 64 // block), F)]
    attributes = {"K": 64, "N": 6, "bits": 4, "block_size": block}
    model = model_of("MatMulNBits", arrays, attributes, ("y",), "com.microsoft")
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (expected,) = session.run(None, dict(zip("abc", arrays, strict=True)))
    (found,) = rule_outputs("MatMulNBits", arrays, attributes, ("y",), "com.microsoft")
    assert found.shape == expected.shape == (2, 3, 6)


@pytest.mark.parametrize(
    ("operator", "arrays", "attributes"),
    [
        ("Add", [floats(2), floats(3)], {}),
        ("MatMul", [floats(2, 3), floats(4, 5)], {}),
        ("Gemm", [floats(3), floats(3, 3)], {}),
        ("Reshape", [floats(2, 3), whole(4)], {}),
        ("Reshape", [floats(2, 3), whole(-1, -1)], {}),
        ("Reshape", [floats(2, 3), floats(2)], {}),
        ("Reshape", [floats(2), whole(0, 0, 0)], {}),
        ("Transpose", [floats(2, 3)], {"perm": [0, 0]}),
        ("Unsqueeze", [floats(2), whole(5)], {}),
        ("Squeeze", [floats(2), whole(0)], {}),
        ("Concat", [floats(2, 3), floats(3, 3)], {"axis": 1}),
        ("Concat", [floats(2, 3)], {}),
        ("Split", [floats(5), whole(3, 3)], {}),
        ("Expand", [floats(2), whole(-3)], {}),
        ("Range", [np.array(0), np.array(5), np.array(0)], {}),
        ("Pad", [floats(2), whole(1)], {}),
        ("Pad", [floats(2), whole(-1, 0)], {}),
        ("GatherND", [floats(2), whole([0, 0])], {}),
        ("Cast", [floats(2)], {"to": 8}),
        ("Cast", [floats(2)], {}),
        ("Div", [whole(1), whole(0)], {}),
        ("Div", [whole(1), whole(-1)], {}),
        ("Slice", [floats(2), whole(0), whole(1), whole(7)], {}),
        ("Softmax", [], {}),
        ("Where", [floats(2)], {}),
        ("Loop", [], {}),
    ],
)
def test_what_an_operator_cannot_take(operator, arrays, attributes):
    with pytest.raises(Malformed, match=operator):
        rule_outputs(operator, arrays, attributes, ("y",))


def test_work():
    """A product of [2, 3, 4] and [4, 5] makes 30 elements of 4 products each; what is moved counts eightfold."""

    def work(operator, arrays, attributes):
        node = graphs.Node(operator, "", "n", (), ("y",), attributes)
        given = [Value(array.shape, 1) for array in arrays]
        return shapes.work_of(node, given, shapes.outputs_of(node, given, b""))

    assert work("MatMul", [floats(2, 3, 4), floats(4, 5)], {}) == 30 * 4
    assert work("Gemm", [floats(4, 3), floats(4, 5)], {"transA": 1}) == 15 * 4
    assert work("Add", [floats(2, 3), floats(3)], {}) == 8 * (6 + 3 + 6)
