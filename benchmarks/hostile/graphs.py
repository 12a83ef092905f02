"""Graphs that lie in other files, hold graphs of their own, call foreign code, or are not what the manifest says."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from lilliput.benchmarks.hostile.forge import Case, Forge
from lilliput.benchmarks.hostile.paths import PICKLE
from lilliput.benchmarks.hostile.victim import LABELS

Change = Callable[[onnx.ModelProto], Any]


def _changed(forge: Forge, change: Change) -> None:
    """The honest graph with a change; what the change gives is sealed instead, unless it is None."""
    model = forge.model
    found = change(model)
    forge.graph(model if found is None else found)
    forge.seal()


def _named(model: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == operator)


def _tensor(model: onnx.ModelProto, name: str = "table") -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def _before(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    """Further operators in front of the others."""
    kept = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(kept)


# --- other files -----------------------------------------------------------------------------------------------------


def _external(forge: Forge, location: str | None = None, offset: int = 0, length: int | None = None) -> None:
    """The table lies in the canary, or in another file."""
    model = forge.model
    table = _tensor(model)
    set_external_data(table, location or str(forge.canary), offset=offset, length=length)
    table.ClearField("raw_data")
    forge.graph(model)
    forge.seal()


def _external_link(forge: Forge) -> None:
    """The table lies in a file of the bundle that is a second name of the canary."""
    os.link(forge.canary, forge.folder / "onnx" / "table.txt")
    _external(forge, "table.txt", length=8)


def _external_constant(forge: Forge) -> None:
    """The same, of a constant that is an attribute."""
    tensor = TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[3], raw_data=bytes(12))
    set_external_data(tensor, str(forge.canary))
    tensor.ClearField("raw_data")

    def change(model: onnx.ModelProto) -> None:
        _before(model, helper.make_node("Constant", [], ["far"], value=tensor))

    _changed(forge, change)


def _elsewhere(model: onnx.ModelProto) -> None:
    """A tensor that says it lies elsewhere, and not where."""
    _tensor(model).data_location = TensorProto.EXTERNAL


# --- graphs within the graph, and foreign code -----------------------------------------------------------------------


def _body(*nodes: onnx.NodeProto, inputs: Any = (), outputs: Any = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "body", list(inputs), list(outputs))


def _loop(model: onnx.ModelProto) -> None:
    """2^62 rounds that do nothing."""
    value = helper.make_tensor_value_info
    ends = [value("round", TensorProto.INT64, []), value("going", TensorProto.BOOL, [])]
    same = helper.make_node("Identity", ["going"], ["on"])
    body = _body(same, inputs=ends, outputs=[value("on", TensorProto.BOOL, [])])
    model.graph.initializer.append(numpy_helper.from_array(np.array(1 << 62), "rounds"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    _before(model, helper.make_node("Loop", ["rounds", "yes"], [], body=body))


def _scan(model: onnx.ModelProto) -> None:
    value = helper.make_tensor_value_info
    body = _body(
        helper.make_node("Identity", ["x"], ["y"]),
        inputs=[value("x", TensorProto.FLOAT, [16])],
        outputs=[value("y", TensorProto.FLOAT, [16])],
    )
    _before(model, helper.make_node("Scan", ["table"], ["rows"], body=body, num_scan_inputs=1))


def _nested(model: onnx.ModelProto, depth: int) -> bytes:
    """Choices within choices, written by hand: the library that writes graphs gives up long before."""
    inner = b""
    for _ in range(depth):
        attribute = _field(1, b"then_branch") + _field(6, _field(1, _field(4, b"If") + _field(5, inner)))
        inner = attribute
    node = _field(4, b"If") + _field(5, inner)
    graph = model.graph.SerializeToString() + _field(1, node)
    return _field(7, graph) + model.opset_import[0].SerializeToString().join([b"", b""]) + _opset(model)


def _opset(model: onnx.ModelProto) -> bytes:
    return _field(8, model.opset_import[0].SerializeToString()) + bytes([1 << 3, model.ir_version])


def _field(number: int, data: bytes) -> bytes:
    """A field of Protocol Buffers that has a length."""
    length, digits = len(data), bytearray()
    while length > 127:
        digits.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *digits, length]) + data


def _function(model: onnx.ModelProto, name: str, domain: str) -> None:
    """A function that calls itself."""
    node = helper.make_node(name, ["a", "b"], ["c"], domain=domain)
    opsets = [*model.opset_import, *([helper.make_opsetid(domain, 1)] if domain else [])]
    model.functions.append(helper.make_function(domain, name, ["a", "b"], ["c"], [node], opsets))
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
        _named(model, "MatMul").domain = domain
        _named(model, "MatMul").op_type = name


def _foreign(model: onnx.ModelProto, name: str, domain: str) -> None:
    """An operator whose code is loaded from elsewhere."""
    model.opset_import.append(helper.make_opsetid(domain, 1))
    _before(model, helper.make_node(name, ["table"], ["harmed"], domain=domain))


def _training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.name = "step"


def _sparse(model: onnx.ModelProto) -> None:
    """A billion elements that are all zero, in a few bytes."""
    values = numpy_helper.from_array(np.array([1.0], dtype=np.float32), "sparse")
    places = numpy_helper.from_array(np.array([0]), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [1 << 15, 1 << 15]))


# --- what is malformed -----------------------------------------------------------------------------------------------


def _circle(model: onnx.ModelProto) -> None:
    _named(model, "Cast").input[0] = "logits"


def _undefined(model: onnx.ModelProto) -> None:
    _named(model, "MatMul").input[1] = "nothing"


def _twice(model: onnx.ModelProto) -> None:
    _before(model, helper.make_node("Identity", ["table"], ["logits"]))


def _shadow(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 3), np.int64), "input_ids"))


def _same_tensor(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(_tensor(model))


def _two_graphs(model: onnx.ModelProto) -> bytes:
    """Parsers put the two together; one that reads the last one alone sees an honest graph."""
    other = onnx.GraphProto()
    other.initializer.append(numpy_helper.from_array(np.full(3, np.nan, np.float32), "more"))
    return _field(7, other.SerializeToString()) + model.SerializeToString()


def _attribute_of(model: onnx.ModelProto, value: Any) -> None:
    _named(model, "Cast").attribute.append(helper.make_attribute("more", value))


def _branch(model: onnx.ModelProto) -> None:
    """An operator that has no use for a graph has one."""
    body = _body(helper.make_node("Identity", ["table"], ["copy"]))
    _named(model, "Cast").attribute.append(helper.make_attribute("then_branch", body))


def _note(model: onnx.ModelProto) -> None:
    model.graph.doc_string = "x" * 10_000_000


def _renamed(model: onnx.ModelProto) -> None:
    _named(model, "Cast").name = "x" * 10_000_000


def _opset_of(model: onnx.ModelProto, version: int) -> None:
    model.opset_import[0].version = version


def _crowd(model: onnx.ModelProto) -> None:
    """A hundred thousand operators in a row."""
    names = ["table", *(f"copy-{number}" for number in range(100_000))]
    pairs = itertools.pairwise(names)
    _before(model, *(helper.make_node("Identity", [one], [other]) for one, other in pairs))


# --- ends ------------------------------------------------------------------------------------------------------------


def _input_type(model: onnx.ModelProto, kind: int) -> None:
    model.graph.input[0].type.tensor_type.elem_type = kind


def _more_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["a", "b"]))


def _less_input(model: onnx.ModelProto) -> None:
    """The mask is a constant, not an input."""
    del model.graph.input[1]
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 24), np.int64), "attention_mask"))


def _output(forge: Forge, array: Any, kind: int = TensorProto.FLOAT) -> None:
    """The answer is a constant of another type or shape."""
    model = forge.model
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Constant", [], ["logits"], value=numpy_helper.from_array(array)))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", kind, None))
    forge.graph(model)
    forge.seal()


def _more_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("vectors", TensorProto.FLOAT, None))


def _other_output(model: onnx.ModelProto) -> None:
    _named(model, "MatMul").output[0] = model.graph.output[0].name = "scores"


def _unmade_output(model: onnx.ModelProto) -> None:
    _named(model, "MatMul").output[0] = "scores"


_N = len(LABELS)
CASES = (
    Case("a tensor in the canary", _external),
    Case("a tensor in a file above", partial(_external, location="../../canary/secret.txt")),
    Case("a tensor in a system file", partial(_external, location="/etc/passwd")),
    Case("a tensor beyond the end of a file", partial(_external, location="../vocab.txt", offset=1 << 40)),
    Case("a tensor before the start of a file", partial(_external, location="../vocab.txt", offset=-8)),
    Case("a tensor of a listed file", partial(_external, location="../vocab.txt", length=8)),
    Case("a tensor at an address in memory", partial(_external, location="*/_ORT_MEM_ADDR_/*", offset=4096, length=8)),
    Case("a tensor of a file that is the canary too", _external_link),
    Case("a constant in the canary", _external_constant),
    Case("a tensor that is elsewhere", partial(_changed, change=_elsewhere)),
    Case("a loop of 2^62 rounds", partial(_changed, change=_loop)),
    Case("a scan", partial(_changed, change=_scan)),
    Case("choices 100 levels deep", partial(_changed, change=partial(_nested, depth=100))),
    Case("choices 5,000 levels deep", partial(_changed, change=partial(_nested, depth=5000))),
    Case("a function that calls itself", partial(_changed, change=partial(_function, name="Again", domain="evil"))),
    Case("a function in place of an operator", partial(_changed, change=partial(_function, name="MatMul", domain=""))),
    Case("an operator of a foreign library", partial(_changed, change=partial(_foreign, name="Run", domain="evil"))),
    Case(
        "an operator that runs Python",
        partial(_changed, change=partial(_foreign, name="PyOp", domain="ai.onnx.contrib")),
    ),
    Case(
        "an operator that our graphs have not",
        lambda f: _changed(f, lambda m: _before(m, helper.make_node("Det", ["table"], ["x"]))),
    ),
    Case(
        "an operator for other processors",
        partial(_changed, change=partial(_foreign, name="EPContext", domain="com.microsoft")),
    ),
    Case("steps of a training", partial(_changed, change=_training)),
    Case("a sparse tensor of a billion elements", partial(_changed, change=_sparse)),
    Case("a circle", partial(_changed, change=_circle)),
    Case("an operator that reads what nothing makes", partial(_changed, change=_undefined)),
    Case("two operators that make the same", partial(_changed, change=_twice)),
    Case("a tensor in place of an input", partial(_changed, change=_shadow)),
    Case("a tensor twice", partial(_changed, change=_same_tensor)),
    Case("two graphs in one", partial(_changed, change=_two_graphs)),
    Case("a field that is not known", partial(_changed, change=lambda m: m.SerializeToString() + _field(15, b"x"))),
    Case("a length beyond the end", partial(_changed, change=lambda m: m.SerializeToString() + b"\x32\xff\xff\x7f")),
    Case("a number without end", partial(_changed, change=lambda m: m.SerializeToString() + b"\x08" + b"\xff" * 1000)),
    Case("a group of fields", partial(_changed, change=lambda m: m.SerializeToString() + b"\x0b" * 100_000)),
    Case("half a graph", partial(_changed, change=lambda m: m.SerializeToString()[: m.ByteSize() // 2])),
    Case("no graph at all", partial(_changed, change=lambda m: b"")),
    Case("a pickle by the name of a graph", partial(_changed, change=lambda m: PICKLE)),
    Case("an attribute of ten megabytes", partial(_changed, change=partial(_attribute_of, value="x" * 10_000_000))),
    Case("an attribute of a million numbers", partial(_changed, change=partial(_attribute_of, value=[1] * 1_000_000))),
    Case("an attribute of a million texts", partial(_changed, change=partial(_attribute_of, value=["x"] * 1_000_000))),
    Case("a graph where none belongs", partial(_changed, change=_branch)),
    Case("a note of ten megabytes", partial(_changed, change=_note)),
    Case("a name of ten megabytes", partial(_changed, change=_renamed)),
    Case("an opset of the far future", lambda f: _changed(f, partial(_opset_of, version=1 << 40))),
    Case("a hundred thousand operators", partial(_changed, change=_crowd)),
    Case("an input of texts", partial(_changed, change=partial(_input_type, kind=TensorProto.STRING))),
    Case("an input of fractions", partial(_changed, change=partial(_input_type, kind=TensorProto.FLOAT))),
    Case("an input too many", partial(_changed, change=_more_input)),
    Case("an input too few", partial(_changed, change=_less_input)),
    Case("an answer of one axis", partial(_output, array=np.zeros(_N, np.float32))),
    Case("an answer of four axes", partial(_output, array=np.zeros((1, 1, 1, _N), np.float32))),
    Case("an answer for two texts", partial(_output, array=np.zeros((2, _N), np.float32))),
    Case("an answer with a label too many", partial(_output, array=np.zeros((1, _N + 1), np.float32))),
    Case("an answer of double precision", partial(_output, array=np.zeros((1, _N)), kind=TensorProto.DOUBLE)),
    Case("an answer of whole numbers", partial(_output, array=np.zeros((1, _N), np.int64), kind=TensorProto.INT64)),
    Case("an answer of another type than it says", partial(_output, array=np.zeros((1, _N), np.int64))),
    Case("an answer of texts", partial(_output, array=np.array([["a"] * _N]), kind=TensorProto.STRING)),
    Case("an answer too many", partial(_changed, change=_more_output)),
    Case("an answer by another name", partial(_changed, change=_other_output)),
    Case("an answer that nothing makes", partial(_changed, change=_unmade_output)),
)
