"""What a graph may ask for: the operators and ends that its manifest says, finite weights, and bounded cost.

Cost is told before ONNX Runtime sees the graph, from the shapes of all tensors for one text of the longest length. Work
and memory may grow with the size of the file, so that a large model is slow because it is large, and nothing small is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lilliput.errors import IntegrityError
from lilliput.guards import graphs, shapes
from lilliput.guards.graphs import BFLOAT16, FLOAT, FLOAT16, INT64, Graph, Node, Tensor
from lilliput.guards.protobuf import Malformed
from lilliput.guards.shapes import Value
from lilliput.guards.weights import is_finite

WORK, WORK_A_BYTE = 500_000_000, 16
"""Products for one text: so many, and for each of its tokens so many a byte of the graph. Two a byte are usual."""
MEMORY, MEMORY_A_BYTE = 512 << 20, 16
"""Bytes of all tensors that are needed at a time, for one text: so many, and so many a byte of the graph."""


@dataclass(frozen=True)
class Expected:
    """What a bundle says of one of its graphs.

    Attributes:
        opset: version of ONNX's own operators.
        operators: how often each is used.
        inputs: names of the inputs, whole numbers ``[1, tokens]`` each.
        outputs: names of the outputs, float32.
        dimensions: of each output after the batch: "labels", "tokens", or anything else for any number.
        labels: how many there are.
        tokens: of the longest text.
    """

    opset: int
    operators: dict[str, int]
    inputs: Sequence[str]
    outputs: Sequence[str]
    dimensions: Sequence[str]
    labels: int
    tokens: int


@dataclass(frozen=True)
class Cost:
    """What a graph costs for one text, and how many token ids its table has a row for (None where that can't be told).

    ``work`` counts products, ``memory`` is in bytes.
    """

    work: int
    memory: int
    rows: int | None


def check(data: bytes, path: Path, expected: Expected) -> Cost:
    """Refuse a graph that is not what its bundle says, or that costs more than a model of its size can.

    Args:
        data: the bytes of the graph.
        path: where they are from, for error messages.

    Raises:
        IntegrityError: the first fault that is found.
    """
    try:
        graph = graphs.read(data)
        _check_operators(graph, expected)
        _check_ends(graph, expected)
        cost = _follow(graph, expected)
        for name, tensor in graph.tensors.items():
            _check_numbers(data, name, tensor)
        for node in graph.nodes:
            for value in node.attributes.values():
                if isinstance(value, Tensor):
                    _check_numbers(data, node.name, value)
    except Malformed as error:
        raise IntegrityError(f"{path}: {error}; Lilliput does not load such a graph") from error
    return cost


def _check_operators(graph: Graph, expected: Expected) -> None:
    opset = graph.opsets.get("", graph.opsets.get("ai.onnx"))
    if opset != expected.opset:
        raise Malformed(f"opset {opset}, but the manifest says {expected.opset}")
    found = graph.operators
    for name in sorted(found.keys() | expected.operators.keys()):
        if found.get(name) != expected.operators.get(name):
            said = expected.operators.get(name, 0)
            raise Malformed(f"{found.get(name, 0)} of operator {name!r}, but the manifest says {said}")


def _check_ends(graph: Graph, expected: Expected) -> None:
    if set(graph.inputs) != set(expected.inputs):
        raise Malformed(f"inputs {sorted(graph.inputs)}, but the manifest says {sorted(expected.inputs)}")
    for name in expected.outputs:
        if name not in graph.outputs:
            raise Malformed(f"no output called {name!r}")
    if more := sorted(set(graph.outputs) - set(expected.outputs)):
        raise Malformed(f"an output {more[0]!r}, which no answer needs")
    for ends, kind, name_of_kind in ((graph.inputs, INT64, "int64"), (graph.outputs, FLOAT, "float32")):
        for name, type_ in ends.items():
            if type_ != kind:
                raise Malformed(f"{name!r} is of element type {type_}, not {name_of_kind}")


# --- cost ------------------------------------------------------------------------------------------------------------


def _follow(graph: Graph, expected: Expected) -> Cost:
    """Shapes and cost of every operator in turn, for one text of the longest length."""
    if clash := sorted(graph.tensors.keys() & graph.inputs.keys()):
        raise Malformed(f"{clash[0]!r} is a tensor and an input")
    values = {name: shapes.of_tensor(tensor, graph.data) for name, tensor in graph.tensors.items()}
    for name in graph.inputs:
        values[name] = Value((1, expected.tokens), INT64, origin=name)
    last = {name: place for place, node in enumerate(graph.nodes) for name in node.inputs}
    most_work = WORK + WORK_A_BYTE * expected.tokens * len(graph.data)
    most_memory = MEMORY + MEMORY_A_BYTE * len(graph.data)
    work = memory = peak = 0
    rows: list[int] = []
    for place, node in enumerate(graph.nodes):
        given = [_value(values, name, node) for name in node.inputs]
        made = shapes.outputs_of(node, given, graph.data)
        rows += _rows(node, given)
        for name, value in zip(node.outputs, made, strict=False):
            if name in values:
                raise Malformed(f"{name!r} is made twice")
            if name:
                values[name] = value
            memory += value.bytes
        work += shapes.work_of(node, given, made)
        peak = max(peak, memory)
        if peak > most_memory or work > most_work:
            what = f"{work:,} steps of work" if work > most_work else f"{peak:,} bytes of memory"
            raise Malformed(f"one text needs {what} up to operator {node.operator!r} ({node.name!r})")
        for name in {*node.inputs, *node.outputs}:
            if (
                name not in graph.tensors
                and last.get(name, place) == place
                and name not in graph.outputs
                and name in values
            ):
                memory -= values[name].bytes if name not in graph.inputs else 0
    _check_shapes(graph, values, expected)
    return Cost(work, peak, min(rows, default=None))


def _value(values: dict[str, Value], name: str, node: Node) -> Value | None:
    if not name:
        return None
    if name not in values:
        raise Malformed(f"operator {node.operator!r} ({node.name!r}) reads {name!r}, which nothing before it makes")
    return values[name]


def _rows(node: Node, given: Sequence[Value | None]) -> list[int]:
    """Rows of the table in which an operator looks token ids up."""
    if node.operator not in ("Gather", "GatherBlockQuantized") or not (given[0] and given[1]):
        return []
    if given[1].origin != "input_ids":
        return []
    return [given[0].shape[node.attributes.get("axis", node.attributes.get("gather_axis", 0))]]


def _check_shapes(graph: Graph, values: dict[str, Value], expected: Expected) -> None:
    known = {"labels": expected.labels, "tokens": expected.tokens}
    for name in graph.outputs:
        if name not in values:
            raise Malformed(f"nothing makes the output {name!r}")
        shape, kind = values[name].shape, values[name].type
        if kind != FLOAT:
            raise Malformed(f"the output {name!r} comes to be of element type {kind}, not float32")
        if (
            len(shape) != 1 + len(expected.dimensions)
            or any(
                size != known.get(dimension, size)
                for size, dimension in zip(shape[1:], expected.dimensions, strict=True)
            )
            or shape[0] != 1
        ):
            raise Malformed(f"outputs of shape {list(shape)} for {expected.tokens} tokens and {expected.labels} labels")


# --- weights ---------------------------------------------------------------------------------------------------------


def _check_numbers(data: bytes, name: str, tensor: Tensor) -> None:
    """Refuse weights that are not finite; a single number may be minus infinity, as a mask is."""
    if tensor.type not in (FLOAT, FLOAT16, BFLOAT16, graphs.DOUBLE):
        return
    numbers = tensor.numbers(data)
    if numbers is None or not is_finite(numbers):
        if tensor.count == 1 and numbers is not None and numbers[0] == -np.inf:
            return
        raise Malformed(f"tensor {name!r} holds numbers that are not finite")
