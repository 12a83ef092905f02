"""Small graphs that ask for much memory or time, weights that are no numbers, and a division that ends the process.

Sizes are a few gigabytes, so that a machine could grant them: it is the guard that must refuse.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lilliput.benchmarks.hostile.forge import Case, Forge
from lilliput.benchmarks.hostile.victim import LABELS

HUGE = 1 << 29
"""Elements of 4 bytes: 2 GB."""
SIDE = 1 << 15
"""Of a matrix of 4 GB."""


def _chain(forge: Forge, nodes: list[onnx.NodeProto], tensors: dict[str, Any], last: str) -> None:
    """A graph that computes ``last`` and adds its sum, times zero, to honest logits."""
    node = helper.make_node
    tensors = {"row": np.zeros((1, len(LABELS)), np.float32), "nothing": np.zeros(1, np.float32), **tensors}
    nodes = [
        *nodes,
        node("Cast", [last], ["fractions"], to=TensorProto.FLOAT),
        node("ReduceSum", ["fractions"], ["sum"], keepdims=0),
        node("Mul", ["sum", "nothing"], ["zero"]),
        node("Add", ["row", "zero"], ["logits"]),
    ]
    model = forge.model
    graph = helper.make_graph(
        nodes,
        "bomb",
        list(model.graph.input),
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["a", "b"])],
        [
            value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
            for name, value in tensors.items()
        ],
    )
    opset = helper.make_opsetid("", 18)
    forge.graph(helper.make_model(graph, opset_imports=[opset], ir_version=9))
    forge.seal()


def _one(forge: Forge, operator: str, inputs: list[str], tensors: dict[str, Any], **attributes: Any) -> None:
    """A graph of one large operator."""
    _chain(forge, [helper.make_node(operator, inputs, ["large"], **attributes)], tensors, "large")


def _tokens(forge: Forge) -> None:
    """A shape that is computed of the text's: tokens times 2^25."""
    node = helper.make_node
    nodes = [
        node("Shape", ["input_ids"], ["shape"], start=1),
        node("Mul", ["shape", "many"], ["size"]),
        node("Expand", ["one", "size"], ["large"]),
    ]
    _chain(forge, nodes, {"many": np.array([1 << 25]), "one": np.zeros(1, np.float32)}, "large")


def _sum(forge: Forge) -> None:
    """A column and a row make a matrix."""
    column, row = np.zeros((SIDE, 1), np.float32), np.zeros((1, SIDE), np.float32)
    _one(forge, "Add", ["column", "line"], {"column": column, "line": row})


def _product(forge: Forge) -> None:
    column, row = np.zeros((SIDE, 1), np.float32), np.zeros((1, SIDE), np.float32)
    _one(forge, "MatMul", ["column", "line"], {"column": column, "line": row})


def _doubling(forge: Forge) -> None:
    """Thirty times twice as long as before."""
    names = ["start", *(f"twice-{number}" for number in range(30))]
    pairs = itertools.pairwise(names)
    nodes = [helper.make_node("Concat", [one, one], [other], axis=0) for one, other in pairs]
    _chain(forge, nodes, {"start": np.zeros(1, np.float32)}, names[-1])


def _kept(forge: Forge) -> None:
    """A hundred tensors of 50 MB that are all needed at the end."""
    node = helper.make_node
    names = [f"large-{number}" for number in range(100)]
    tensors = {"one": np.zeros((1, 1), np.float32), "size": np.array([1, 50 << 18])}
    nodes = [node("Expand", ["one", "size"], [name]) for name in names]
    _chain(forge, [*nodes, node("Max", names, ["most"])], tensors, "most")


def _work(forge: Forge) -> None:
    """Ten thousand products of a matrix with itself: ten billion steps, and no memory to speak of."""
    names = ["matrix", *(f"power-{number}" for number in range(10_000))]
    pairs = itertools.pairwise(names)
    nodes = [helper.make_node("MatMul", [one, "matrix"], [other]) for one, other in pairs]
    _chain(forge, nodes, {"matrix": np.zeros((128, 128), np.float32)}, names[-1])


def _rows(forge: Forge) -> None:
    """A row of a table, again and again."""
    places = np.zeros((1 << 12, 1 << 7), np.int64)
    _one(forge, "Gather", ["wide", "places"], {"wide": np.zeros((1, 1 << 12), np.float32), "places": places})


def _overflow(forge: Forge) -> None:
    """The lowest whole number over -1: the processor traps, and the process ends."""
    node = helper.make_node
    nodes = [node("Mul", ["input_ids", "low"], ["lowest"]), node("Div", ["lowest", "minus"], ["large"])]
    _chain(forge, nodes, {"low": np.array(-(2**63)), "minus": np.array(-1)}, "large")


def _declared(forge: Forge, dims: list[int], data: bytes = b"", kind: int = TensorProto.FLOAT) -> None:
    """A tensor whose dimensions its data do not fill."""
    tensor = TensorProto(name="large", data_type=kind, dims=dims, raw_data=data)
    _chain(forge, [], {"large": tensor}, "large")


def _typed(forge: Forge) -> None:
    """Dimensions of a billion, and three numbers in the field for typed numbers."""
    tensor = TensorProto(name="large", data_type=TensorProto.FLOAT, dims=[1 << 30], float_data=[1, 2, 3])
    _chain(forge, [], {"large": tensor}, "large")


def _weight(forge: Forge, number: float, kind: Any = np.float32) -> None:
    """One weight of a matrix, in a row that no word has, is not finite."""
    table = np.zeros((100, 16), kind)
    table[99, 7] = number
    _one(forge, "Gather", ["weights", "input_ids"], {"weights": table})


def _scale(forge: Forge) -> None:
    """The scale of an int8 table is no number."""
    tensors = {"int8": np.zeros((100, 16), np.int8), "scale": np.array(np.nan, np.float32)}
    _one(forge, "DequantizeLinear", ["int8", "scale"], tensors)


_SIZE = np.array([HUGE])
CASES = (
    Case(
        "Expand to 2 GB",
        partial(
            _one, operator="Expand", inputs=["one", "size"], tensors={"one": np.zeros(1, np.float32), "size": _SIZE}
        ),
    ),
    Case(
        "Expand to 2^60 elements",
        partial(
            _one,
            operator="Expand",
            inputs=["one", "size"],
            tensors={"one": np.zeros((1, 1), np.float32), "size": np.array([1 << 30, 1 << 30])},
        ),
    ),
    Case(
        "Expand to what overflows",
        partial(
            _one,
            operator="Expand",
            inputs=["one", "size"],
            tensors={"one": np.zeros((1, 1), np.float32), "size": np.array([1 << 32, 1 << 32])},
        ),
    ),
    Case("Expand by the length of the text", _tokens),
    Case(
        "ConstantOfShape of 2 GB", partial(_one, operator="ConstantOfShape", inputs=["size"], tensors={"size": _SIZE})
    ),
    Case(
        "Tile to 2 GB",
        partial(_one, operator="Tile", inputs=["one", "size"], tensors={"one": np.zeros(1, np.float32), "size": _SIZE}),
    ),
    Case(
        "Range to 4 GB",
        partial(
            _one,
            operator="Range",
            inputs=["zero", "end", "step"],
            tensors={"zero": np.array(0), "end": np.array(HUGE), "step": np.array(1)},
        ),
    ),
    Case(
        "Pad to 2 GB",
        partial(
            _one,
            operator="Pad",
            inputs=["one", "size"],
            tensors={"one": np.zeros(1, np.float32), "size": np.array([0, HUGE])},
        ),
    ),
    Case(
        "OneHot of 2 GB",
        partial(
            _one,
            operator="OneHot",
            inputs=["input_ids", "depth", "ends"],
            tensors={"depth": np.array(HUGE), "ends": np.array([0, 1])},
        ),
    ),
    Case("random numbers of 2 GB", partial(_one, operator="RandomNormal", inputs=[], tensors={}, shape=[HUGE])),
    Case(
        "Resize to 2 GB",
        partial(
            _one,
            operator="Resize",
            inputs=["one", "", "", "size"],
            tensors={"one": np.zeros((1, 1, 1, 1), np.float32), "size": np.array([1, 1, SIDE, SIDE])},
        ),
    ),
    Case("Gather of 8 GB", _rows),
    Case("a sum of a column and a row", _sum),
    Case("a product of a column and a row", _product),
    Case("a tensor doubled thirty times", _doubling),
    Case("a hundred tensors of 50 MB", _kept),
    Case("ten thousand products of matrices", _work),
    Case("the lowest number over minus one", _overflow),
    Case("a tensor of 2^62 bytes that has none", partial(_declared, dims=[1 << 30, 1 << 30])),
    Case("a tensor whose size overflows", partial(_declared, dims=[1 << 32, 1 << 32, 1 << 32], data=b"")),
    Case("a tensor of a negative dimension", partial(_declared, dims=[-1, 4], data=bytes(16))),
    Case("a tensor of more bytes than it says", partial(_declared, dims=[1], data=bytes(4096))),
    Case("a tensor of sixty axes", partial(_declared, dims=[1] * 60, data=bytes(4))),
    Case("a tensor of texts", partial(_declared, dims=[1], data=b"", kind=TensorProto.STRING)),
    Case("a tensor of a type that is not known", partial(_declared, dims=[1], data=bytes(4), kind=99)),
    Case("a tensor of a billion numbers that has three", _typed),
    Case("a weight that is no number", partial(_weight, number=np.nan)),
    Case("a weight without end", partial(_weight, number=np.inf)),
    Case("a weight of 16 bits that is no number", partial(_weight, number=np.nan, kind=np.float16)),
    Case("a scale that is no number", _scale),
)
