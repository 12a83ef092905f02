"""A report in words: one claim with its evidence, and what was not measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lilliput.benchmarks.figures import Report, find, teacher_is_good, teacher_of
from lilliput.benchmarks.table import megabytes, milliseconds, percent, times

GOOD_ENOUGH = 0.97
"""The claim is about the model that a search recommends, which it chose on other texts. Without a search it is about
the fastest student that retains at least this share, or else about the most accurate one of those that are faster than
the teacher."""

Row = Mapping[str, Any]


def best_student(report: Report) -> Row | None:
    """The row that the claim is about; None where no student was measured."""
    if recommended := report.get("recommended"):
        return find(report, name=recommended)
    teacher = teacher_of(report)
    rows = [row for row in report["models"] if teacher is None or row["model"] != teacher["model"]]
    students = [row for row in rows if row["role"] == "student" and row["retained"] is not None]
    good = [row for row in students if row["retained"] >= GOOD_ENOUGH]
    if good and _gain(min(good, key=_latency)) > 1:
        return min(good, key=_latency)
    faster = [row for row in students if _gain(row) > 1] or students
    return max(faster, key=lambda row: row["retained"], default=None)


def _gain(row: Row) -> float:
    """Speed-up over the hardest reference that was measured."""
    return row["speedup_vs_teacher_int8"] or row["speedup_vs_teacher_eager"] or math.inf


def _latency(row: Row) -> float:
    p50: float = row["latency_ms"]["p50"]
    return p50


def claim(report: Report) -> str:
    """What the best student gains and loses, with intervals."""
    best, teacher = best_student(report), teacher_of(report)
    if best is None or teacher is None:
        fastest = min(report["models"], key=_latency)
        return (
            f"{fastest['name']} is the fastest model measured: {_p50(fastest)} ms for one text, "
            f"{percent(fastest['score'], fastest['score_ci'])} accuracy."
        )
    return " ".join(filter(None, (_speed(best), _accuracy(best, teacher), _size(best, teacher), _floor(report))))


def _speed(best: Row) -> str:
    gains = []
    for key, reference in REFERENCES.items():
        if best[key]:
            low, high = best[f"{key}_ci"]
            gains.append(f"{times(best[key])} the speed of {reference} ({low:.1f} to {high:.1f})")
    return f"{best['name']} answers a text in {_p50(best)} ms" + (f": {' and '.join(gains)}." if gains else ".")


REFERENCES = {
    "speedup_vs_teacher_int8": "its teacher on plain ONNX Runtime int8",
    "speedup_vs_teacher_eager": "the teacher in PyTorch",
}
"""What a speed-up is over, in words."""


def _accuracy(best: Row, teacher: Row) -> str:
    p = best["mcnemar_p"]
    chance = "p\u00a0<\u00a00.001" if p < 0.001 else f"p\u00a0=\u00a0{p:.3f}"
    return (
        f"It keeps {percent(best['retained'])} of the teacher's accuracy (95% interval "
        f"{100 * best['retained_ci'][0]:.1f} to {100 * best['retained_ci'][1]:.1f}): {percent(best['score'])} against "
        f"{percent(teacher['score'])}, McNemar {chance}."
    )


def _size(best: Row, teacher: Row) -> str:
    if not best["bytes"] or not teacher["bytes"]:
        return ""
    return (
        f"It is {times(teacher['bytes'] / best['bytes'])} smaller than the fp32 teacher: {megabytes(best['bytes'])} MB "
        f"instead of {megabytes(teacher['bytes'])} MB."
    )


def _floor(report: Report) -> str:
    if teacher_is_good(report):
        return ""
    return (
        f"The teacher itself is below its floor of {percent(report['teacher_floor'])}, so what a student retains of it "
        "counts as short."
    )


def _p50(row: Row) -> str:
    return milliseconds(row["latency_ms"]["p50"])


def not_measured(report: Report) -> list[str]:
    """What a reader might look for and won't find, as sentences."""
    gaps: list[str] = list(report["not_measured"])
    for row in report["models"]:
        absent = [words for key, words in WORDS.items() if row[key] is None]
        if absent:
            gaps.append(f"{row['name']}: {', '.join(absent)}.")
    if report["smoke"]:
        gaps.append("The targets: a smoke run measures none of them.")
    else:
        gaps += [f"{figure['id']}." for figure in report["figures"] if figure["status"] == "not measured"]
    for name, measured in (report.get("scenarios") or {}).items():
        why = {model: one["not_measured"] for model, one in measured["models"].items() if "not_measured" in one}
        if why and len(why) == len(measured["models"]) and len(set(why.values())) == 1:
            gaps.append(f"Scenario {name}: {next(iter(why.values()))}.")
        else:
            gaps += [f"Scenario {name}, {model}: {reason}." for model, reason in why.items()]
    return gaps


WORDS = {
    "score": "accuracy",
    "retained": "retained accuracy",
    "bytes": "size (it has no files)",
    "parameters": "number of parameters",
    "throughput_per_s": "throughput",
    "all_threads": "speed on all cores",
    "peak_rss_mb": "memory",
    "speedup_vs_teacher_eager": "speed-up over PyTorch",
    "speedup_vs_teacher_int8": "speed-up over plain int8",
}
"""Fields of a row whose absence is worth saying."""
