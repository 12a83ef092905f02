"""ONNX graphs, read from their bytes without the onnx package: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.

Weights are not copied: a tensor remembers where its bytes are, and that they are as many as its dimensions say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput.guards import protobuf
from lilliput.guards.protobuf import BYTES, FIXED32, VARINT, Malformed, Span

FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 2, 3, 6, 7, 9, 10, 11, 16
"""Numbers of ONNX's element types."""

BITS = {
    **{FLOAT: 32, UINT8: 8, INT8: 8, 4: 16, 5: 16, INT32: 32, INT64: 64, BOOL: 8, FLOAT16: 16, DOUBLE: 64, 12: 32},
    **{13: 64, BFLOAT16: 16, 21: 4, 22: 4},
}
"""Bits of an element, by type; texts, complex numbers and the rest are in no graph of ours."""

NODES = 50_000
"""Operators, and tensors, of a graph at most: some 50 a block are usual."""
TEXT = 1 << 16
"""Bytes of a note at most; names have 1024."""
_NAME, _RANK, _NUMBERS = 1024, 8, 1024
_STORED = {FLOAT: "<f4", INT64: "<i8", INT32: "<i4", INT8: "i1", UINT8: "u1", BOOL: "?", DOUBLE: "<f8", FLOAT16: "<f2"}

_MODEL: protobuf.Schema = {
    **{1: ("ir_version", VARINT, False), 5: ("model_version", VARINT, False), 7: ("graph", BYTES, False)},
    **{2: ("producer_name", BYTES, False), 3: ("producer_version", BYTES, False), 4: ("domain", BYTES, False)},
    **{6: ("doc_string", BYTES, False), 8: ("opset_import", BYTES, True), 14: ("metadata_props", BYTES, True)},
    **{20: ("training_info", BYTES, True), 25: ("functions", BYTES, True)},
}
_OPSET: protobuf.Schema = {1: ("domain", BYTES, False), 2: ("version", VARINT, False)}
_GRAPH: protobuf.Schema = {
    **{1: ("node", BYTES, True), 2: ("name", BYTES, False), 5: ("initializer", BYTES, True)},
    **{10: ("doc_string", BYTES, False), 11: ("input", BYTES, True), 12: ("output", BYTES, True)},
    **{13: ("value_info", BYTES, True), 15: ("sparse_initializer", BYTES, True), 16: ("metadata_props", BYTES, True)},
}
_NODE: protobuf.Schema = {
    **{1: ("input", BYTES, True), 2: ("output", BYTES, True), 3: ("name", BYTES, False), 4: ("op_type", BYTES, False)},
    **{5: ("attribute", BYTES, True), 6: ("doc_string", BYTES, False), 7: ("domain", BYTES, False)},
    **{8: ("overload", BYTES, False), 9: ("metadata_props", BYTES, True)},
}
_ATTRIBUTE: protobuf.Schema = {
    **{1: ("name", BYTES, False), 2: ("f", FIXED32, False), 3: ("i", VARINT, False), 4: ("s", BYTES, False)},
    **{5: ("t", BYTES, False), 6: ("g", BYTES, False), 7: ("floats", FIXED32, True), 8: ("ints", VARINT, True)},
    **{9: ("strings", BYTES, True), 11: ("graphs", BYTES, True), 13: ("doc_string", BYTES, False)},
    **{20: ("type", VARINT, False)},
}
_TENSOR: protobuf.Schema = {
    **{1: ("dims", VARINT, True), 2: ("data_type", VARINT, False), 4: ("float_data", FIXED32, True)},
    **{5: ("int32_data", VARINT, True), 7: ("int64_data", VARINT, True), 8: ("name", BYTES, False)},
    **{9: ("raw_data", BYTES, False), 12: ("doc_string", BYTES, False), 13: ("external_data", BYTES, True)},
    **{14: ("data_location", VARINT, False), 16: ("metadata_props", BYTES, True)},
}
_VALUE: protobuf.Schema = {
    **{1: ("name", BYTES, False), 2: ("type", BYTES, False), 3: ("doc_string", BYTES, False)},
    **{4: ("metadata_props", BYTES, True)},
}
_TYPE: protobuf.Schema = {1: ("tensor_type", BYTES, False), 6: ("denotation", BYTES, False)}
_TENSOR_TYPE: protobuf.Schema = {1: ("elem_type", VARINT, False), 2: ("shape", BYTES, False)}


@dataclass(frozen=True)
class Tensor:
    """Constant numbers: their element type, dimensions, and where in the graph's bytes they are.

    ``raw`` is their span where they are stored as they are in memory; else ``entries`` are those of the repeated field.
    """

    type: int
    dims: tuple[int, ...]
    raw: Span | None
    entries: tuple[int | Span, ...]

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    def numbers(self, data: bytes) -> NDArray[Any] | None:
        """The elements, flat; None where NumPy lacks the type. Only for what is small or stored as in memory."""
        kind = _STORED.get(self.type)
        if self.raw is not None and self.type == BFLOAT16:
            high = np.frombuffer(data, "<u2", self.count, self.raw[0]).astype(np.uint32)
            return (high << np.uint32(16)).view(np.float32)
        if kind is None:
            return None
        if self.raw is not None:
            return np.frombuffer(data, kind, self.count, self.raw[0])
        if self.type == FLOAT:
            return np.frombuffer(b"".join(data[start:end] for start, end in self._spans()), kind)
        values = np.array(protobuf.whole_numbers(data, list(self.entries), self.count), dtype=np.int64)
        return values.astype("<u2").view("<f2") if self.type == FLOAT16 else values.astype(kind)

    def _spans(self) -> list[Span]:
        return [entry for entry in self.entries if not isinstance(entry, int)]


@dataclass(frozen=True)
class Node:
    """An operator: its type, ``domain`` and ``name``, what it reads and makes, and its attributes.

    An attribute is an int, a list of ints, a `Tensor`, or None where it is something else that shapes don't depend on.
    """

    operator: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """What a model's bytes hold. ``inputs`` and ``outputs`` map names to element types; ``opsets`` domains to versions.

    ``data`` are the bytes that every `Tensor` of the graph points into.
    """

    data: bytes
    opsets: dict[str, int]
    nodes: tuple[Node, ...]
    tensors: dict[str, Tensor]
    inputs: dict[str, int]
    outputs: dict[str, int]

    @property
    def operators(self) -> dict[str, int]:
        """How often each operator is used, in alphabetical order."""
        found: dict[str, int] = {}
        for node in self.nodes:
            found[node.operator] = found.get(node.operator, 0) + 1
        return dict(sorted(found.items()))


def read(data: bytes) -> Graph:
    """The graph of a serialized ONNX model.

    Raises:
        Malformed: the bytes are no ONNX model, or one that holds what Lilliput's never do: graphs within the graph,
            functions, tensors in other files, element types without numbers, dimensions that the data does not fill.
    """
    try:
        model = protobuf.read(data, (0, len(data)), _MODEL)
    except Malformed as error:
        raise Malformed(f"not an ONNX graph: {error}") from None
    for name, what in (("functions", "functions of its own"), ("training_info", "steps of a training")):
        if name in model:
            raise Malformed(f"it has {what}")
    if "graph" not in model:
        raise Malformed("not an ONNX graph")
    _notes(data, model)
    opsets = {}
    for span in model.get("opset_import", []):
        entry = protobuf.read(data, span, _OPSET)
        opsets[_text(data, entry.get("domain"))] = entry.get("version", 0)
    graph = protobuf.read(data, model["graph"], _GRAPH)
    _notes(data, graph)
    if "sparse_initializer" in graph:
        raise Malformed("it has sparse tensors")
    for name in ("node", "initializer", "input", "output", "value_info"):
        if len(graph.get(name, [])) > NODES:
            raise Malformed(f"more than {NODES:,} of {name}")
    tensors = _unique((_tensor(data, span) for span in graph.get("initializer", [])), "tensor")
    nodes = tuple(_node(data, span) for span in graph.get("node", []))
    ends = (_unique((_value(data, span) for span in graph.get(name, [])), name) for name in ("input", "output"))
    return Graph(data, opsets, nodes, tensors, *ends)


def _node(data: bytes, span: Span) -> Node:
    found = protobuf.read(data, span, _NODE)
    _notes(data, found)
    operator = _text(data, found.get("op_type"))
    attributes = {}
    for one in found.get("attribute", []):
        name, value = _attribute(data, one, operator)
        attributes[name] = value
    if "overload" in found or len(attributes) != len(found.get("attribute", [])):
        raise Malformed(f"operator {operator!r} has an overload, or an attribute twice")
    domain = _text(data, found.get("domain"))
    inputs, outputs = (tuple(_text(data, one) for one in found.get(name, [])) for name in ("input", "output"))
    return Node(operator, domain, _text(data, found.get("name")), inputs, outputs, attributes)


def _attribute(data: bytes, span: Span, operator: str) -> tuple[str, Any]:
    found = protobuf.read(data, span, _ATTRIBUTE)
    _notes(data, found)
    if "g" in found or "graphs" in found:
        raise Malformed(f"operator {operator!r} has a graph of its own")
    for one in (found.get("s"), *found.get("strings", [])):
        _text(data, one)
    if len(found.get("strings", [])) > _NUMBERS or _entries(data, found.get("floats", []), FIXED32) > _NUMBERS:
        raise Malformed(f"an attribute of operator {operator!r} has more than {_NUMBERS} entries")
    value = found.get("i")
    if "t" in found:
        value = _tensor(data, found["t"])[1]
    elif "ints" in found:
        value = protobuf.whole_numbers(data, found["ints"], _NUMBERS)
    return _text(data, found.get("name")), value


def _tensor(data: bytes, span: Span) -> tuple[str, Tensor]:
    found = protobuf.read(data, span, _TENSOR)
    _notes(data, found)
    name = _text(data, found.get("name"))
    if "external_data" in found or found.get("data_location", 0) != 0:
        raise Malformed(f"tensor {name!r} lies in another file")
    dims, kind = tuple(protobuf.whole_numbers(data, found.get("dims", []), _RANK)), found.get("data_type", 0)
    if kind not in BITS:
        raise Malformed(f"tensor {name!r} has elements of type {kind}")
    if any(size < 0 for size in dims):
        raise Malformed(f"tensor {name!r} has a negative dimension")
    count = math.prod(dims)
    typed = {FLOAT: "float_data", INT64: "int64_data"}.get(kind, "int32_data")
    given = [field for field in ("raw_data", "float_data", "int32_data", "int64_data") if field in found]
    if "raw_data" in given and len(given) == 1:
        raw = found["raw_data"]
        if raw[1] - raw[0] != (count * BITS[kind] + 7) // 8:
            raise Malformed(f"tensor {name!r} has {raw[1] - raw[0]:,} bytes for the dimensions {list(dims)}")
        return name, Tensor(kind, dims, raw, ())
    if given not in ([], [typed]) or kind in (DOUBLE, 12, 13, BFLOAT16):
        raise Malformed(f"tensor {name!r} has its numbers in a field for another type")
    entries = found.get(typed, [])
    if _entries(data, entries, FIXED32 if kind == FLOAT else VARINT) != (
        count * BITS[kind] // 8 if kind > 20 else count
    ):
        raise Malformed(f"tensor {name!r} has other than {count:,} numbers for the dimensions {list(dims)}")
    return name, Tensor(kind, dims, None, tuple(entries))


def _entries(data: bytes, values: list[int | Span], wire: int) -> int:
    """How many numbers a repeated field has."""
    count = 0
    for value in values:
        if isinstance(value, int):
            count += 1
        elif wire == VARINT:
            count += int(np.count_nonzero(np.frombuffer(data, np.uint8, value[1] - value[0], value[0]) < 128))
        elif (value[1] - value[0]) % 4:
            raise Malformed("a run of numbers is cut off")
        else:
            count += (value[1] - value[0]) // 4
    return count


def _value(data: bytes, span: Span) -> tuple[str, int]:
    """Name and element type of an input or output."""
    found = protobuf.read(data, span, _VALUE)
    _notes(data, found)
    name = _text(data, found.get("name"))
    kind = protobuf.read(data, found["type"], _TYPE) if "type" in found else {}
    if "tensor_type" not in kind:
        raise Malformed(f"{name!r} is no tensor")
    return name, protobuf.read(data, kind["tensor_type"], _TENSOR_TYPE).get("elem_type", 0)


def _notes(data: bytes, found: dict[str, Any]) -> None:
    """Refuse notes, which nothing reads, that are larger than notes are."""
    for start, end in (found.get("doc_string", (0, 0)), *found.get("metadata_props", [])):
        if end - start > TEXT:
            raise Malformed(f"a note of {end - start:,} bytes")


def _text(data: bytes, span: Span | None) -> str:
    if span is None:
        return ""
    start, end = span
    if end - start > _NAME:
        raise Malformed(f"a name of {end - start:,} bytes")
    try:
        return data[start:end].decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("a name is not UTF-8") from error


def _unique(pairs: Iterable[tuple[str, Any]], what: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Malformed(f"{what} {name!r} is there twice")
        found[name] = value
    return found
