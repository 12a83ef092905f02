"""Milliseconds of an encoder as a sum over its blocks, looked up in what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from lilliput.compress.cost import Cost
from lilliput.compress.engine import Statistic


@dataclass(frozen=True)
class Curve:
    """Milliseconds of one half of a block by its size, measured at some sizes and lengths.

    ``sizes`` rise from 0; ``ms`` is ``[lengths][sizes]``, beside a half of size 0.
    """

    sizes: tuple[int, ...]
    ms: tuple[tuple[float, ...], ...]

    def at(self, size: int) -> NDArray[np.float64]:
        """Milliseconds at each length; beyond the largest size as between the last two."""
        table = np.array(self.ms)
        right = min(max(int(np.searchsorted(self.sizes, size)), 1), len(self.sizes) - 1)
        low, high = self.sizes[right - 1], self.sizes[right]
        share = (size - low) / (high - low)
        result: NDArray[np.float64] = (1 - share) * table[:, right - 1] + share * table[:, right]
        return result


@dataclass(frozen=True)
class LatencyTable(Cost):
    """Milliseconds of an encoder of one hidden size, for a single text at a time.

    Attributes:
        heads: of the attention heads of middle blocks, and of the last one.
        neurons: likewise of feed-forward neurons.
        block_ms: ``[2][lengths]``, of a block beside its halves: middle, last.
        rest_ms: of everything beside the blocks, by statistic.
        weights: ``[lengths]`` by statistic: what of the texts lies at each measured length. The median latency is that
            of the median length, since latency rises with length.
        statistic: which one the methods tell of.
        lengths: measured lengths, in tokens.
    """

    heads: tuple[Curve, Curve]
    neurons: tuple[Curve, Curve]
    block_ms: tuple[tuple[float, ...], tuple[float, ...]]
    rest_ms: Mapping[str, float]
    weights: Mapping[str, tuple[float, ...]]
    lengths: tuple[int, ...]
    statistic: Statistic = "p50"

    @property
    def unit(self) -> str:
        """ms."""
        return "ms"

    def attention(self, heads: int, last: bool) -> float:
        """Milliseconds of a block's heads."""
        return self._weighted(self.heads[last].at(heads))

    def feed_forward(self, neurons: int, last: bool) -> float:
        """Milliseconds of a block's neurons."""
        return self._weighted(self.neurons[last].at(neurons))

    def block(self, last: bool) -> float:
        """Milliseconds of norms and residual connections."""
        return self._weighted(np.array(self.block_ms[last]))

    def rest(self) -> float:
        """Milliseconds of tokenizer, Python, tables and head."""
        return self.rest_ms[self.statistic]

    def _weighted(self, ms: NDArray[np.float64]) -> float:
        return float(np.dot(self.weights[self.statistic], ms))


def parse(plain: dict[str, Any]) -> LatencyTable:
    """The table whose `dataclasses.asdict` this is; raises ValueError, KeyError or TypeError for anything else."""

    def row(values: Any) -> tuple[float, ...]:
        numbers = tuple(float(value) for value in values)
        if not np.isfinite(numbers).all():
            raise ValueError("not a finite number")
        return numbers

    def curves(pair: Any) -> tuple[Curve, Curve]:
        first, last = (Curve(tuple(map(int, one["sizes"])), tuple(map(row, one["ms"]))) for one in pair)
        for curve in (first, last):
            if {len(line) for line in curve.ms} != {len(curve.sizes)} or len(curve.ms) != len(lengths):
                raise ValueError("a curve of another number of sizes or lengths")
        return first, last

    lengths = tuple(map(int, plain["lengths"]))
    middle, end = map(row, plain["block_ms"])
    return LatencyTable(
        heads=curves(plain["heads"]),
        neurons=curves(plain["neurons"]),
        block_ms=(middle, end),
        rest_ms={name: row([plain["rest_ms"][name]])[0] for name in get_args(Statistic)},
        weights={name: row(plain["weights"][name]) for name in get_args(Statistic)},
        lengths=lengths,
    )
