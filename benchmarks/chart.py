"""How the charts of the report page look, and what they are made of.

Colours are of the Okabe-Ito palette, which colour-blind readers can tell apart; shape and fill say the same again.
Names are untrusted: plotly reads a little HTML in its texts, so they are escaped.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilliput.benchmarks.table import milliseconds, percent

Row = Mapping[str, Any]

INK, MUTED, GRID = "#1f2933", "#5f6b7a", "#e4e8ed"
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#8a94a0"
COLOURS = {"int8": BLUE, "fp32": ORANGE, "fp16": GREEN, "bf16": GREEN}


@dataclass(frozen=True)
class Chart:
    """A figure for ``Plotly.newPlot``; ``narrow`` replaces parts of its layout on a phone."""

    id: str
    title: str
    note: str
    description: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    narrow: dict[str, Any]
    height: int


def log_axis(title: str, logs: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with ticks at 1, 2, 5, 10 ... written out; only 1, 10 ... where it spans much."""
    digits = (1, 2, 5) if logs[1] - logs[0] < 3 else (1,)
    ticks = [digit * 10.0**power for power in range(-6, 10) for digit in digits]
    ticks = [tick for tick in ticks if logs[0] <= math.log10(tick) <= logs[1]]
    shown = {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    return {**axis(title), "type": "log", "range": list(logs), **shown}


def axis(title: str) -> dict[str, Any]:
    """A linear axis."""
    return {
        "title": {"text": title, "font": {"size": 12, "color": MUTED}},
        "gridcolor": GRID,
        "linecolor": GREY,
        "zeroline": False,
        "tickfont": {"size": 11},
        "automargin": True,
    }


def name_axis() -> dict[str, Any]:
    """The models from top to bottom."""
    return {
        "autorange": "reversed",
        "automargin": True,
        "tickfont": {"size": 11},
        "gridcolor": GRID,
        "type": "category",
    }


def colour_of(row: Row) -> str:
    """A colour for each precision; the sanity floor is grey."""
    return GREY if row["role"] == "floor" else COLOURS.get(row["precision"], GREY)


def escaped(words: str) -> str:
    """Untrusted text for plotly."""
    return html.escape(words, quote=False)


def said(row: Row) -> str:
    """A model's place in the frontier, in words."""
    return f"{row['name']}: {percent(row['score'], row['score_ci'])} at {milliseconds(row['latency_ms']['p50'])} ms"
