"""Offline: all texts are there from the start; how many are answered a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lilliput import timing
from lilliput.benchmarks import latency, ratios
from lilliput.benchmarks.bench import Bench, Found, Runners
from lilliput.benchmarks.table import Column, percent, rate, times

ABOUT = (
    "All test texts are there at once. Each model answers them in the batch size that a trial found best for it, texts "
    "of like length together; graphs of dynamic int8 answer text by text, as the runtime does. Models take turns in "
    "rounds. A ratio is of whole times, with a bootstrap over the rounds."
)
SIZES = (1, 8, 32, 128)
TRIED, LONGEST_S = 256, 1.0
"""Texts of a trial, and about how long it may take with single texts."""


def _size(one: Mapping[str, Any]) -> str:
    return "text by text" if one["size"] == 1 else f"{one['size']} at a time"


def _ratio(one: Mapping[str, Any]) -> str:
    if one["ratio"] is None:
        return "–"
    low, high = one["ratio_ci"]
    return f"{times(one['ratio'])} ({times(low)} to {times(high)})"


COLUMNS = (
    Column("texts/s", "test texts answered in a second, on the benchmark's threads", lambda one: rate(one["per_s"])),
    Column("batches", "the best of text by text and several sizes, on a sample", _size, numeric=False),
    Column("vs reference", "times the throughput of the reference, 95% interval", _ratio),
    Column("spread", "(max - min) / median over the rounds", lambda one: percent(one["spread"])),
    Column("other labels", "answers that differ from those of single texts", lambda one: percent(one["changed"])),
)


def measure(bench: Bench) -> Found:
    """Texts a second of every model, over the whole set."""
    turns = latency.deal(bench.texts, min(bench.rounds, len(bench.texts)), bench.seed)
    with bench.runners("offline") as runners:
        sizes = {}
        for name in runners.names:
            bench.tell(f"{name}: offline, the best batches")
            sizes[name] = best_size(runners, name, bench.texts, bench.expected_ns(name))
        seen: dict[str, list[int]] = {name: [] for name in runners.names}
        answers: dict[str, dict[int, int]] = {name: {} for name in runners.names}
        for number, indices in enumerate(turns):
            for name in runners.turns(number):
                bench.tell(f"{name}: offline, round {number + 1} of {len(turns)}")
                reply = runners.ask(name, "sized", texts=[bench.texts[i] for i in indices], size=sizes[name])
                if reply:
                    seen[name].append(reply["ns"])
                    answers[name].update(zip(indices, reply["answers"], strict=True))
        whole_set = [index for indices in turns for index in indices]
        models = {}
        for name in runners.names:
            changed = bench.labels_differ(name, [answers[name][index] for index in whole_set], whole_set)
            theirs = seen[bench.reference] if bench.reference in runners.names else None
            models[name] = _entry(seen[name], theirs, turns, sizes[name], changed)
        return Found(runners.found(models), {"threads": bench.threads, "reference": bench.reference})


def best_size(runners: Runners, name: str, texts: Sequence[str], expected_ns: float) -> int:
    """The number of texts a call that answers a sample quickest; 1 where the graph takes its scales from the batch."""
    batching = runners.ask(name, "batching")
    if not batching or not batching["together"]:
        return 1
    count = int(min(TRIED, len(texts), max(16, LONGEST_S * timing.NS_PER_S / expected_ns)))
    sample = [texts[round(at)] for at in _evenly(count, len(texts))]
    quickest, best = None, 1
    for size in SIZES:
        if size > count:
            break
        runners.ask(name, "sized", texts=sample[: min(size, count)], size=size)  # the first of a size is slower
        reply = runners.ask(name, "sized", texts=sample, size=size)
        if reply is None:
            break
        if quickest is None or reply["ns"] < quickest:
            quickest, best = reply["ns"], size
    return best


def _evenly(count: int, length: int) -> list[float]:
    return [at * (length - 1) / max(1, count - 1) for at in range(count)]


def _entry(
    ours: Sequence[int], theirs: Sequence[int] | None, turns: Sequence[Sequence[int]], size: int, changed: float
) -> dict[str, Any]:
    rates = [len(indices) * timing.NS_PER_S / ns for indices, ns in zip(turns, ours, strict=True)]
    ratio = ratios.of_totals(theirs, ours) if theirs else None
    return {
        "per_s": sum(map(len, turns)) * timing.NS_PER_S / sum(ours),
        "size": size,
        "ratio": ratio.value if ratio else None,
        "ratio_ci": [ratio.low, ratio.high] if ratio else None,
        "rounds_per_s": rates,
        "spread": timing.spread(rates),
        "changed": changed,
    }
