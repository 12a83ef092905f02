"""The charts of the report page, as plain plotly.js figures, each with a description for who can't see it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lilliput.benchmarks.chart import BLUE, INK, ORANGE, Chart, Row, colour_of, escaped, log_axis, name_axis
from lilliput.benchmarks.figures import Report
from lilliput.benchmarks.frontier_chart import frontier
from lilliput.benchmarks.table import megabytes, milliseconds, times

REFERENCES = ("teacher_eager", "teacher_int8")
SPEEDUPS = (
    ("speedup_vs_teacher_int8", "of the teacher on plain ONNX Runtime int8", BLUE, "circle-open"),
    ("speedup_vs_teacher_eager", "of the teacher in eager PyTorch", ORANGE, "diamond-open"),
)


def charts(report: Report) -> list[Chart]:
    """All charts that the report has data for, in the order of the page."""
    drawn = [frontier(report), sizes(report), latencies(report), speedups(report)]
    return [chart for chart in drawn if chart is not None]


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
        "y": [escaped(row["name"]) for row in rows],
        "text": [f"{megabytes(row['bytes'])} MB" for row in rows],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": [colour_of(row) for row in rows]},
        "hovertemplate": "%{y}: %{text}<extra></extra>",
    }
    low, high = min(values), max(values)
    return Chart(
        id="sizes",
        title="Size",
        note="Files that loading opens, 10⁶ bytes, on a logarithmic scale.",
        description="Bar chart of sizes. " + "; ".join(f"{r['name']}: {megabytes(r['bytes'])} MB" for r in rows) + ".",
        data=[bars],
        layout={"xaxis": log_axis("MB", [math.log10(low / 3), math.log10(high * 3)]), "yaxis": name_axis()},
        narrow={},
        height=_bar_height(rows),
    )


def latencies(report: Report) -> Chart:
    """How the latencies of all test texts are distributed."""
    rows = report["models"]
    place = {level: index for index, level in enumerate(report["quantile_levels"])}
    names = [escaped(row["name"]) for row in rows]

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
            "xaxis": log_axis("ms", [math.log10(min(at(0.05)) / 1.3), math.log10(max(at(0.99)) * 1.3)]),
            "yaxis": name_axis(),
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
            "xaxis": log_axis("times the speed", [math.log10(min(every) / 1.2), math.log10(max(every) * 1.2)]),
            "yaxis": name_axis(),
            "legend": {"orientation": "h", "y": -0.25, "font": {"size": 12}},
        },
        narrow={},
        height=_bar_height(rows) + 40,
    )


def _ratios(rows: Sequence[Row], key: str, title: str, colour: str, symbol: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": title,
        "x": [ratio for row in rows for ratio in row[key]],
        "y": [escaped(row["name"]) for row in rows for _ in row[key]],
        "marker": {"symbol": symbol, "size": 8, "color": colour, "opacity": 0.8},
        "hovertemplate": "%{y}: %{x:.3g} times the speed<extra></extra>",
    }


def _bar_height(rows: Sequence[Row]) -> int:
    return 90 + 34 * len(rows)


def _percentiles(row: Row) -> str:
    p50, p90, p99 = (milliseconds(row["latency_ms"][key]) for key in ("p50", "p90", "p99"))
    return f"{row['name']}: median {p50} ms, 90% within {p90}, 99% within {p99}"


def _speedup_said(row: Row) -> str:
    return (
        f"{row['name']}: {times(row['speedup_vs_teacher_int8'])} over plain int8, "
        f"{times(row['speedup_vs_teacher_eager'])} over PyTorch"
    )
