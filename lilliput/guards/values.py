"""What is known of a tensor before a graph runs, and how shapes combine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from lilliput.guards.graphs import BITS, INT32, INT64, Node
from lilliput.guards.protobuf import Malformed

SMALL = 256
"""Elements of a tensor whose values are followed at most; those that make up shapes have a handful."""
WHOLE = (INT32, INT64)
"""Element types whose values are followed."""


class Value(NamedTuple):
    """What is known of a tensor: shape, element type, the values where they are few whole numbers, and the input of the
    graph whose values it has ("" for none)."""

    shape: tuple[int, ...]
    type: int
    numbers: NDArray[Any] | None = None
    origin: str = ""

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes in memory."""
        return (self.elements * BITS.get(self.type, 64) + 7) // 8


Given = Sequence[Value | None]
"""The inputs of an operator; None where an optional one is left out."""

Rule = Callable[[Node, Any], Value | list[Value]]


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that NumPy, too, gives to an operation on elements of tensors of these shapes."""
    rank = max(map(len, shapes))
    result = []
    for sizes in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            raise Malformed(f"shapes {' and '.join(str(list(shape)) for shape in shapes)} don't fit together")
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise Malformed(f"axis {axis} of {rank}")
    return axis % rank


def known(value: Value | None) -> list[int]:
    """The values of a tensor that is part of a shape."""
    if value is None or value.numbers is None:
        raise Malformed("a shape that can't be told before the graph runs")
    return [int(number) for number in value.numbers.ravel()]


def small(numbers: Any) -> NDArray[Any] | None:
    """Values where they are few enough to be followed."""
    return numbers if numbers is not None and numbers.size <= SMALL else None


def product(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a matrix product."""
    left = first if len(first) > 1 else (1, *first)
    right = second if len(second) > 1 else (*second, 1)
    if left[-1] != right[-2]:
        raise Malformed(f"a product of shapes {list(first)} and {list(second)}")
    ends = (left[-2],) * (len(first) > 1) + (right[-1],) * (len(second) > 1)
    return (*broadcast(left[:-2], right[:-2]), *ends) if left[:-2] or right[:-2] else ends
