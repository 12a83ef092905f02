"""The shape and cost of every tensor of a graph for inputs of a given shape, operator by operator, without running it.

Shapes that a graph computes are followed too: small tensors of whole numbers keep their values. An operator without a
rule in `lilliput.guards.operators` is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lilliput.guards import operators
from lilliput.guards.graphs import Node, Tensor
from lilliput.guards.protobuf import Malformed
from lilliput.guards.values import SMALL, WHOLE, Given, Value

MOVED = 8
"""Products that take as long as moving an element."""


def outputs_of(node: Node, given: Given, data: bytes) -> list[Value]:
    """What an operator makes of its inputs, in the order of its outputs.

    Args:
        data: the bytes of the graph.

    Raises:
        Malformed: the operator is none of those that have a rule, or can't take these inputs.
    """
    rule = operators.RULES.get((node.domain if node.domain != "ai.onnx" else "", node.operator))
    if rule is None:
        domain = f" of {node.domain!r}" if node.domain not in ("", "ai.onnx") else ""
        raise Malformed(f"operator {node.operator!r}{domain} is none of those that Lilliput's graphs have")
    constant = node.attributes.get("value")
    if node.operator == "Constant" and isinstance(constant, Tensor):
        return [of_tensor(constant, data)]
    try:
        found = rule(node, given)
    except Malformed as error:
        raise Malformed(f"operator {node.operator!r} ({node.name!r}): {error}") from None
    except (TypeError, ValueError, IndexError, AttributeError, KeyError) as error:
        raise Malformed(
            f"operator {node.operator!r} ({node.name!r}) has inputs or attributes that it can't take"
        ) from error
    values = [found] if isinstance(found, Value) else found
    if len(node.outputs) > len(values):
        raise Malformed(f"operator {node.operator!r} ({node.name!r}) has {len(node.outputs)} outputs")
    return values


def work_of(node: Node, given: Given, made: Sequence[Value]) -> int:
    """Products that an operator adds up; an element that is moved, or put through a function, counts as `MOVED`."""
    inner = operators.INNER.get(node.operator)
    if inner is not None:
        return made[0].elements * inner(node, given)
    return MOVED * sum(value.elements for value in (*given, *made) if value is not None)


def of_tensor(tensor: Tensor, data: bytes) -> Value:
    """What is known of a constant."""
    numbers = None
    if tensor.type in WHOLE and tensor.count <= SMALL:
        numbers = tensor.numbers(data)
        numbers = None if numbers is None else numbers.astype(np.int64).reshape(tensor.dims)
    return Value(tensor.dims, tensor.type, numbers)
