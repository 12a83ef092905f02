"""The models of a report as a table, in words that people read: shared by the page, the README and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

NOT_MEASURED = "not measured"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A heading, what it means, and how a row's value is written."""

    title: str
    meaning: str
    text: Callable[[Row], str]
    numeric: bool = True


def percent(value: float | None, interval: Sequence[float] | None = None) -> str:
    """0.8731 as "87.3%", with "(86.1 to 88.4)" where there is an interval."""
    if value is None:
        return NOT_MEASURED
    # A model compared with itself has no uncertainty; an interval of one value would only be noise to the eye.
    some = interval is not None and interval[0] < interval[1]
    bounds = f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval and some else ""
    return f"{100 * value:.1f}%{bounds}"


def times(value: float | None) -> str:
    """3.14159 as "3.1×"; two digits for what is near 1."""
    if value is None:
        return NOT_MEASURED
    return f"{value:.2f}×" if value < 2 else f"{value:.1f}×"


def milliseconds(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return NOT_MEASURED
    decimals = 3 if value < 0.9995 else 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"


def megabytes(value: float | None) -> str:
    """Bytes as 10^6 bytes."""
    return NOT_MEASURED if value is None else _short(value / 1e6)


def millions(value: float | None) -> str:
    """A count in millions."""
    return NOT_MEASURED if value is None else _short(value / 1e6)


def whole(value: float | None) -> str:
    """A number without decimals, thousands separated."""
    return NOT_MEASURED if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """A number a second: whole where it is large, else three significant digits."""
    if value is None:
        return NOT_MEASURED
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _share(key: str) -> Callable[[Row], str]:
    return lambda row: percent(row[key], row.get(f"{key}_ci"))


def _half_width(key: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        low, high = row[f"{key}_ci"] or (0.0, 0.0)
        return percent(row[key]) + (f" ±{50 * (high - low):.1f}" if low < high else "")

    return text


NAME = Column("model", "", lambda row: row["name"], numeric=False)
SCORE = Column("accuracy", "share of test texts labelled correctly, 95% interval (Wilson)", _share("score"))
RETAINED = Column(
    "retained", "accuracy / teacher's accuracy on the same texts, 95% interval (paired bootstrap)", _share("retained")
)
P50 = Column(
    "p50 ms", "median latency of one text, tokenizer included", lambda row: milliseconds(row["latency_ms"]["p50"])
)
EAGER = Column(
    "vs eager", "times faster than the teacher in eager PyTorch", lambda row: times(row["speedup_vs_teacher_eager"])
)
INT8 = Column(
    "vs int8",
    "times faster than the teacher exported and quantized with the libraries' defaults",
    lambda row: times(row["speedup_vs_teacher_int8"]),
)
SIZE = Column("MB", "files that loading opens, 10^6 bytes", lambda row: megabytes(row["bytes"]))
_SIZE_SHORT = Column("MB", SIZE.meaning, lambda row: megabytes(row["bytes"]) if row["bytes"] else "–")

SHORT = (NAME, SCORE, RETAINED, P50, EAGER, INT8, SIZE)
"""What fits a README."""

TERMINAL = (
    NAME,
    Column("accuracy", SCORE.meaning, _half_width("score")),
    Column("retained", RETAINED.meaning, _half_width("retained")),
    *(P50, EAGER, INT8, _SIZE_SHORT),
)
"""What fits a terminal of 80 columns."""

FULL = (
    NAME,
    SCORE,
    RETAINED,
    Column("agrees", "share of texts with the teacher's label", lambda row: percent(row["agreement"])),
    Column("ECE", "expected calibration error, 15 bins", lambda row: percent(row["ece"])),
    P50,
    Column("p90 ms", "nine of ten texts are faster", lambda row: milliseconds(row["latency_ms"]["p90"])),
    Column("p99 ms", "99 of 100 texts are faster", lambda row: milliseconds(row["latency_ms"]["p99"])),
    EAGER,
    INT8,
    Column("texts/s", "throughput of the list call on the same threads", lambda row: whole(row["throughput_per_s"])),
    Column(
        "p50 ms, all cores",
        "median latency of one text with every core",
        lambda row: milliseconds(row["all_threads"] and row["all_threads"]["p50"]),
    ),
    Column(
        "texts/s, all cores",
        "throughput of the list call with every core",
        lambda row: whole(row["all_threads"] and row["all_threads"]["throughput_per_s"]),
    ),
    SIZE,
    Column("params, M", "millions of trained numbers", lambda row: millions(row["parameters"])),
    Column("memory, MB", "most resident memory of the process, 10^6 bytes", lambda row: whole(row["peak_rss_mb"])),
)
"""What the page shows."""


def markdown(rows: Sequence[Row], columns: Sequence[Column] = SHORT) -> str:
    """A GitHub table; numbers to the right."""
    titles, numeric = [column.title for column in columns], [column.numeric for column in columns]
    return grid(titles, numeric, [[column.text(row) for column in columns] for row in rows])


def grid(titles: Sequence[str], numeric: Sequence[bool], rows: Sequence[Sequence[str]]) -> str:
    """Any cells as a GitHub table."""
    rules = ["---:" if right else "---" for right in numeric]
    lines = [titles, rules, *([escaped(cell) for cell in cells] for cells in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def for_terminal(report: Mapping[str, Any]) -> Table:
    """The short table for a terminal; models on the accuracy/latency frontier are marked with a star."""
    data = report["data"]
    threads = "1 thread" if report["threads"] == 1 else f"{report['threads']} threads"
    table = Table(
        title=Text(f"{data['name']}, {data['n_test']:,} test texts, {threads}"),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    if report["smoke"]:
        table.caption = "SMOKE RUN on a subset: these figures count for nothing"
    for column in TERMINAL:
        table.add_column(column.title, justify="right" if column.numeric else "left", no_wrap=column.numeric)
    for row in report["models"]:
        cells = [column.text(row) for column in TERMINAL]
        # Text, so that a model's name is never read as markup.
        table.add_row(Text(("★ " if row["pareto"] else "  ") + cells[0]), *map(Text, cells[1:]))
    return table


def escaped(cell: str) -> str:
    """Untrusted text for one line of Markdown."""
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
