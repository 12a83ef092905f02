"""Join answers with gold labels: one row of ``report.json`` for each model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lilliput import statistics, timing
from lilliput.benchmarks import evidence, origin, structure
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.measured import Measured, Result, same_labels
from lilliput.errors import ConfigError
from lilliput.statistics import Estimate
from lilliput.train import calibration

QUANTILE_LEVELS = (0.001, *(percent / 100 for percent in range(1, 100)), 0.999)
"""Levels of a row's ``latency_quantiles_ms``: enough to draw its distribution."""

REFERENCES = {"teacher_eager": "speedup_vs_teacher_eager", "teacher_int8": "speedup_vs_teacher_int8"}
"""Roles that the others are timed against, and the field that says how much faster they are."""


def rows(
    result: Result,
    entries: Sequence[Entry],
    golds: Sequence[int],
    label_names: Sequence[str],
    *,
    teacher: str,
    column: tuple[str, Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """One row a model, in the order of the entries, as report.json has it.

    ``retained``, ``agreement`` and McNemar's p compare with the teacher on the same items; a speed-up is the median
    over the rounds of the ratio of p50, with the interval that two order statistics of those ratios give.

    Args:
        golds: label index of every test text, in the order in which ``result`` was measured.
        label_names: the meaning of those indices.
        teacher: name of the entry whose accuracy is what a student can retain: the teacher in fp32.
        column: name and values of a column of the data that accuracy is broken down by, beside length and label.

    Raises:
        ConfigError: ``teacher`` was not measured, or the labels or the number of texts are not the measured ones.
    """
    _check(result, golds, label_names, teacher)
    gold = np.asarray(golds)
    found = [
        {**_row(entry, result, gold, teacher), **_details(entry, result, gold, label_names, column)}
        for entry in entries
    ]
    for role, key in REFERENCES.items():
        _add_speedups(found, result, [entry.name for entry in entries if entry.role == role], key)
    frontier = statistics.pareto([row["score"] for row in found], [row["latency_ms"]["p50"] for row in found])
    for row, on_it in zip(found, frontier, strict=True):
        row["pareto"] = on_it
    return found


def _row(entry: Entry, result: Result, gold: np.ndarray, teacher: str) -> dict[str, Any]:
    seen, reference = result.models[entry.name], result.models[teacher]
    hits, teacher_hits = seen.answers == gold, reference.answers == gold
    score = statistics.accuracy(hits)
    kept = statistics.retained(hits, teacher_hits)
    if kept and entry.name == teacher:
        kept = statistics.Estimate(1.0, 1.0, 1.0)  # of itself, which is no matter of chance
    return {
        "name": entry.name,
        "model": entry.model,
        "role": entry.role,
        "task": entry.task,
        "engine": entry.engine,
        "provider": entry.provider,
        "precision": entry.precision,
        "batch": 1,
        "seeds": list(entry.seeds),
        "parameters": _first(entry.parameters, seen.facts["parameters"]),
        "bytes": _first(entry.bytes, seen.facts["bytes"]),
        "metric": "accuracy",
        "score": score.value,
        "score_ci": [score.low, score.high],
        "retained": kept.value if kept else None,
        "retained_ci": [kept.low, kept.high] if kept else None,
        "agreement": statistics.agreement(seen.answers, reference.answers),
        "mcnemar_p": statistics.mcnemar(hits, teacher_hits),
        "ece": statistics.calibration_error(seen.probabilities, gold),
        **_speed(seen),
    }


def _details(
    entry: Entry,
    result: Result,
    gold: np.ndarray,
    label_names: Sequence[str],
    column: tuple[str, Sequence[str]] | None,
) -> dict[str, Any]:
    """What is behind a row's figures, and where its model comes from."""
    seen = result.models[entry.name]
    hits = seen.answers == gold
    return {
        "hits": evidence.packed(hits),
        "reliability": calibration.reliability(seen.probabilities, gold),
        "slices": evidence.sliced(hits, gold, result.texts, label_names, column) if result.texts else [],
        "structure": structure.of_entry(entry),
        "sensitivity": origin.sensitivity(entry),
        "made": origin.commands(entry),
    }


def _speed(seen: Measured) -> dict[str, Any]:
    elapsed = seen.elapsed_ns.tolist()
    return {
        "latency_ms": asdict(timing.percentiles(elapsed)),
        "latency_quantiles_ms": timing.quantiles(elapsed, QUANTILE_LEVELS),
        "round_p50_ms": list(seen.round_p50_ms),
        "p50_spread": seen.p50_spread,
        "throughput_per_s": seen.throughput_per_s,
        "all_threads": asdict(seen.all_threads) if seen.all_threads else None,
        "peak_rss_mb": None if seen.peak_bytes is None else seen.peak_bytes / 1e6,
    }


def _add_speedups(found: list[dict[str, Any]], result: Result, references: Sequence[str], key: str) -> None:
    for row in found:
        ratios = result.speedups(row["name"], references[0]) if references else None
        middle: Estimate | None = statistics.median_interval(ratios) if ratios else None
        row[key] = middle.value if middle else None
        row[f"{key}_ci"] = [middle.low, middle.high] if middle else None
        row[f"{key}_rounds"] = list(ratios) if ratios else None


def _first(stated: int | None, found: int | None) -> int | None:
    return found if stated is None else stated


def _check(result: Result, golds: Sequence[int], label_names: Sequence[str], teacher: str) -> None:
    if teacher not in result.models:
        raise ConfigError(f"the teacher {teacher!r} is not among the models measured: {', '.join(result.models)}")
    if not same_labels(label_names, result.labels):
        raise ConfigError(f"the data's labels are {tuple(label_names)}, the models answer with {result.labels}")
    if len(golds) != result.n_texts:
        raise ConfigError(f"{len(golds)} gold labels were given for {result.n_texts} texts measured")
