"""The pictures of the report page that need no script: places in percent, which the template draws with.

Names are above their picture, and every picture is as wide as the page, so that they are read on a phone as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lilliput.benchmarks.chart import LogAxis, Row, axis_of, tone_of
from lilliput.benchmarks.figures import Report, teacher_of
from lilliput.benchmarks.table import megabytes, milliseconds, percent, times

REFERENCES = ("teacher_eager", "teacher_int8")
SPEEDUPS = (
    ("speedup_vs_teacher_int8", "over plain int8", "blue"),
    ("speedup_vs_teacher_eager", "over PyTorch", "orange"),
)
BINS = 72
"""Bars of a histogram, over the whole axis."""
HEIGHT = 30.0
"""Units of a histogram's height."""


@dataclass(frozen=True)
class Mark:
    """Something at a place of an axis."""

    at: float
    tone: str
    words: str


@dataclass(frozen=True)
class Lane:
    """A model's line of a picture.

    Attributes:
        index: of the model in the report.
        said: its figures in words, beside the name.
        path: outline of a histogram in a box of 100 x `HEIGHT`, y downwards; empty where there is none.
        width: of a bar, in percent.
    """

    index: int
    name: str
    tone: str
    said: str
    path: str = ""
    width: float | None = None
    marks: Sequence[Mark] = ()


@dataclass(frozen=True)
class Picture:
    """Lanes over one axis."""

    id: str
    title: str
    note: str
    unit: str
    axis: LogAxis
    lanes: Sequence[Lane]
    legend: Sequence[tuple[str, str]] = field(default=())

    @property
    def description(self) -> str:
        """For who can't see it."""
        return f"{self.title}. " + "; ".join(f"{lane.name}: {lane.said}" for lane in self.lanes) + "."


def pictures(report: Report) -> list[Picture]:
    """All that the report has data for, in the order of the page."""
    found = [latencies(report), speedups(report), sizes(report)]
    return [picture for picture in found if picture is not None]


def latencies(report: Report) -> Picture:
    """How the latencies of all test texts are distributed, as a histogram on a logarithmic axis."""
    rows, levels = report["models"], report["quantile_levels"]
    axis = axis_of(
        (value for row in rows for value in (row["latency_quantiles_ms"][0], row["latency_quantiles_ms"][-1])), 1.1
    )
    lanes = []
    for index, row in enumerate(rows):
        p50, p90, p99 = (row["latency_ms"][key] for key in ("p50", "p90", "p99"))
        said = f"p50 {milliseconds(p50)}, p90 {milliseconds(p90)}, p99 {milliseconds(p99)} ms"
        marks = [Mark(axis.place(p50), "ink", "median"), Mark(axis.place(p99), "orange", "99%")]
        path = outline(masses(row["latency_quantiles_ms"], levels, axis))
        lanes.append(Lane(index, row["name"], tone_of(row), said, path, marks=marks))
    return Picture(
        id="latencies",
        title="Latency distribution",
        note="Every test text, one at a time, tokenizer included. Black: median (p50). Orange: 99% (p99).",
        unit="ms",
        axis=axis,
        lanes=lanes,
    )


def masses(quantiles: Sequence[float], levels: Sequence[float], axis: LogAxis, bins: int = BINS) -> list[float]:
    """The share of texts in each of ``bins`` parts of an axis, from quantiles: the distribution function is taken as
    linear between them, on the logarithm of time, and as a step at the first and after the last one."""
    edges = np.linspace(math.log(axis.low), math.log(axis.high), bins + 1)
    points = np.log(np.maximum.accumulate(np.asarray(quantiles, dtype=np.float64)))
    below = np.interp(edges, points, levels, left=0.0, right=1.0)
    return np.diff(below).tolist()


def outline(shares: Sequence[float], height: float = HEIGHT) -> str:
    """A histogram as an SVG path in a box of 100 x ``height``, its highest bar as high as the box."""
    width, top = 100 / len(shares), max(max(shares), 1e-12)
    words = [f"M0 {height:g}"]
    for number, share in enumerate(shares):
        words.append(f"V{height * (1 - share / top):.2f}H{width * (number + 1):.2f}")
    return "".join([*words, f"V{height:g}Z"])


def speedups(report: Report) -> Picture | None:
    """The ratio of medians in every round: how sure the speed-ups are."""
    rows = [(i, row) for i, row in enumerate(report["models"]) if row["role"] not in ("floor", *REFERENCES)]
    seen = [(i, row) for i, row in rows if any(row[f"{key}_rounds"] for key, _, _ in SPEEDUPS)]
    if not seen:
        return None
    axis = axis_of(ratio for _, row in seen for key, _, _ in SPEEDUPS for ratio in row[f"{key}_rounds"] or ())
    lanes = []
    for index, row in seen:
        marks = [
            Mark(axis.place(ratio), tone, f"{times(ratio)} {words}")
            for key, words, tone in SPEEDUPS
            for ratio in row[f"{key}_rounds"] or ()
        ]
        said = ", ".join(f"{times(row[key])} {words}" for key, words, _ in SPEEDUPS if row[key])
        lanes.append(Lane(index, row["name"], tone_of(row), said, marks=marks))
    return Picture(
        id="speedups",
        title="Speed-up, round by round",
        note="Each mark is one round: the teacher's median latency over the model's, on the same texts.",
        unit="times the speed",
        axis=axis,
        lanes=lanes,
        legend=[
            (tone, f"teacher {'on plain ONNX Runtime int8' if tone == 'blue' else 'in PyTorch'}")
            for _, _, tone in SPEEDUPS
        ],
    )


def sizes(report: Report) -> Picture | None:
    """What an app has to ship: bytes that loading opens."""
    rows = [(index, row) for index, row in enumerate(report["models"]) if row["bytes"]]
    if not rows:
        return None
    axis = axis_of((row["bytes"] / 1e6 for _, row in rows), 2.0)
    lanes = [
        Lane(i, row["name"], tone_of(row), f"{megabytes(row['bytes'])} MB", width=axis.place(row["bytes"] / 1e6))
        for i, row in rows
    ]
    note = "Files that loading opens, 10⁶ bytes, on a logarithmic scale."
    return Picture(id="sizes", title="Size", note=note, unit="MB", axis=axis, lanes=lanes)


@dataclass(frozen=True)
class Shape:
    """What is left of a model: one card of the page.

    Attributes:
        blocks: of each block its heads, its neurons and the share of the teacher's that they are, in percent.
        heads: of a block of the teacher, or the most of this model's where that is no transformer.
    """

    name: str
    words: str
    blocks: Sequence[tuple[int, int, float]]
    heads: int


def shapes(report: Report) -> list[Shape]:
    """Each model once, the teacher first, with what is left of the teacher's heads and neurons."""
    first = teacher_of(report)
    teacher = first.get("structure") if first else None
    found: dict[str, Shape] = {}
    rows = sorted(report["models"], key=lambda row: first is None or row["model"] != first["model"])
    for row in rows:
        structure = row.get("structure")
        if structure and row["model"] not in found and row["role"] != "teacher_int8":
            found[row["model"]] = _shape(row, structure, teacher)
    return list(found.values())


def _shape(row: Row, structure: Mapping[str, Any], teacher: Mapping[str, Any] | None) -> Shape:
    blocks, theirs = structure["blocks"], teacher["blocks"] if teacher else []
    heads = max((block["heads"] for block in [*blocks, *theirs]), default=0)
    neurons = max((block["ffn"] for block in [*blocks, *theirs]), default=0) or 1
    tokens = structure["vocabulary"]
    words = [f"{row['parameters'] / 1e6:.3g} M parameters"] if row["parameters"] else []
    words += [f"width {structure['hidden']}"] + ([f"{tokens:,} tokens"] if tokens else [])
    if blocks:
        kept, all_heads = sum(block["heads"] for block in blocks), sum(block["heads"] for block in theirs)
        of = f" of {len(theirs)}" if theirs and len(theirs) != len(blocks) else ""
        share = f" of {all_heads}" if all_heads and all_heads != kept else ""
        words = [f"{len(blocks)}{of} blocks, {kept}{share} heads", *words]
    else:
        count, kind = structure["layers"], structure["kind"].removeprefix("lilliput_")
        words = [f"{kind}, {count} layer{'s' if count != 1 else ''}", *words]
    drawn = [(block["heads"], block["ffn"], 100 * block["ffn"] / neurons) for block in blocks]
    return Shape(row["model"], ", ".join(words), drawn, heads)


@dataclass(frozen=True)
class Slices:
    """Accuracy of every model (in the order of the report) on one part of the test texts."""

    by: str
    value: str
    n: int
    cells: Sequence[tuple[str, str, bool]]
    """Accuracy, interval, and whether the interval lies below the model's own accuracy on the whole."""


def slices(report: Report) -> tuple[list[Row], list[Slices]]:
    """The models whose parts are known, and the parts that have figures, in the order of the first model."""
    rows = [row for row in report["models"] if row.get("slices")]
    if not rows:
        return [], []
    tables = [{(one["by"], one["value"]): one for one in row["slices"] if "score" in one} for row in rows]
    keys = sorted(tables[0], key=lambda key: key[0])  # by what, and the worst first within
    found = []
    for key in keys:
        cells = [_cell(table.get(key), row) for table, row in zip(tables, rows, strict=True)]
        found.append(Slices(key[0], key[1], tables[0][key]["n"], cells))
    return rows, found


def _cell(one: Mapping[str, Any] | None, row: Row) -> tuple[str, str, bool]:
    if one is None:
        return "–", "", False
    low, high = one["ci"] or (one["score"], one["score"])
    return percent(one["score"]), f"{100 * low:.1f} to {100 * high:.1f}", high < row["score"]


def calibrated(report: Report) -> list[Row]:
    """The models whose reliability is known."""
    return [row for row in report["models"] if row.get("reliability")]
