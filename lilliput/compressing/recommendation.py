"""Which model of the family answers what was asked for; if none does, the nearest, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lilliput.compressing.frontier import Point

TOLERANCE = 0.05
"""Share by which a latency or a speed may miss what was asked for: two measurements of one model differ by as much."""

GOOD_ENOUGH = 0.97
"""Share of the teacher's score that the fastest model is to keep where nothing was asked for."""

SENSIBLE = 0.8
"""Share of the teacher's score below which a model is not taken for its speed or size alone."""


@dataclass(frozen=True)
class Wanted:
    """What was asked for; None where it was not.

    Attributes:
        speedup: times faster than the teacher.
        latency: milliseconds of a text.
        size: bytes of all files that an app needs.
        max_drop: points that may be lost.
        teacher_ms: what ``latency`` is relative to, once it was measured.
    """

    speedup: float | None = None
    latency: float | None = None
    size: float | None = None
    max_drop: float | None = None
    teacher_ms: float | None = None

    def relative_to(self, teacher_ms: float) -> Wanted:
        """The same wish once the teacher's latency is known."""
        return replace(self, teacher_ms=teacher_ms)

    @property
    def speed(self) -> float | None:
        """The speedup that is asked for, by itself or as a latency."""
        if self.latency is not None and self.teacher_ms is not None:
            return self.teacher_ms / self.latency
        return self.speedup

    @property
    def in_words(self) -> str:
        """What was asked for, as flags."""
        given = [f"--speedup {self.speedup:g}"] if self.speedup is not None else []
        given += [f"--latency {self.latency:g}ms"] if self.latency is not None else []
        given += [f"--size {self.size / 1e6:g}MB"] if self.size is not None else []
        given += [f"--max-drop {self.max_drop:g}"] if self.max_drop is not None else []
        return " ".join(given)


@dataclass(frozen=True)
class Recommendation:
    """The trial that is recommended, whether it meets the wish on validation, and why it is this one."""

    trial: int
    meets: bool
    reason: str


def recommend(points: Sequence[Point], wanted: Wanted, teacher: Point) -> Recommendation:
    """The model to take, judged on validation.

    Of those that meet the wish the most accurate; where only points that may be lost were given, the fastest; where
    nothing was, the fastest that keeps 97% of the teacher's score. If none meets it: the fastest (or smallest) of those
    that lose no more than allowed, else the one that loses least. Of models that are about as fast, or as small, the
    most accurate.

    Args:
        points: at least one.
    """
    small, accurate = _limits(wanted, teacher)
    fitting = [point for point in points if small(point) and accurate(point)]
    has_goal = wanted.speed is not None or wanted.size is not None
    if fitting:
        best = max(fitting, key=_most_accurate if has_goal else _fastest)
        why = "the most accurate" if has_goal else "the fastest"
        asked = wanted.in_words or "keeping 97% of the teacher's score"
        return Recommendation(best.trial, True, f"{why} of {_models(len(fitting))} that meet {asked} on validation")
    return _nearest(points, wanted, teacher, accurate, small)


def _nearest(
    points: Sequence[Point],
    wanted: Wanted,
    teacher: Point,
    accurate: Callable[[Point], bool],
    small: Callable[[Point], bool],
) -> Recommendation:
    within = [point for point in points if accurate(point)]
    if wanted.max_drop is None:
        within = [point for point in within if point.score >= SENSIBLE * teacher.score] or within
    reached = [point for point in points if small(point)]
    asked = wanted.in_words or "keeping 97% of the teacher's score"
    if not within:
        best = max(points, key=_most_accurate)
        reason = f"no model meets {asked}: the one that loses least loses {_lost(best, teacher)} points on validation"
        return Recommendation(best.trial, False, reason)
    fastest = max(point.speedup for point in within) * (1 - TOLERANCE)
    smallest = min(point.bytes for point in within) * (1 + TOLERANCE)
    alike = [point for point in within if (point.bytes <= smallest if wanted.size else point.speedup >= fastest)]
    best = max(alike, key=_most_accurate)
    means = f"is {best.bytes / 1e6:.3g} MB large" if wanted.size is not None else f"is {best.speedup:.3g} times faster"
    limit = "" if wanted.max_drop is None else f" of those that lose at most {wanted.max_drop:g} points"
    kind = "smallest" if wanted.size is not None else "fastest"
    reason = f"no model meets {asked}: the {kind}{limit} {means}"
    if reached:
        other = max(reached, key=_most_accurate)
        reason += f"; of those that are as small as asked for the best loses {_lost(other, teacher)} points"
    return Recommendation(best.trial, False, reason + " (on validation)")


def _limits(wanted: Wanted, teacher: Point) -> tuple[Callable[[Point], bool], Callable[[Point], bool]]:
    """Whether a model is fast or small enough, and whether it is accurate enough."""
    speed, size = wanted.speed, wanted.size
    has_goal = speed is not None or size is not None

    def small(point: Point) -> bool:
        fast = speed is None or point.speedup >= speed * (1 - TOLERANCE)
        return fast and (size is None or point.bytes <= size)

    def accurate(point: Point) -> bool:
        if wanted.max_drop is not None:
            return 100 * (teacher.score - point.score) <= wanted.max_drop + 1e-9
        return has_goal or point.score >= GOOD_ENOUGH * teacher.score

    return small, accurate


def _most_accurate(point: Point) -> tuple[float, float, int]:
    return point.score, point.speedup, -point.trial


def _fastest(point: Point) -> tuple[float, float, int]:
    return point.speedup, point.score, -point.trial


def _lost(point: Point, teacher: Point) -> str:
    lost = 100 * (teacher.score - point.score)
    return f"{lost:.1f}" if math.isfinite(lost) else "?"


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"
