"""Server: texts come at random times; the highest rate at which 99 of 100 answers are there within a bound.

Arrivals are a Poisson process: gaps between texts are exponential. One draw of gaps, divided by the rate, serves every
model and every rate: a higher rate is the same arrivals on a faster clock. A latency runs from when a text was due,
waiting included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lilliput import timing
from lilliput.benchmarks import ratios
from lilliput.benchmarks.bench import Bench, Found, Runners
from lilliput.benchmarks.scenarios.offline import best_size
from lilliput.benchmarks.table import Column, milliseconds, percent, rate
from lilliput.statistics import Estimate

ABOUT = (
    "Texts come at random times (Poisson arrivals, one draw for all models) and wait in one line. The rate is the "
    "highest one, found by bisection, whose 99th percentile from arrival to answer stays within the bound. It is tried "
    "again with other arrivals, and lowered by a tenth until it keeps the bound there too; that run is shown."
)
TRIAL_S, FINAL_S = 4.0, 8.0
FEWEST, MOST, LONGEST_S = 300, 6000, 10.0
"""Seconds of a trial and of the run at the end; texts of either, where they don't take longer than so many seconds."""
LOWEST, CLOSE = 0.1, 1.02
"""Rates are looked for from this share of what back-to-back answers give, until they are this close."""
STEP, STEPS = 0.9, 8
"""By how much a rate is lowered that does not keep the bound with other arrivals, and how often."""
TOGETHER = 32
"""Texts that are answered together at most, of those that wait."""


def _rate(one: Mapping[str, Any]) -> str:
    return rate(one["rate_per_s"]) if one["rate_per_s"] else "none"


def _p99(one: Mapping[str, Any]) -> str:
    low, high = one["p99_ci"]
    return f"{milliseconds(one['p99_ms'])} ({milliseconds(low)} to {milliseconds(high)})"


COLUMNS = (
    Column("rate, texts/s", "highest rate that was found to keep the bound", _rate),
    Column("answered/s", "achieved in the last run", lambda one: rate(one["achieved_per_s"])),
    Column("p50 ms", "from arrival to answer", lambda one: milliseconds(one["p50_ms"])),
    Column("p99 ms", "from arrival to answer, 95% interval", _p99),
    Column("keeps it", "whether the last run kept the bound too", lambda one: "yes" if one["kept"] else "no"),
    Column("busy", "share of the time spent answering", lambda one: percent(one["busy"])),
    Column("waiting texts", "how they are answered", lambda one: one["how"], numeric=False),
)


def measure(bench: Bench) -> Found:
    """The highest rate of every model."""
    draw = np.random.default_rng(bench.seed)
    gaps = draw.exponential(size=MOST).tolist(), draw.exponential(size=MOST).tolist()
    picks = draw.integers(len(bench.texts), size=MOST).tolist()
    texts = [bench.texts[index] for index in picks]
    models = {}
    with bench.runners("server") as runners:
        for name in runners.names:
            bench.tell(f"{name}: server")
            found = _Search(bench, runners, name, texts, gaps).run()
            if found:
                models[name] = found
        settings = {"bound_ms": bench.bound_ms, "seed": bench.seed, "threads": bench.threads}
        return Found(runners.found(models), settings)


class _Search:
    """Looks for the highest rate of one model."""

    def __init__(
        self, bench: Bench, runners: Runners, name: str, texts: Sequence[str], gaps: tuple[Sequence[float], ...]
    ) -> None:
        self.bench, self.runners, self.name = bench, runners, name
        self.texts, self.gaps = texts, gaps
        expected = bench.expected_ns(name)
        size = best_size(runners, name, bench.texts, expected)
        self.most = min(size, TOGETHER)
        self.trials: list[dict[str, float]] = []

    def run(self) -> dict[str, Any] | None:
        """The entry of the model; None where its worker failed."""
        capacity = self._capacity()
        if not capacity:
            return None
        found = highest(self._keeps, LOWEST * capacity, 1.05 * capacity, CLOSE)
        for step in range(STEPS):
            rate = (found or LOWEST * capacity) * STEP**step
            seen = self._ask(rate, self.gaps[1], FINAL_S)
            if seen is None:
                return None
            reply, p99 = seen
            if p99.value <= self.bench.bound_ms or not found:
                break
        # Where not even the last one kept the bound, no rate is known that does.
        return self._entry(rate if found and p99.value <= self.bench.bound_ms else 0.0, reply, p99)

    def _entry(self, rate: float, reply: Mapping[str, Any], p99: Estimate) -> dict[str, Any]:
        count = len(reply["ns"])
        return {
            "rate_per_s": rate,
            "achieved_per_s": count * timing.NS_PER_S / reply["total_ns"],
            "p50_ms": timing.percentiles(reply["ns"]).p50,
            "p99_ms": p99.value,
            "p99_ci": [p99.low, p99.high],
            "kept": p99.value <= self.bench.bound_ms,
            "busy": reply["busy_ns"] / reply["total_ns"],
            "how": "one by one" if self.most == 1 else f"up to {self.most} together",
            "n": count,
            "trials": self.trials,
        }

    def _capacity(self) -> float:
        """Texts a second where the next one always waits."""
        count = self._count(timing.NS_PER_S / self.bench.expected_ns(self.name), TRIAL_S / 2)
        reply = self.runners.ask(self.name, "serve", texts=self.texts[:count], due_ns=[0] * count, most=self.most)
        return count * timing.NS_PER_S / reply["total_ns"] if reply else 0.0

    def _keeps(self, rate: float) -> bool:
        seen = self._ask(rate, self.gaps[0], TRIAL_S)
        if seen is None:
            return False
        self.trials.append({"rate_per_s": rate, "p99_ms": seen[1].value})
        return seen[1].value <= self.bench.bound_ms

    def _ask(self, rate: float, gaps: Sequence[float], seconds: float) -> tuple[dict[str, Any], Estimate] | None:
        count = self._count(rate, seconds)
        due = due_ns(gaps[:count], rate)
        reply = self.runners.ask(self.name, "serve", texts=self.texts[:count], due_ns=due, most=self.most)
        if reply is None:
            return None
        return reply, ratios.of_quantile([ns / timing.NS_PER_MS for ns in reply["ns"]], 0.99)

    @staticmethod
    def _count(rate: float, seconds: float) -> int:
        enough = max(FEWEST, min(MOST, math.ceil(rate * seconds)))
        return max(TOGETHER, min(enough, math.ceil(rate * LONGEST_S)))


def due_ns(gaps: Sequence[float], rate: float) -> list[int]:
    """When each text comes, in nanoseconds from the start: sums of gaps of a process of rate 1, at another rate."""
    moments = np.cumsum(np.asarray(gaps, dtype=np.float64)) * timing.NS_PER_S / rate
    whole: list[int] = moments.astype(np.int64).tolist()
    return whole


def highest(keeps: Callable[[float], bool], low: float, high: float, close: float) -> float:
    """The highest rate from ``low`` to ``high`` that keeps the bound, found by halving the logarithm of the span until
    its ends are within the factor ``close``; 0 where even ``low`` does not keep it.

    Low rates take long to try, so ``low`` itself is only tried where everything above it was refused.

    Args:
        keeps: whether a rate keeps the bound: true up to some rate, and false above it.
    """
    first = low
    while high / low > close:
        middle = math.sqrt(low * high)
        if keeps(middle):
            low = middle
        else:
            high = middle
    return low if low > first or keeps(low) else 0.0
