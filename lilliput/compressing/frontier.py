"""The models that no other model beats in accuracy, latency and size, and the few of them that are shipped."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

SAME = 0.02
"""Relative difference of latency or size below which two models count as equally fast or large."""


@dataclass(frozen=True)
class Point:
    """A model: its score, larger being better, its speed against the teacher, and its size in bytes."""

    trial: int
    score: float
    speedup: float
    bytes: float


def beats(one: Point, other: Point) -> bool:
    """Whether one model is at least as good as another in everything, latency and size within 2%, and really better
    in one thing."""
    scale = 1 + SAME
    if one.score < other.score or one.speedup * scale < other.speedup or one.bytes > other.bytes * scale:
        return False
    return one.score > other.score or one.speedup > other.speedup * scale or one.bytes * scale < other.bytes


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that none of them beats, slowest first. Of equals the first stays.

    A point that is not among them is beaten by one that is: within 2%, a chain of small steps leads far.
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda one: (-one.score, -one.speedup, one.bytes, one.trial)):
        same = any((one.score, one.speedup, one.bytes) == (point.score, point.speedup, point.bytes) for one in kept)
        if not same and not any(beats(one, point) for one in kept):
            kept = [one for one in kept if not beats(point, one)] + [point]  # of equal scores, the smaller one
    return sorted(kept, key=lambda point: (point.speedup, -point.score, point.trial))


def thin(points: Sequence[Point], most: int, always: Collection[int] = ()) -> list[Point]:
    """At most ``most`` points that still show the whole frontier: those go first whose neighbours are nearest.

    A point's distance to its neighbours is measured along the frontier, in shares of its whole extent in the logarithm
    of speed and in score, as the crowding distance of NSGA-II (Deb et al. 2002) is; the ends stay, and ``always``.
    """
    kept = sorted(points, key=lambda point: (point.speedup, -point.score, point.trial))
    while len(kept) > most:
        movable = [i for i in range(len(kept)) if kept[i].trial not in always and 0 < i < len(kept) - 1]
        movable = movable or [i for i in range(len(kept)) if kept[i].trial not in always]
        if not movable:
            break
        kept.pop(min(movable, key=lambda i: (_room(kept, i), -i)))
    return kept


def _room(points: Sequence[Point], i: int) -> float:
    before, after = points[max(0, i - 1)], points[min(len(points) - 1, i + 1)]
    speeds = [math.log(point.speedup) for point in points]
    scores = [point.score for point in points]
    wide, high = max(speeds) - min(speeds) or 1.0, max(scores) - min(scores) or 1.0
    return abs(math.log(after.speedup / before.speedup)) / wide + abs(after.score - before.score) / high
