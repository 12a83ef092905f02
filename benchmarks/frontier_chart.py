"""The chart of accuracy against latency."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lilliput.benchmarks import labels
from lilliput.benchmarks.chart import GREY, INK, MUTED, Chart, Row, axis, colour_of, escaped, log_axis, said
from lilliput.benchmarks.figures import Report, find
from lilliput.benchmarks.labels import Box
from lilliput.benchmarks.table import percent

SHAPES = {"onnxruntime": "circle", "torch": "diamond"}
LONGEST = 32
FAR_BELOW = 0.04
"""A sanity floor this far below all others is named at the bottom edge: in the picture it would flatten the rest."""


@dataclass(frozen=True)
class View:
    """What is seen: logarithms of milliseconds and accuracies, from and to."""

    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Canvas:
    """The pixels that labels are placed for."""

    width: float
    height: float
    font: int

    def point(self, latency_ms: float, score: float, view: View) -> tuple[float, float]:
        """Pixels from the left and from the top."""
        return (
            self.width * (math.log10(latency_ms) - view.x[0]) / (view.x[1] - view.x[0]),
            self.height * (view.y[1] - score) / (view.y[1] - view.y[0]),
        )


DESKTOP, PHONE = Canvas(930, 395, 12), Canvas(290, 370, 10)


def frontier(report: Report) -> Chart:
    """Accuracy over latency, with the frontier, intervals, and lines at the teacher's accuracy and shares of it."""
    teacher = find(report, role="teacher_fp32")
    rows, below = _in_view(report["models"])
    data = [_steps(_frontier(rows))] + [_points(group, f"{e}, {p}") for (e, p), group in _groups(rows).items()]
    view = View(_x_range(report["models"]), _y_range(rows))
    lines = _teacher_lines(teacher, view)
    notes = [note for _, note in lines] + [_below(row, view) for row in below]
    return Chart(
        id="frontier",
        title="Accuracy against latency",
        note="Up and to the left is better. Filled points lie on the frontier: no other model is both more accurate "
        "and faster. Bars are 95% intervals.",
        description="Scatter plot of accuracy over median latency. " + "; ".join(map(said, report["models"])) + ".",
        data=data,
        layout={
            "xaxis": log_axis("median latency of one text, ms", view.x),
            "yaxis": {**axis("accuracy"), "range": view.y, "tickformat": ".0%"},
            "shapes": [shape for shape, _ in lines],
            "annotations": notes + _names(rows, below, teacher, view, DESKTOP),
            "legend": {"orientation": "h", "y": -0.16, "font": {"size": 12}},
        },
        narrow={
            "annotations": notes + _names(rows, below, teacher, view, PHONE),
            "legend": {"orientation": "h", "y": -0.2, "font": {"size": 10}},
        },
        height=520,
    )


def _in_view(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The models to draw, and the sanity floors that lie far below them."""
    others = [row["score"] for row in rows if row["role"] != "floor"]
    below = [row for row in rows if row["role"] == "floor" and others and row["score"] < min(others) - FAR_BELOW]
    return [row for row in rows if row not in below], below


def _groups(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["engine"], row["precision"]), []).append(row)
    return groups


def _points(rows: Sequence[Row], title: str) -> dict[str, Any]:
    colour, shape = colour_of(rows[0]), SHAPES.get(rows[0]["engine"], "square")
    scores = [row["score"] for row in rows]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escaped(title),
        "x": [row["latency_ms"]["p50"] for row in rows],
        "y": scores,
        "error_y": {
            "type": "data",
            "array": [row["score_ci"][1] - row["score"] for row in rows],
            "arrayminus": [row["score"] - row["score_ci"][0] for row in rows],
            "color": colour,
            "thickness": 1,
            "width": 3,
        },
        "marker": {
            "symbol": [shape if row["pareto"] else f"{shape}-open" for row in rows],
            "size": 11,
            "color": colour,
            "line": {"width": 2, "color": colour},
        },
        "text": [escaped(row["name"]) for row in rows],
        "customdata": [escaped(said(row)) for row in rows],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _steps(best: Sequence[Row]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "frontier",
        "x": [row["latency_ms"]["p50"] for row in best],
        "y": [row["score"] for row in best],
        "line": {"shape": "hv", "color": GREY, "width": 1.5},
        "hoverinfo": "skip",
    }


def _teacher_lines(teacher: Row | None, view: View) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Dotted lines at the teacher's accuracy and at whole shares of it, with their names."""
    lines = []
    for share, y in _shares(teacher, view):
        shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "layer": "below"}
        words = "teacher" if share == 1 else f"{share:.0%} retained"
        note = {"xref": "paper", "x": 1, "y": y, "text": words, "showarrow": False, "xanchor": "right"}
        lines.append(
            (
                {**shape, "line": {"color": MUTED if share == 1 else GREY, "width": 1, "dash": "dot"}},
                {**note, "yanchor": "bottom", "font": {"size": 10, "color": MUTED}},
            )
        )
    return lines


def _shares(teacher: Row | None, view: View) -> list[tuple[float, float]]:
    """Shares of the teacher's accuracy that fall into the picture, with their height."""
    if teacher is None:
        return []
    if 0.01 * teacher["score"] < 0.05 * (view.y[1] - view.y[0]):
        return [(1.0, teacher["score"])]  # the picture spans so much that their names would lie on each other
    shares = [(share, share * teacher["score"]) for share in (1.0, 0.99, 0.97, 0.95)]
    return [(share, y) for share, y in shares if view.y[0] < y < view.y[1]]


def _below(row: Row, view: View) -> dict[str, Any]:
    """An arrow to what lies below the picture."""
    return {
        "x": math.log10(row["latency_ms"]["p50"]),
        "y": view.y[0],
        "text": escaped(_below_text(row)),
        "ax": 0,
        "ay": -26,
        "xanchor": "left",
        "showarrow": True,
        "arrowhead": 2,
        "arrowwidth": 1,
        "arrowcolor": GREY,
        "font": {"size": 11, "color": MUTED},
    }


def _below_text(row: Row) -> str:
    return f"{_short(row['name'])}: {percent(row['score'])}"


def _names(
    rows: Sequence[Row], below: Sequence[Row], teacher: Row | None, view: View, canvas: Canvas
) -> list[dict[str, Any]]:
    """Annotations with the names of the points; those on the frontier choose their place first."""
    ordered = sorted(rows, key=lambda row: (not row["pareto"], row["latency_ms"]["p50"]))
    points = [canvas.point(row["latency_ms"]["p50"], row["score"], view) for row in ordered]
    sizes = [(0.58 * canvas.font * len(_short(row["name"])), 1.3 * canvas.font) for row in ordered]
    places = labels.place(points, sizes, canvas.width, canvas.height, _obstacles(rows, below, teacher, view, canvas))
    return [_name(row, at, canvas.font) for row, at in zip(ordered, places, strict=True) if at is not None]


def _obstacles(rows: Sequence[Row], below: Sequence[Row], teacher: Row | None, view: View, canvas: Canvas) -> list[Box]:
    """What names should not cover: the frontier, error bars, the words on the teacher's lines and at the bottom."""
    boxes: list[Box] = []
    for row in rows:
        x, top = canvas.point(row["latency_ms"]["p50"], row["score_ci"][1], view)
        _, bottom = canvas.point(row["latency_ms"]["p50"], row["score_ci"][0], view)
        boxes.append((x - 3, top, x + 3, bottom))
    corners = [canvas.point(row["latency_ms"]["p50"], row["score"], view) for row in _frontier(rows)]
    for (x, y), (next_x, next_y) in itertools.pairwise(corners):
        boxes += [(x, y - 2, next_x, y + 2), (next_x - 2, next_y, next_x + 2, y)]
    for _, height in _shares(teacher, view):
        _, y = canvas.point(1.0, height, view)
        boxes.append((canvas.width - 75, y - 14, canvas.width, y))
    for row in below:
        x, _ = canvas.point(row["latency_ms"]["p50"], row["score"], view)
        boxes.append((x - 8, canvas.height - 38, x + 7 * len(_below_text(row)), canvas.height))
    return boxes


def _frontier(rows: Sequence[Row]) -> list[Row]:
    return sorted((row for row in rows if row["pareto"]), key=lambda row: row["latency_ms"]["p50"])


def _name(row: Row, at: labels.Place, font: int) -> dict[str, Any]:
    far = abs(at.dy) > 2 * labels.POINT
    return {
        "x": math.log10(row["latency_ms"]["p50"]),
        "y": row["score"],
        "text": escaped(_short(row["name"])),
        "showarrow": far,  # a thin line where the name is not next to its point
        "arrowhead": 0,
        "arrowwidth": 0.8,
        "arrowcolor": GREY,
        "ax": at.dx,
        "ay": at.dy,
        "xshift": 0 if far else at.dx,
        "yshift": 0 if far else -at.dy,
        "xanchor": at.anchor,
        "yanchor": "middle",
        "font": {"size": font, "color": INK},
    }


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _x_range(rows: Sequence[Row]) -> list[float]:
    logs = [math.log10(row["latency_ms"]["p50"]) for row in rows]
    margin = max(0.15, 0.12 * (max(logs) - min(logs)))
    return [min(logs) - margin, max(logs) + margin]


def _y_range(rows: Sequence[Row]) -> list[float]:
    ends = [end for row in rows for end in row["score_ci"]]
    margin = 0.1 * (max(ends) - min(ends)) + 0.002
    return [max(0.0, min(ends) - margin), min(1.02, max(ends) + margin)]
