"""Two models' answers to the same inputs, counted in pairs: all that the paired statistics need of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """How many inputs both models answer rightly, only the first (ours), only the second (theirs), or neither."""

    both: int
    ours: int
    theirs: int
    neither: int

    @classmethod
    def of(cls, ours: ArrayLike, theirs: ArrayLike) -> Pairs:
        """Count ``ours`` and ``theirs``, where each is right: bool ``[n]``."""
        first, second = np.asarray(ours, dtype=bool), np.asarray(theirs, dtype=bool)
        cells = (first & second, first & ~second, ~first & second, ~first & ~second)
        return cls(*(int(cell.sum()) for cell in cells))

    @classmethod
    def read(cls, counts: Mapping[str, int]) -> Pairs:
        """From JSON, as ``asdict`` gives it."""
        return cls(**counts)

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    @property
    def n(self) -> int:
        """Inputs."""
        return sum(astuple(self))

    def flags(self) -> tuple[Flags, Flags]:
        """Where each is right, bool ``[n]``, in an order of its own: the pairs are those that were counted."""
        counts = astuple(self)
        return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)
