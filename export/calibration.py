"""Ranges of activations on calibration texts, at the memory of one text: two numbers and a histogram a tensor.

ONNX Runtime's own histograms need texts of one length and keep the tensors of all of them; these do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from lilliput import sessions
from lilliput.errors import ConfigError

Method = Literal["minmax", "percentile", "entropy"]
Feed = Mapping[str, NDArray[Any]]
Range = tuple[float, float]

BINS = 4096
"""Of a histogram of absolute values."""

PERCENTILE = 99.99
"""Of the values of a tensor that the method "percentile" does not cut off."""

LEVELS = 128
"""Of absolute values in 8 bits, for the method "entropy"."""


class Histogram:
    """Absolute values in bins of equal width, from 0 on; where a value lies beyond the last bin, the width doubles."""

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, dtype=np.int64)
        self.width = 0.0
        self.low = self.high = 0.0  # of the values themselves; quantized ranges contain 0

    def add(self, values: NDArray[Any]) -> None:
        """Count the values of a tensor."""
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        sizes = np.abs(values.ravel()).astype(np.float64)
        largest = max(-low, high, 0.0)
        if not self.width:
            self.width = largest / BINS
        while self.width and largest > BINS * self.width:
            self.counts[: BINS // 2] = self.counts[0::2] + self.counts[1::2]
            self.counts[BINS // 2 :] = 0
            self.width *= 2
        if self.width:
            places = np.minimum((sizes / self.width).astype(np.int64), BINS - 1)
            self.counts += np.bincount(places, minlength=BINS)
        else:
            self.counts[0] += len(sizes)

    def range(self, method: Method) -> Range:
        """From where to where values are told apart; the others count as the nearest end."""
        if method == "minmax" or not self.width:
            return self.low, self.high
        cut = self._percentile() if method == "percentile" else self._entropy()
        return max(self.low, -cut), min(self.high, cut)

    def _percentile(self) -> float:
        below = np.cumsum(self.counts) / self.counts.sum()
        return float((np.searchsorted(below, PERCENTILE / 100) + 1) * self.width)

    def _entropy(self) -> float:
        """The cut whose quantized histogram is nearest to the true one, by Kullback-Leibler divergence.

        Reference: Migacz 2017, "8-bit Inference with TensorRT", pages 22 to 24.
        """
        used = int(np.flatnonzero(self.counts).max(initial=0)) + 1
        cuts = range(LEVELS, max(used, LEVELS) + 1, LEVELS // 4)
        return min(cuts, key=lambda cut: _divergence(self.counts, cut)) * self.width


def _divergence(counts: NDArray[np.int64], cut: int) -> float:
    """``KL(P, Q)`` for P the first ``cut`` bins, the last of which has all values beyond, and Q the same without those,
    in `LEVELS` levels, each spread evenly over its bins that are not empty."""
    kept = counts[:cut].astype(np.float64)
    p = kept.copy()
    p[-1] += counts[cut:].sum()
    level = np.arange(cut) * LEVELS // cut
    sums = np.bincount(level, weights=kept, minlength=LEVELS)
    filled = np.bincount(level, weights=kept > 0, minlength=LEVELS)
    q = np.where(kept > 0, (sums / np.maximum(filled, 1))[level], 0.0)
    if not q.sum():
        return np.inf
    p, q = p / p.sum(), q / q.sum()
    there = p > 0
    return float((p[there] * np.log(p[there] / np.maximum(q[there], 1e-12))).sum())


def ranges(source: Path, names: Sequence[str], feeds: Iterable[Feed], method: Method) -> dict[str, Range]:
    """The range of each named tensor of the graph ``source``, over all feeds.

    Raises:
        ConfigError: there are no feeds.
    """
    probe = onnx.load(str(source))
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = sessions.open_session(probe.SerializeToString())
    found = {name: Histogram() for name in names}
    read = 0
    for feed in feeds:
        for name, values in zip(names, session.run(list(names), dict(feed)), strict=True):
            found[name].add(values)
        read += 1
    if not read:
        raise ConfigError("--calibration-texts: there is no text to calibrate on")
    return {name: histogram.range(method) for name, histogram in found.items()}
