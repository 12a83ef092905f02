"""What a benchmark run saw: answers and durations of each model, by text and by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput import timing

NOISY = 0.15
"""A run is noisy above this spread: (max - min) / median of p50 over the rounds, of the median model."""


@dataclass(frozen=True)
class AllThreads:
    """The same model on all usable cores, in a fresh process: p50 in milliseconds of single texts, texts per second of
    the list call."""

    threads: int
    p50: float
    throughput_per_s: float


@dataclass(frozen=True)
class Measured:
    """What was seen of one model.

    ``answers`` [n] are label indices, ``probabilities`` [n, labels], ``elapsed_ns`` [n], all in the order of the texts
    given; ``round_p50_ms`` [rounds].
    """

    answers: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    elapsed_ns: NDArray[np.int64]
    round_p50_ms: tuple[float, ...]
    facts: Mapping[str, Any]
    peak_bytes: int | None
    throughput_per_s: float
    all_threads: AllThreads | None = None

    @property
    def p50_ms(self) -> float:
        """Median latency over all texts."""
        return timing.percentiles(self.elapsed_ns.tolist()).p50

    @property
    def p50_spread(self) -> float:
        """(max - min) / median of p50 over the rounds."""
        return timing.spread(self.round_p50_ms)


@dataclass(frozen=True)
class Result:
    """A whole run: what was seen of each model, by name."""

    threads: int
    labels: tuple[str, ...]
    n_texts: int
    models: Mapping[str, Measured]
    folder: Path
    texts: tuple[str, ...] = ()

    @property
    def p50_spread(self) -> float:
        """Spread over the rounds of the median model: what the machine, not one model, did."""
        return float(np.median([measured.p50_spread for measured in self.models.values()]))

    @property
    def noisy(self) -> bool:
        """Whether something else kept the machine busy: ``p50_spread`` is above ``NOISY``."""
        return self.p50_spread > NOISY

    def speedups(self, name: str, reference: str) -> tuple[float, ...]:
        """How many times faster than the reference a model is: ratio of p50, one for each round."""
        ours, theirs = self.models[name].round_p50_ms, self.models[reference].round_p50_ms
        return tuple(their / our for our, their in zip(ours, theirs, strict=True))


def same_labels(one: Sequence[str], other: Sequence[str]) -> bool:
    """The same names in the same order; "POSITIVE" is "positive"."""
    return [label.casefold() for label in one] == [label.casefold() for label in other]
