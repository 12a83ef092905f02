"""Where to write the names of points so that they don't cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels, y downwards


@dataclass(frozen=True)
class Place:
    """Offset of a label's anchor from its point in pixels (y downwards), and which side of the text is the anchor."""

    dx: float
    dy: float
    anchor: str


POINT = 9.0
STEPS = range(7)


def place(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    width: float,
    height: float,
    obstacles: Sequence[Box] = (),
) -> list[Place | None]:
    """Find a free place for each label, the first ones choosing first.

    Args:
        points: pixels inside a plot of ``width`` x ``height``, y downwards.
        sizes: width and height of each text in pixels.
        obstacles: what should not be covered either, where there is a choice.

    Returns:
        One place for each point; None where nothing is free.
    """
    taken: list[Box] = [(x - POINT, y - POINT, x + POINT, y + POINT) for x, y in points]
    found: list[Place | None] = []
    for (x, y), (text_width, text_height) in zip(points, sizes, strict=True):
        boxes = [(at, _box(x, y, text_width, text_height, at)) for at in _candidates(text_height)]
        inside = [(at, b) for at, b in boxes if b[0] >= 0 and b[1] >= 0 and b[2] <= width and b[3] <= height]
        free = [(at, box) for at, box in inside if not any(_overlap(box, other) for other in taken)]
        clear = [(at, box) for at, box in free if not any(_overlap(box, other) for other in obstacles)]
        # Across a line is better than not at all.
        chosen = next(iter(clear or free), None)
        found.append(chosen[0] if chosen else None)
        if chosen:
            taken.append(chosen[1])
    return found


def _candidates(text_height: float) -> list[Place]:
    """Right, left, above, below; then the same further away, above before below."""
    places = []
    for step in STEPS:
        near, far = POINT + 4, step * (text_height + 2)
        for dx, dy, anchor in (
            (near, -far, "left"),
            (-near, -far, "right"),
            (near, far, "left"),
            (-near, far, "right"),
        ):
            places.append(Place(dx, dy, anchor))
        for dy in (-near - far, near + far):
            places.append(Place(0, dy, "center"))
    return places


def _box(x: float, y: float, text_width: float, text_height: float, at: Place) -> Box:
    left = {"left": 0.0, "center": text_width / 2, "right": text_width}[at.anchor]
    return (
        x + at.dx - left,
        y + at.dy - text_height / 2,
        x + at.dx - left + text_width,
        y + at.dy + text_height / 2,
    )


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
