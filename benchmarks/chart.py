"""Colours of pictures, and logarithmic axes in percent of a width.

Colours are of the Okabe-Ito palette, which colour-blind readers can tell apart; the page has brighter ones in the dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INK, MUTED, GRID = "#1f2933", "#5f6b7a", "#e4e8ed"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a94a0"
TONES = {"int8": "blue", "fp32": "orange", "fp16": "green", "bf16": "green", "int8-static": "purple", "int4": "purple"}
"""Names of the page's colours; other precisions are grey."""

FINE = (1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)
"""Digits of a short axis: two of them lie within any factor of 1.7."""

Row = Mapping[str, Any]


def tone_of(row: Row) -> str:
    """A colour's name for each precision; the sanity floor is grey."""
    return "grey" if row["role"] == "floor" else TONES.get(row["precision"], "grey")


@dataclass(frozen=True)
class LogAxis:
    """A logarithmic axis from ``low`` to ``high``; places are percent from its left end."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Where a value lies; what lies outside is at the nearer end."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return 100 * min(1.0, share)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Place and text of 1, 2, 5, 10 ... ; of 1, 10 ... where it spans much, and of 1, 1.2, 1.5, 2 ... where it
        spans so little that there would be less than two."""
        decades = math.log10(self.high / self.low)
        coarse = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)
        for digits in (coarse, FINE):
            values = [digit * 10.0**power for power in range(-6, 10) for digit in digits]
            found = [(self.place(value), f"{value:g}") for value in values if self.low <= value <= self.high]
            if len(found) > 1:
                break
        return found


def axis_of(values: Iterable[float], margin: float = 1.3) -> LogAxis:
    """The axis that holds some values above 0, with room around them: a factor of ``margin`` at both ends."""
    found: Sequence[float] = list(values)
    return LogAxis(min(found) / margin, max(found) * margin)
