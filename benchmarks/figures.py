"""Named figures with their targets: what was promised, what was measured, and whether that is enough.

A figure's status is

- "met": the value reaches the target, and so does all of its 95% interval where it has one;
- "inconclusive": the value reaches the target, but its interval does not exclude a miss;
- "short": the value misses the target, whatever the interval says;
- "not measured": there is no value. A smoke run measures no figure.

A floor for one given test set (the teacher's accuracy, the loss to int8) is a statement about that set: its value
decides, and the interval is only shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """A measured value, its 95% interval, how many items or repetitions it rests on, and the seeds."""

    value: float
    ci: Sequence[float] | None = None
    n: int | None = None
    seeds: Sequence[int] = ()


@dataclass(frozen=True)
class Target:
    """A figure to reach.

    Attributes:
        measure: finds the value in a report; None where the report lacks it.
        at_most: the target is an upper bound.
        by_value: the value alone decides (see the module's text).
        needs_teacher: the figure is short where the teacher is below the report's ``teacher_floor``.
    """

    id: str
    unit: str
    target: float
    measure: Callable[[Report], Seen | None]
    at_most: bool = False
    by_value: bool = False
    needs_teacher: bool = False

    def status(self, seen: Seen | None, teacher_is_good: bool) -> str:
        """Met, inconclusive, short or not measured."""
        if seen is None:
            return "not measured"
        if not self._reached(seen.value) or (self.needs_teacher and not teacher_is_good):
            return "short"
        certain = self.by_value or seen.ci is None or all(self._reached(end) for end in seen.ci)
        return "met" if certain else "inconclusive"

    def _reached(self, value: float) -> bool:
        return value <= self.target if self.at_most else value >= self.target


def figures(report: Report, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """One entry for every target, in their order."""
    return [_figure(report, target) for target in targets]


def _figure(report: Report, target: Target) -> dict[str, Any]:
    seen = None if report["smoke"] else target.measure(report)
    return {
        "id": target.id,
        "value": seen.value if seen else None,
        "unit": target.unit,
        "ci": list(seen.ci) if seen and seen.ci else None,
        "n": seen.n if seen else None,
        "seeds": list(seen.seeds) if seen else [],
        "target": target.target,
        "direction": "at most" if target.at_most else "at least",
        "status": target.status(seen, teacher_is_good(report)),
        "command": report["command"],
        "commit": report["commit"],
    }


def teacher_of(report: Report) -> Mapping[str, Any] | None:
    """The row that students retain a share of: the teacher's fp32 bundle or, where it is no bundle, its torch model."""
    return find(report, role="teacher_fp32") or find(report, role="teacher_eager")


def teacher_is_good(report: Report) -> bool:
    """Whether the teacher reaches its floor; a student can't be said to retain what was never there."""
    floor = report["teacher_floor"]
    teacher = teacher_of(report)
    return floor is None or (teacher is not None and teacher["score"] >= floor)


def find(report: Report, **facts: Any) -> Mapping[str, Any] | None:
    """The first row with these values, such as ``model="student-l2", precision="int8"``."""
    for row in report["models"]:
        if all(row[key] == value for key, value in facts.items()):
            return row
    return None


def demo_targets(teacher: str = "teacher", three: str = "student-l3", two: str = "student-l2") -> list[Target]:
    """The figures of ``lilliput demo``; the arguments are the models' names in the report."""
    three_int8, two_int8 = ({"model": model, "precision": "int8"} for model in (three, two))
    eager = "speedup_vs_teacher_eager"
    int8 = "speedup_vs_teacher_int8"
    return [
        Target("demo.minutes", "minutes", 20, _of_run("minutes"), at_most=True),
        Target("demo.peak_gb", "GB", 4, _of_run("peak_gb"), at_most=True),
        Target("demo.teacher_accuracy", "share", 0.865, _of_row("score", role="teacher_fp32"), by_value=True),
        Target("demo.l3_retained", "share", 0.98, _of_row("retained", **three_int8), needs_teacher=True),
        Target("demo.l3_speedup", "times", 2.2, _of_row(int8, **three_int8)),
        Target("demo.l2_retained", "share", 0.965, _of_row("retained", **two_int8), needs_teacher=True),
        Target("demo.l2_speedup", "times", 3.2, _of_row(int8, **two_int8)),
        Target("demo.l2_speedup_eager", "times", 10, _of_row(eager, **two_int8)),
        Target("demo.int8_drop_max", "points", 0.5, _int8_drop((teacher, three, two)), at_most=True, by_value=True),
        Target("demo.tampers_refused", "of 200", 200, _of_run("tampers_refused")),
    ]


def _of_run(key: str) -> Callable[[Report], Seen | None]:
    """A figure of the whole run, kept at the top of the report."""

    def measure(report: Report) -> Seen | None:
        return None if report.get(key) is None else Seen(report[key], n=1)

    return measure


def _of_row(key: str, **facts: Any) -> Callable[[Report], Seen | None]:
    """A figure of one row. Accuracy rests on the test items, speed on the rounds."""

    def measure(report: Report) -> Seen | None:
        row = find(report, **facts)
        if row is None or row[key] is None:
            return None
        rounds = row.get(f"{key}_rounds")
        return Seen(row[key], row[f"{key}_ci"], len(rounds) if rounds else report["data"]["n_test"], row["seeds"])

    return measure


def _int8_drop(models: Sequence[str]) -> Callable[[Report], Seen | None]:
    """The largest loss of a bundle from fp32 to int8, in points of accuracy; None unless all of them were measured."""

    def measure(report: Report) -> Seen | None:
        drops, seeds = [], set()
        for model in models:
            full, small = (find(report, model=model, engine="onnxruntime", precision=p) for p in ("fp32", "int8"))
            if full is None or small is None:
                return None
            drops.append(100 * (full["score"] - small["score"]))
            seeds.update(small["seeds"])
        return Seen(max(drops), n=report["data"]["n_test"], seeds=sorted(seeds))

    return measure
