"""What each operator makes of its inputs: shapes, and the values of small tensors of whole numbers.

A rule follows its operator's page in https://onnx.ai/onnx/operators/ or, for ``com.microsoft``, in
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md. The operators are those that the graphs of
Lilliput's architectures and precisions are made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lilliput.guards.graphs import BITS, BOOL, FLOAT, INT32, INT64, UINT8, Node
from lilliput.guards.protobuf import Malformed
from lilliput.guards.values import SMALL, WHOLE, Given, Rule, Value, axis_of, broadcast, known, product, small


def _same(node: Node, given: Given) -> Value:
    (first, *_) = given
    return Value(first.shape, first.type)  # type: ignore[union-attr]


def _identity(node: Node, given: Given) -> Value:
    return given[0]  # type: ignore[return-value]


def _arithmetic(function: Callable[..., Any] | None, kind: int | None = None) -> Rule:
    """An operator on elements; ``function`` computes it on whole numbers, ``kind`` is the type of what it gives."""

    def rule(node: Node, given: Any) -> Value:
        shape, type_ = broadcast(*(value.shape for value in given)), kind or given[0].type
        numbers = None
        if function and all(value.numbers is not None for value in given) and math.prod(shape) <= SMALL:
            with np.errstate(all="ignore"):
                numbers = np.asarray(function(*(value.numbers for value in given)), dtype=np.int64).reshape(shape)
        return Value(shape, type_, numbers)

    return rule


def _div(node: Node, given: Any) -> Value:
    """Whole numbers are divided only where the divisor is known: the lowest number over -1 ends the process."""
    if given[0].type in WHOLE and (given[1].numbers is None or (given[1].numbers <= 0).any()):
        raise Malformed("whole numbers divided by what is not known to be above zero")
    return _arithmetic(lambda a, b: np.trunc(a / b).astype(np.int64))(node, given)  # type: ignore[return-value]


def _mul(node: Node, given: Any) -> Value:
    """Token ids without those of the padding are token ids still."""
    found = _arithmetic(np.multiply)(node, given)
    masked = [value.origin for value in given] == ["input_ids", "attention_mask"]
    return found._replace(origin="input_ids" if masked else "")  # type: ignore[union-attr]


def _where(node: Node, given: Any) -> Value:
    return _arithmetic(np.where)(node, given)._replace(type=given[1].type)  # type: ignore[union-attr]


def _cast(node: Node, given: Any) -> Value:
    kind = node.attributes["to"]
    if kind not in BITS:
        raise Malformed(f"elements of type {kind}")
    return given[0]._replace(type=kind, numbers=given[0].numbers if kind in (*WHOLE, BOOL) else None)


def _constant(node: Node, given: Any) -> Value:
    ((name, value),) = node.attributes.items()
    numbers = {"value_int": np.int64, "value_ints": np.int64}.get(name)
    if numbers is None and name != "value_float":
        raise Malformed(f"attribute {name!r}")
    found = np.asarray(value if numbers else 0, dtype=np.int64)
    return Value(found.shape, INT64 if numbers else FLOAT, small(found) if numbers else None)


def _shape(node: Node, given: Any) -> Value:
    whole = given[0].shape
    part = whole[node.attributes.get("start", 0) : node.attributes.get("end", len(whole))]
    return Value((len(part),), INT64, np.array(part, dtype=np.int64))


def _reshape(node: Node, given: Any) -> Value:
    value, wanted = given[0], known(given[1])
    if not node.attributes.get("allowzero", 0):
        wanted = [value.shape[place] if size == 0 else size for place, size in enumerate(wanted)]
    free = [place for place, size in enumerate(wanted) if size == -1]
    rest = math.prod(size for size in wanted if size != -1)
    if len(free) == 1 and rest > 0:
        wanted[free[0]] = value.elements // rest
    if min(wanted, default=0) < 0 or math.prod(wanted) != value.elements:
        raise Malformed(f"shape {list(value.shape)} as {wanted}")
    numbers = None if value.numbers is None else value.numbers.reshape(wanted)
    return value._replace(shape=tuple(wanted), numbers=numbers)


def _transpose(node: Node, given: Any) -> Value:
    shape = given[0].shape
    order = node.attributes.get("perm", list(range(len(shape)))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise Malformed(f"axes {order} of {len(shape)}")
    return Value(tuple(shape[axis] for axis in order), given[0].type)


def _unsqueeze(node: Node, given: Any) -> Value:
    value, axes = given[0], known(given[1])
    rank = len(value.shape) + len(axes)
    places = {axis_of(axis, rank) for axis in axes}
    old = iter(value.shape)
    shape = tuple(1 if place in places else next(old) for place in range(rank))
    return value._replace(shape=shape, numbers=None if value.numbers is None else value.numbers.reshape(shape))


def _squeeze(node: Node, given: Any) -> Value:
    value = given[0]
    axes = (
        {axis_of(axis, len(value.shape)) for axis in known(given[1])}
        if len(given) > 1
        else {place for place, size in enumerate(value.shape) if size == 1}
    )
    if any(value.shape[axis] != 1 for axis in axes):
        raise Malformed(f"axes {sorted(axes)} of {list(value.shape)}")
    shape = tuple(size for place, size in enumerate(value.shape) if place not in axes)
    return value._replace(shape=shape, numbers=None if value.numbers is None else value.numbers.reshape(shape))


def _concat(node: Node, given: Any) -> Value:
    axis = axis_of(node.attributes["axis"], len(given[0].shape))
    for value in given:
        if value.shape[:axis] + value.shape[axis + 1 :] != given[0].shape[:axis] + given[0].shape[axis + 1 :]:
            raise Malformed("shapes that differ along another axis")
    shape = list(given[0].shape)
    shape[axis] = sum(value.shape[axis] for value in given)
    every = [value.numbers for value in given]
    numbers = None if any(one is None for one in every) else small(np.concatenate(every, axis))
    return Value(tuple(shape), given[0].type, numbers)


def _slice(node: Node, given: Any) -> Value:
    value = given[0]
    if any(one is not None and one.numbers is None for one in given[1:]):
        return Value(value.shape, value.type)  # what is cut off depends on the data: at most nothing
    starts, ends = known(given[1]), known(given[2])
    axes = known(given[3]) if len(given) > 3 and given[3] is not None else list(range(len(starts)))
    steps = known(given[4]) if len(given) > 4 else [1] * len(starts)
    cut = [slice(None)] * len(value.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        low = None if step < 0 and end < -value.shape[axis] else end
        cut[axis_of(axis, len(cut))] = slice(start, low, step)
    shape = tuple(len(range(*part.indices(size))) for part, size in zip(cut, value.shape, strict=True))
    return Value(shape, value.type, None if value.numbers is None else value.numbers[tuple(cut)])


def _split(node: Node, given: Any) -> list[Value]:
    value, axis = given[0], axis_of(node.attributes.get("axis", 0), len(given[0].shape))
    size, parts = value.shape[axis], len(node.outputs)
    sizes = known(given[1]) if len(given) > 1 else []
    if not sizes:
        step = -(-size // parts)
        sizes = [min(step, max(0, size - step * part)) for part in range(parts)]
    if sum(sizes) != size or min(sizes) < 0:
        raise Malformed(f"{size} in parts of {sizes}")
    return [Value((*value.shape[:axis], part, *value.shape[axis + 1 :]), value.type) for part in sizes]


def _gather(node: Node, given: Any) -> Value:
    data, places = given[0], given[1]
    axis = axis_of(node.attributes.get("axis", 0), len(data.shape))
    numbers = None
    if data.numbers is not None and places.numbers is not None:
        numbers = small(np.take(data.numbers, places.numbers, axis))
    return Value((*data.shape[:axis], *places.shape, *data.shape[axis + 1 :]), data.type, numbers)


def _gather_blocks(node: Node, given: Any) -> Value:
    data, places, scales = given[:3]
    axis = axis_of(node.attributes.get("gather_axis", 0), len(data.shape))
    return Value((*data.shape[:axis], *places.shape, *data.shape[axis + 1 :]), scales.type)


def _gather_elements(node: Node, given: Any) -> Value:
    return Value(given[1].shape, given[0].type)


def _gather_nd(node: Node, given: Any) -> Value:
    data, places = given[0], given[1]
    used = node.attributes.get("batch_dims", 0) + places.shape[-1]
    if used > len(data.shape):
        raise Malformed(f"{used} axes of {len(data.shape)}")
    return Value((*places.shape[:-1], *data.shape[used:]), data.type)


def _expand(node: Node, given: Any) -> Value:
    shape = tuple(known(given[1]))
    if min(shape, default=0) < 0:
        raise Malformed(f"shape {list(shape)}")
    return Value(broadcast(given[0].shape, shape), given[0].type)


def _range(node: Node, given: Any) -> Value:
    start, limit, step = (known(value)[0] for value in given)
    every = range(start, limit, step)
    if len(every) > SMALL:
        return Value((len(every),), given[0].type)
    return Value((len(every),), given[0].type, np.array(every, dtype=np.int64))


def _pad(node: Node, given: Any) -> Value:
    value, widths = given[0], known(given[1])
    if len(given) > 3 and given[3] is not None:
        raise Malformed("axes are given")
    rank = len(value.shape)
    if len(widths) != 2 * rank or min(widths, default=0) < 0:
        raise Malformed(f"widths {widths} for {rank} axes")
    shape = tuple(widths[axis] + value.shape[axis] + widths[rank + axis] for axis in range(rank))
    return Value(shape, value.type, origin=value.origin)


def _reduce(node: Node, given: Any) -> Value:
    value = given[0]
    axes = node.attributes.get("axes") or (known(given[1]) if len(given) > 1 else range(len(value.shape)))
    places = {axis_of(axis, len(value.shape)) for axis in axes}
    kept = node.attributes.get("keepdims", 1)
    sizes = [1 if place in places else size for place, size in enumerate(value.shape) if kept or place not in places]
    return Value(tuple(sizes), value.type)


def _matmul(kind: int | None = None) -> Rule:
    return lambda node, given: Value(product(given[0].shape, given[1].shape), kind or given[0].type)


def _gemm(node: Node, given: Any) -> Value:
    first, second = (
        value.shape[::-1] if node.attributes.get(flag, 0) else value.shape
        for value, flag in zip(given, ("transA", "transB"), strict=False)
    )
    if len(first) != 2 or len(second) != 2:
        raise Malformed(f"a product of shapes {list(first)} and {list(second)}")
    return Value(product(first, second), given[0].type)


def _matmul_blocks(node: Node, given: Any) -> Value:
    inner, outer = node.attributes["K"], node.attributes["N"]
    if given[0].shape[-1] != inner or given[1].shape[0] != outer:
        raise Malformed(f"a product of shapes {list(given[0].shape)} and [{inner}, {outer}]")
    return Value((*given[0].shape[:-1], outer), given[0].type)


def _quantize(node: Node, given: Any) -> Value:
    return Value(given[0].shape, given[2].type if len(given) > 2 else UINT8)


def _dequantize(node: Node, given: Any) -> Value:
    return Value(given[0].shape, given[1].type)


def _quantize_by_range(node: Node, given: Any) -> list[Value]:
    return [Value(given[0].shape, UINT8), Value((), FLOAT), Value((), UINT8)]


_UNARY = ("Erf", "Tanh", "Relu", "Sigmoid", "Sqrt", "Exp", "Log", "Neg", "Abs", "Reciprocal", "Gelu", "Clip")
_SAME = (*_UNARY, "Softmax", "LogSoftmax", "LayerNormalization", "CumSum")
_REDUCE = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")

RULES: dict[tuple[str, str], Rule] = {
    **{("", name): _same for name in _SAME},
    **{("", name): _reduce for name in _REDUCE},
    **{("", name): _arithmetic(None, BOOL) for name in ("Not", "And", "Or", "IsNaN", "LessOrEqual", "GreaterOrEqual")},
    ("", "Identity"): _identity,
    ("", "Constant"): _constant,
    ("", "Cast"): _cast,
    ("", "Add"): _arithmetic(np.add),
    ("", "Sub"): _arithmetic(np.subtract),
    ("", "Mul"): _mul,
    ("", "Div"): _div,
    ("", "Pow"): _arithmetic(None),
    ("", "Max"): _arithmetic(lambda *numbers: np.max(np.broadcast_arrays(*numbers), axis=0)),
    ("", "Min"): _arithmetic(lambda *numbers: np.min(np.broadcast_arrays(*numbers), axis=0)),
    ("", "Equal"): _arithmetic(np.equal, BOOL),
    ("", "Less"): _arithmetic(np.less, BOOL),
    ("", "Greater"): _arithmetic(np.greater, BOOL),
    ("", "Where"): _where,
    ("", "Shape"): _shape,
    ("", "Reshape"): _reshape,
    ("", "Transpose"): _transpose,
    ("", "Unsqueeze"): _unsqueeze,
    ("", "Squeeze"): _squeeze,
    ("", "Concat"): _concat,
    ("", "Slice"): _slice,
    ("", "Split"): _split,
    ("", "Gather"): _gather,
    ("", "GatherElements"): _gather_elements,
    ("", "GatherND"): _gather_nd,
    ("", "Expand"): _expand,
    ("", "Range"): _range,
    ("", "Pad"): _pad,
    ("", "MatMul"): _matmul(),
    ("", "MatMulInteger"): _matmul(INT32),
    ("", "Gemm"): _gemm,
    ("", "QuantizeLinear"): _quantize,
    ("", "DequantizeLinear"): _dequantize,
    ("", "DynamicQuantizeLinear"): _quantize_by_range,
    ("com.microsoft", "MatMulNBits"): _matmul_blocks,
    ("com.microsoft", "GatherBlockQuantized"): _gather_blocks,
}
"""Domain and type of every operator that a graph may have."""

INNER: dict[str, Callable[[Node, Any], int]] = {
    "MatMul": lambda node, given: given[0].shape[-1],
    "MatMulInteger": lambda node, given: given[0].shape[-1],
    "MatMulNBits": lambda node, given: given[0].shape[-1],
    "Gemm": lambda node, given: given[0].shape[0 if node.attributes.get("transA", 0) else -1],
}
"""How many products are added up for one element of the result."""
