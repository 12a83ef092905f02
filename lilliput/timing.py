"""The one clock: every latency that Lilliput reports is read here.

Nanoseconds inside, milliseconds in what people read. The clock is monotonic (``time.perf_counter_ns``), so that a
correction of the system's time can't end up in a figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")
Answer = TypeVar("Answer")

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

clock = time.perf_counter_ns


@dataclass(frozen=True)
class Percentiles:
    """Latency in milliseconds: the median, and what 9 and 99 of 100 calls stay below."""

    p50: float
    p90: float
    p99: float


def time_each(function: Callable[[Item], Answer], items: Iterable[Item]) -> tuple[list[Answer], list[int]]:
    """Call ``function`` on each item; return the answers and the nanoseconds that each call took."""
    answers: list[Answer] = []
    elapsed: list[int] = []
    for item in items:
        start = clock()
        answer = function(item)
        elapsed.append(clock() - start)
        answers.append(answer)
    return answers, elapsed


def warm_up(function: Callable[[Item], Any], items: Sequence[Item], seconds: float = 0.5, least: int = 5) -> int:
    """Call ``function`` on the items, again and again, for ``seconds`` and at least ``least`` times.

    Returns the median of the last half of the calls in nanoseconds: what to expect of a warm call.
    """
    if not items:
        raise ValueError("warm_up needs at least one item to call the function on")
    elapsed: list[int] = []
    start = clock()
    while len(elapsed) < least or clock() - start < seconds * NS_PER_S:
        _, (one,) = time_each(function, [items[len(elapsed) % len(items)]])
        elapsed.append(one)
    return int(np.median(elapsed[len(elapsed) // 2 :]))


def measure(function: Callable[[Item], Any], items: Sequence[Item], rounds: int = 5, warm: float = 0.5) -> Percentiles:
    """Warm up, then time one call per item and round; percentiles over all calls."""
    warm_up(function, items, seconds=warm)
    elapsed: list[int] = []
    for _ in range(rounds):
        elapsed += time_each(function, items)[1]
    return percentiles(elapsed)


def percentiles(nanoseconds: Sequence[int]) -> Percentiles:
    """p50, p90 and p99 in milliseconds, linear between the two nearest calls."""
    p50, p90, p99 = quantiles(nanoseconds, (0.5, 0.9, 0.99))
    return Percentiles(p50, p90, p99)


def quantiles(nanoseconds: Sequence[int], levels: Sequence[float]) -> list[float]:
    """The given quantiles (0 to 1) of some durations, in milliseconds."""
    if not len(nanoseconds):
        raise ValueError("there are no durations to take quantiles of")
    return [float(value) / NS_PER_MS for value in np.quantile(np.asarray(nanoseconds, dtype=np.float64), levels)]


def spread(values: Sequence[float]) -> float:
    """(max - min) / median: 0.05 says that the values lie within 5% of each other."""
    middle = float(np.median(values))
    return (max(values) - min(values)) / middle if middle > 0 else 0.0
