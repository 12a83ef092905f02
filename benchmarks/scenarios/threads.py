"""Threads: what more cores gain, from one to all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lilliput import machine, timing
from lilliput.benchmarks.bench import Bench, Found
from lilliput.benchmarks.table import Column, milliseconds, times, whole

ABOUT = (
    "Fresh processes on 1, 2, 4 ... threads, up to all cores. Single texts (all threads work on one) and the list call "
    "(threads work as the model likes), medians over rounds in which the models take turns."
)
ROUNDS, FEWEST, MOST, SAMPLE_S = 3, 16, 256, 0.5


def _on(one: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{point['threads']}: {milliseconds(point['p50_ms'])} ms, {whole(point['per_s'])}/s" for point in one["points"]
    )


def _gain(key: str) -> Any:
    def text(one: Mapping[str, Any]) -> str:
        first, last = one["points"][0], one["points"][-1]
        return times(first[key] / last[key] if key == "p50_ms" else last[key] / first[key])

    return text


COLUMNS = (
    Column("threads: p50, texts/s", "single texts, and the list call", _on, numeric=False),
    Column("gain, one text", "p50 on 1 thread / on all", _gain("p50_ms")),
    Column("gain, list", "texts/s on all threads / on 1", _gain("per_s")),
)


def measure(bench: Bench) -> Found:
    """Latency and throughput of every model on each number of threads."""
    counts = thread_counts(machine.usable_cores())
    points: dict[str, list[dict[str, Any]]] = {entry.name: [] for entry in bench.entries}
    failed: dict[str, str] = {}
    for threads in counts:
        with bench.runners(f"threads-{threads}", threads) as runners:
            single: dict[str, list[float]] = {name: [] for name in runners.names}
            rates: dict[str, list[float]] = {name: [] for name in runners.names}
            for number in range(ROUNDS):
                for name in runners.turns(number):
                    bench.tell(f"{name}: {threads} threads, round {number + 1} of {ROUNDS}")
                    sample = _sample(bench, name, number)
                    runners.ask(name, "warm", texts=sample[:5], seconds=0.05)
                    one = runners.ask(name, "one", texts=sample)
                    listed = runners.ask(name, "batch", texts=sample)
                    if one and listed:
                        single[name].append(timing.percentiles(one["ns"]).p50)
                        rates[name].append(len(sample) * timing.NS_PER_S / listed["ns"])
            failed = {**runners.failed, **failed}
            for name in runners.names:
                p50, per_s = float(np.median(single[name])), float(np.median(rates[name]))
                points[name].append({"threads": threads, "p50_ms": p50, "per_s": per_s})
    models: dict[str, Mapping[str, Any]] = {
        name: {"not_measured": failed[name]} if name in failed else {"points": seen} for name, seen in points.items()
    }
    return Found(models, {"threads": counts})


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4 ... below the number of cores, and that."""
    counts = [1]
    while 2 * counts[-1] < cores:
        counts.append(2 * counts[-1])
    return counts if counts[-1] == cores else [*counts, cores]


def _sample(bench: Bench, name: str, number: int) -> list[str]:
    """Texts of about ``SAMPLE_S``, others in each round."""
    count = int(min(MOST, len(bench.texts), max(FEWEST, SAMPLE_S * timing.NS_PER_S / bench.expected_ns(name))))
    step = len(bench.texts) / count
    return [bench.texts[int((at + number / ROUNDS) * step)] for at in range(count)]
