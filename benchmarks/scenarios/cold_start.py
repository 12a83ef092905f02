"""Cold start: a fresh process, from its start to its first answer; and whether fresh processes agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lilliput import timing
from lilliput.benchmarks.bench import Bench, Found, reason_of
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.table import Column, milliseconds, percent
from lilliput.errors import LilliputError

ABOUT = (
    "Five fresh processes a model, in turns. Start to answer is everything from starting Python to the first label; "
    "import, loading and the first text are parts of it. Files are in the system's cache already. Each process then "
    "answers a sample of the texts: how far apart their medians are says how well a latency can be repeated."
)
PROCESSES = 5
TEXTS, SAMPLE_S = 200, 1.0
PARTS = {"total_ms": "start to answer", "import_ms": "import", "load_ms": "load", "first_ms": "first text"}


def _part(key: str, words: str) -> Column:
    return Column(f"{words}, ms", "median over the processes", lambda one: milliseconds(one[key]))


def _slowest(one: Mapping[str, Any]) -> str:
    return milliseconds(max(one["processes"]["total_ms"]))


COLUMNS = (
    *(_part(key, words) for key, words in PARTS.items()),
    Column("slowest, ms", "start to answer in the slowest process", _slowest),
    Column("p50 ms", "median over the processes of their medians", lambda one: milliseconds(one["p50_ms"])),
    Column("p50 spread", "(max - min) / median over the processes", lambda one: percent(one["p50_spread"])),
)


def measure(bench: Bench) -> Found:
    """Start, import, load and first text of every model, medians over processes."""
    seen: dict[str, list[dict[str, float]]] = {entry.name: [] for entry in bench.entries}
    failed: dict[str, str] = {}
    for number in range(PROCESSES):
        for place in range(len(bench.entries)):
            entry = bench.entries[(place + number) % len(bench.entries)]
            bench.tell(f"{entry.name}: cold start {number + 1} of {PROCESSES}")
            if entry.name in failed:
                continue
            try:
                seen[entry.name].append(_start(bench, entry, number))
            except LilliputError as error:
                failed[entry.name] = reason_of(error)
    models: dict[str, Any] = {
        name: {"not_measured": failed[name]} if name in failed else _entry(starts) for name, starts in seen.items()
    }
    return Found(models, {"processes": PROCESSES, "threads": bench.threads})


def _start(bench: Bench, entry: Entry, number: int) -> dict[str, float]:
    count = int(min(TEXTS, len(bench.texts), max(10, SAMPLE_S * timing.NS_PER_S / bench.expected_ns(entry.name))))
    sample = [bench.texts[round(at)] for at in np.linspace(0, len(bench.texts) - 1, count)]
    begun = timing.clock()
    with bench.worker(entry, bench.folder / "cold-start" / f"{bench.entries.index(entry):02d}-{number}") as worker:
        facts = worker.ready()
        first = worker.ask("one", texts=sample[:1])["ns"][0]
        total = timing.clock() - begun
        worker.ask("warm", texts=sample, seconds=0.2)
        p50 = timing.percentiles(worker.ask("one", texts=sample)["ns"]).p50
    # A worker of another make may not tell its parts.
    parts = {"import_ms": facts.get("import_ns"), "load_ms": facts.get("load_ns")}
    known = {key: ns / timing.NS_PER_MS for key, ns in parts.items() if ns is not None}
    return {"total_ms": total / timing.NS_PER_MS, "first_ms": first / timing.NS_PER_MS, "p50_ms": p50, **known}


def _entry(starts: list[dict[str, float]]) -> dict[str, Any]:
    def every(key: str) -> list[float] | None:
        found = [start[key] for start in starts if key in start]
        return found if len(found) == len(starts) else None

    processes = {key: every(key) for key in (*PARTS, "p50_ms")}
    medians = {key: None if found is None else float(np.median(found)) for key, found in processes.items()}
    return {**medians, "p50_spread": timing.spread(processes["p50_ms"] or [0.0]), "processes": processes}
