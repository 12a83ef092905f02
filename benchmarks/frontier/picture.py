"""The frontier as an SVG image: how many times faster on a logarithmic axis, and how much of the teacher is kept."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from lilliput.benchmarks.chart import BLUE, GREY, GRID, INK, MUTED
from lilliput.benchmarks.frontier.speed import CUT

if TYPE_CHECKING:
    from lilliput.benchmarks.frontier.targets import Point

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 40, 52
"""Pixels: the image, and the room around the plot."""

PLACES = ((9, -7, "start"), (9, 15, "start"), (-9, -7, "end"), (-9, 15, "end"), (9, 28, "start"), (-9, 28, "end"))
"""Where a name may stand beside its point, the best first: pixels to the right and down, and which end is there."""

LETTER = 7
"""Pixels, about, that a letter of a name is wide."""

TICKS = (1, 2, 3, 5, 10, 20, 30, 50, 100)


def draw(points: Sequence[Point], stars: Collection[str]) -> str:
    """The image; points without a speed are left out.

    Args:
        stars: names of the points that no other one beats: they are filled, and joined.
    """
    timed = sorted((one for one in points if one.speedup), key=lambda one: one.speedup.value if one.speedup else 0)
    plot = _Plot(timed)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(described(timed))}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 22, "accuracy kept, against the fp32 teacher", MUTED),
        _text(WIDTH - RIGHT, HEIGHT - 12, "times faster than the int8 teacher, end to end, 1 thread", MUTED, "end"),
        *plot.axes(),
    ]
    joined = " ".join(f"{plot.x(one):.1f},{plot.y(one.retained.value):.1f}" for one in timed if one.name in stars)
    parts.append(f'<polyline points="{joined}" fill="none" stroke="{BLUE}" stroke-width="1.5" stroke-dasharray="4 3"/>')
    for one in timed:
        parts += plot.mark(one, one.name in stars)
    parts += plot.names(timed)
    return "\n".join([*parts, "</svg>", ""])


def described(points: Sequence[Point]) -> str:
    """The image in words."""
    said = "; ".join(
        f"{one.name}: {one.retained.value:.1%} kept at {one.speedup.value:.1f} times"
        for one in points
        if one.speedup is not None
    )
    return f"Models by speed and accuracy. {said or 'None was timed'}."


class _Plot:
    """Where things are."""

    def __init__(self, points: Sequence[Point]) -> None:
        speeds = [1.0, 10.0, *(one.speedup.value for one in points if one.speedup)]
        shares = [1.0, *(end for one in points for end in (one.retained.low, one.retained.high))]
        self.fastest = 1.15 * max(speeds)
        self.lowest, self.highest = math.floor(50 * min(shares)) / 50, max(1.005, max(shares))

    def x(self, one: Point) -> float:
        assert one.speedup is not None
        return self._across(one.speedup.value)

    def _across(self, speed: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(speed) / math.log(self.fastest)

    def y(self, share: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.highest - share) / (self.highest - self.lowest)

    def axes(self) -> list[str]:
        bottom = HEIGHT - BOTTOM
        parts = []
        for tick in (tick for tick in TICKS if tick <= self.fastest):
            across = self._across(tick)
            parts.append(_line(across, TOP, across, bottom, GRID))
            parts.append(_text(across, bottom + 18, f"{tick}×", MUTED, "middle"))
        for percent in range(math.ceil(100 * self.lowest), 101):
            if percent % 2 == 0:
                parts.append(_line(LEFT, self.y(percent / 100), WIDTH - RIGHT, self.y(percent / 100), GRID))
                parts.append(_text(LEFT - 8, self.y(percent / 100) + 4, f"{percent}%", MUTED, "end"))
        return parts

    def mark(self, one: Point, starred: bool) -> list[str]:
        """A point with the interval of what it keeps."""
        across, up = self.x(one), self.y(one.retained.value)
        colour = BLUE if starred else GREY
        shape = f'stroke="{colour}" stroke-width="2" fill="{colour if starred else "#ffffff"}"'
        dot = (
            f'<circle cx="{across:.1f}" cy="{up:.1f}" r="5" {shape}/>'
            if one.name in CUT
            else f'<rect x="{across - 5:.1f}" y="{up - 5:.1f}" width="10" height="10" {shape}/>'
        )
        return [_line(across, self.y(one.retained.high), across, self.y(one.retained.low), colour), dot]

    def names(self, points: Sequence[Point]) -> list[str]:
        """The points' names, each where it covers as little as possible of other names and points."""
        taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in ((self.x(one), self.y(one.retained.value)) for one in points)]
        parts = []
        for one in points:
            across, up, width = self.x(one), self.y(one.retained.value), LETTER * len(one.name)
            boxes = {}
            for right, down, end in PLACES:
                left = across + right - (width if end == "end" else 0)
                boxes[right, down, end] = (left, up + down - 11, left + width, up + down + 2)
            place = min(boxes, key=lambda where: _covered(boxes[where], taken))
            taken.append(boxes[place])
            parts.append(_text(across + place[0], up + place[1], one.name, INK, place[2]))
        return parts


Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def _covered(box: Box, others: Sequence[Box]) -> float:
    """How many square pixels of others a box covers, and of what is outside the image."""
    left, top, right, bottom = box
    common = (max(0.0, min(right, r) - max(left, x)) * max(0.0, min(bottom, b) - max(top, y)) for x, y, r, b in others)
    return sum(common) + (bottom - top) * (max(0.0, right - WIDTH) + max(0.0, LEFT - left))


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, words: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'
