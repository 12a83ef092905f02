"""The charts of the report page, as plain plotly.js figures, each with a description for who can't see it.

Colours are of the Okabe-Ito palette, which colour-blind readers can tell apart; shape and fill say the same again.
Names are untrusted: plotly reads a little HTML in its texts, so they are escaped.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilliput.benchmarks import labels
from lilliput.benchmarks.figures import Report, find
from lilliput.benchmarks.table import megabytes, milliseconds, percent, times

Row = Mapping[str, Any]

INK, MUTED, GRID = "#1f2933", "#5f6b7a", "#e4e8ed"
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#8a94a0"
COLOURS = {"int8": BLUE, "fp32": ORANGE, "fp16": GREEN, "bf16": GREEN}
SHAPES = {"onnxruntime": "circle", "torch": "diamond"}
WIDE, NARROW = (820.0, 400.0, 12), (262.0, 330.0, 10)
"""Plot width, height and font size in pixels that the labels of the frontier are placed for: desktop and phone."""


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


def charts(report: Report) -> list[Chart]:
    """All charts that the report has data for, in the order of the page."""
    drawn = [frontier(report), sizes(report), latencies(report), speedups(report)]
    return [chart for chart in drawn if chart is not None]


def frontier(report: Report) -> Chart:
    """Accuracy over latency, with the frontier, intervals, and lines at the teacher's accuracy and shares of it."""
    rows = report["models"]
    teacher = find(report, role="teacher_fp32")
    best = sorted((row for row in rows if row["pareto"]), key=lambda row: row["latency_ms"]["p50"])
    data = [_steps(best)] + [_points(group, f"{e}, {p}") for (e, p), group in _groups(rows).items()]
    x_range, y_range = _x_range(rows), _y_range(rows, teacher)
    lines = _teacher_lines(teacher, y_range)
    return Chart(
        id="frontier",
        title="Accuracy against latency",
        note="Up and to the left is better. Filled points lie on the frontier: no other model is both more accurate "
        "and faster. Bars are 95% intervals.",
        description="Scatter plot of accuracy over median latency. " + "; ".join(_said(row) for row in rows) + ".",
        data=data,
        layout={
            "xaxis": _log_axis("median latency of one text, ms", x_range),
            "yaxis": {**_axis("accuracy"), "range": y_range, "tickformat": ".0%"},
            "shapes": [shape for shape, _ in lines],
            "annotations": [note for _, note in lines] + _names(rows, x_range, y_range, WIDE),
            "legend": {"orientation": "h", "y": -0.2, "font": {"size": 12}},
        },
        narrow={"annotations": [note for _, note in lines] + _names(rows, x_range, y_range, NARROW)},
        height=520,
    )


def sizes(report: Report) -> Chart | None:
    """What an app has to ship: bytes that loading opens."""
    rows = [row for row in report["models"] if row["bytes"]]
    if not rows:
        return None
    values = [row["bytes"] / 1e6 for row in rows]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": values,
        "y": [_text(row["name"]) for row in rows],
        "text": [f"{megabytes(row['bytes'])} MB" for row in rows],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": [_colour(row) for row in rows]},
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    low, high = min(values), max(values)
    return Chart(
        id="sizes",
        title="Size",
        note="Files that loading opens, 10⁶ bytes, on a logarithmic scale.",
        description="Bar chart of sizes. " + "; ".join(f"{r['name']}: {megabytes(r['bytes'])} MB" for r in rows) + ".",
        data=[bars],
        layout={"xaxis": _log_axis("MB", [math.log10(low / 3), math.log10(high * 3)]), "yaxis": _name_axis()},
        narrow={},
        height=_bar_height(rows),
    )


def latencies(report: Report) -> Chart:
    """How the latencies of all test texts are distributed."""
    rows = report["models"]
    place = {level: index for index, level in enumerate(report["quantile_levels"])}
    names = [_text(row["name"]) for row in rows]

    def at(level: float) -> list[float]:
        return [row["latency_quantiles_ms"][place[level]] for row in rows]

    boxes = {
        "type": "box",
        "orientation": "h",
        "y": names,
        "q1": at(0.25),
        "median": at(0.5),
        "q3": at(0.75),
        "lowerfence": at(0.05),
        "upperfence": at(0.95),
        "line": {"color": INK, "width": 1.2},
        "fillcolor": "#cfe3f1",
        "hoverinfo": "x+y",
        "showlegend": False,
    }
    slowest = {
        "type": "scatter",
        "mode": "markers",
        "x": at(0.99),
        "y": names,
        "marker": {"symbol": "line-ns-open", "size": 12, "color": ORANGE, "line": {"width": 2}},
        "hovertemplate": "%{y}: p99 %{x:.3g} ms<extra></extra>",
        "showlegend": False,
    }
    return Chart(
        id="latencies",
        title="Latency distribution",
        note="Every test text, one at a time, tokenizer included. Box: middle half, with the median. Whiskers: 5% and "
        "95%. Orange mark: 99%.",
        description="Box plot of latencies. " + "; ".join(_percentiles(row) for row in rows) + ".",
        data=[boxes, slowest],
        layout={
            "xaxis": _log_axis("ms", [math.log10(min(at(0.05)) / 1.3), math.log10(max(at(0.99)) * 1.3)]),
            "yaxis": _name_axis(),
        },
        narrow={},
        height=_bar_height(rows),
    )


def speedups(report: Report) -> Chart | None:
    """The ratio of medians in every round: how sure the speed-ups are."""
    rows = [row for row in report["models"] if row["role"] != "floor" and row["role"] not in REFERENCES]
    data = []
    for key, title, colour, symbol in SPEEDUPS:
        seen = [row for row in rows if row[f"{key}_rounds"]]
        if seen:
            data.append(_ratios(seen, f"{key}_rounds", title, colour, symbol))
    if not data:
        return None
    every = [x for trace in data for x in trace["x"]]
    return Chart(
        id="speedups",
        title="Speed-up, round by round",
        note="Each mark is one round: the reference's median latency over the model's on the same texts.",
        description="Dot plot of speed-ups in each round. " + "; ".join(_speedup_said(row) for row in rows) + ".",
        data=data,
        layout={
            "xaxis": _log_axis("times faster", [math.log10(min(every) / 1.2), math.log10(max(every) * 1.2)]),
            "yaxis": _name_axis(),
            "legend": {"orientation": "h", "y": -0.25, "font": {"size": 12}},
        },
        narrow={},
        height=_bar_height(rows) + 40,
    )


REFERENCES = ("teacher_eager", "teacher_int8")
SPEEDUPS = (
    ("speedup_vs_teacher_int8", "than the teacher on plain ONNX Runtime int8", BLUE, "circle-open"),
    ("speedup_vs_teacher_eager", "than the teacher in eager PyTorch", ORANGE, "diamond-open"),
)


def _ratios(rows: Sequence[Row], key: str, title: str, colour: str, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": title,
        "x": [ratio for row in rows for ratio in row[key]],
        "y": [_text(row["name"]) for row in rows for _ in row[key]],
        "marker": {"symbol": symbol, "size": 8, "color": colour, "opacity": 0.8},
        "hovertemplate": "%{y}: %{x:.3g} times<extra></extra>",
    }


def _groups(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["engine"], row["precision"]), []).append(row)
    return groups


def _points(rows: Sequence[Row], title: str) -> dict[str, Any]:
    colour, shape = _colour(rows[0]), SHAPES.get(rows[0]["engine"], "square")
    scores = [row["score"] for row in rows]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": _text(title),
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
        "text": [_text(row["name"]) for row in rows],
        "customdata": [_text(_said(row)) for row in rows],
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


def _teacher_lines(teacher: Row | None, y_range: Sequence[float]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Dotted lines at the teacher's accuracy and at whole shares of it, as far as they fall into the picture."""
    if teacher is None:
        return []
    lines = []
    for share in (1.0, 0.99, 0.97, 0.95):
        y = share * teacher["score"]
        if not y_range[0] < y < y_range[1]:
            continue
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


def _names(
    rows: Sequence[Row], x_range: Sequence[float], y_range: Sequence[float], view: tuple[float, float, int]
) -> list[dict[str, Any]]:
    """Annotations with the names of the points; those on the frontier choose their place first."""
    width, height, font = view
    ordered = sorted((row for row in rows), key=lambda row: (not row["pareto"], row["latency_ms"]["p50"]))
    points = [
        (
            width * (math.log10(row["latency_ms"]["p50"]) - x_range[0]) / (x_range[1] - x_range[0]),
            height * (y_range[1] - row["score"]) / (y_range[1] - y_range[0]),
        )
        for row in ordered
    ]
    text_sizes = [(0.56 * font * min(len(row["name"]), LONGEST), 1.3 * font) for row in ordered]
    places = labels.place(points, text_sizes, width, height)
    return [_name(row, at, font) for row, at in zip(ordered, places, strict=True) if at is not None]


LONGEST = 32


def _name(row: Row, at: labels.Place, font: int) -> dict[str, Any]:
    name = row["name"] if len(row["name"]) <= LONGEST else row["name"][: LONGEST - 1] + "…"
    return {
        "x": math.log10(row["latency_ms"]["p50"]),
        "y": row["score"],
        "text": _text(name),
        "showarrow": abs(at.dy) > 2 * labels.POINT,
        "arrowhead": 0,
        "arrowwidth": 0.8,
        "arrowcolor": GREY,
        "ax": at.dx,
        "ay": at.dy,
        "xshift": 0 if abs(at.dy) > 2 * labels.POINT else at.dx,
        "yshift": 0 if abs(at.dy) > 2 * labels.POINT else -at.dy,
        "xanchor": at.anchor,
        "yanchor": "middle",
        "font": {"size": font, "color": INK},
    }


def _x_range(rows: Sequence[Row]) -> list[float]:
    logs = [math.log10(row["latency_ms"]["p50"]) for row in rows]
    margin = max(0.15, 0.12 * (max(logs) - min(logs)))
    return [min(logs) - margin, max(logs) + margin]


def _y_range(rows: Sequence[Row], teacher: Row | None) -> list[float]:
    ends = [end for row in rows for end in row["score_ci"]] + ([teacher["score"]] if teacher else [])
    margin = 0.08 * (max(ends) - min(ends)) + 0.002
    return [max(0.0, min(ends) - margin), min(1.02, max(ends) + margin)]


def _log_axis(title: str, logs: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with ticks at 1, 2, 5, 10 ... written out; only 1, 10 ... where it spans much."""
    digits = (1, 2, 5) if logs[1] - logs[0] < 2.2 else (1,)
    ticks = [digit * 10.0**power for power in range(-6, 10) for digit in digits]
    ticks = [tick for tick in ticks if logs[0] <= math.log10(tick) <= logs[1]]
    shown = {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    return {**_axis(title), "type": "log", "range": list(logs), **shown}


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 12, "color": MUTED}},
        "gridcolor": GRID,
        "linecolor": GREY,
        "zeroline": False,
        "tickfont": {"size": 11},
        "automargin": True,
    }


def _name_axis() -> dict[str, Any]:
    return {
        "autorange": "reversed",
        "automargin": True,
        "tickfont": {"size": 11},
        "gridcolor": GRID,
        "type": "category",
    }


def _bar_height(rows: Sequence[Row]) -> int:
    return 90 + 34 * len(rows)


def _colour(row: Row) -> str:
    return GREY if row["role"] == "floor" else COLOURS.get(row["precision"], GREY)


def _text(words: str) -> str:
    return html.escape(words, quote=False)


def _said(row: Row) -> str:
    return f"{row['name']}: {percent(row['score'], row['score_ci'])} at {milliseconds(row['latency_ms']['p50'])} ms"


def _percentiles(row: Row) -> str:
    p50, p90, p99 = (milliseconds(row["latency_ms"][key]) for key in ("p50", "p90", "p99"))
    return f"{row['name']}: median {p50} ms, 90% within {p90}, 99% within {p99}"


def _speedup_said(row: Row) -> str:
    return (
        f"{row['name']}: {times(row['speedup_vs_teacher_int8'])} over plain int8, "
        f"{times(row['speedup_vs_teacher_eager'])} over PyTorch"
    )
