"""A report as Markdown, for a pull request or a wiki, and as CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from lilliput.benchmarks import scenarios, table
from lilliput.benchmarks.claim import claim, not_measured
from lilliput.benchmarks.scenarios import Table

PLAIN = (
    *("name", "model", "role", "task", "engine", "provider", "precision", "batch", "parameters", "bytes", "metric"),
    *("score", "retained", "agreement", "mcnemar_p", "ece", "p50_spread", "throughput_per_s", "peak_rss_mb"),
    *("speedup_vs_teacher_eager", "speedup_vs_teacher_int8", "pareto"),
)
"""Fields of a row that are one value."""
INTERVALS = ("score", "retained", "speedup_vs_teacher_eager", "speedup_vs_teacher_int8")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula."""


def markdown(report: Mapping[str, Any]) -> str:
    """The whole report: claim, models, scenarios, machine, how to do it again, and what was not measured."""
    data, where = report["data"], report["machine"]
    threads = "1 thread" if report["threads"] == 1 else f"{report['threads']} threads"
    smoke = ["**Smoke run on a subset: these figures count for nothing.**"] if report["smoke"] else []
    noisy = (
        [f"**Noisy machine:** medians moved by {table.percent(where['p50_spread'])} between rounds."]
        if where["noisy"]
        else []
    )
    about = (
        f"{data['n_test']:,} test texts of {table.escaped(data['name'])}, one at a time on {threads} of "
        f"{table.escaped(where['cpu'])}, tokenizer included. Intervals are 95%. Measured {report['generated']}."
    )
    gaps = [f"- {table.escaped(gap)}" for gap in not_measured(report)]
    parts = [
        f"# {table.escaped(report['title'])}",
        *smoke,
        table.escaped(claim(report)),
        *noisy,
        table.markdown(report["models"], table.FULL),
        about,
        *(_scenario(one) for one in scenarios.tables(report)),
        "## Commands\n\n" + "\n".join(f"    {' '.join(line.split())}" for line in report["recipe"]["commands"]),
        *(["## Not measured\n\n" + "\n".join(gaps)] if gaps else []),
    ]
    return "\n\n".join(parts) + "\n"


def _scenario(one: Table) -> str:
    if one.why:
        return f"## {one.title}\n\n{one.about}\n\nnot measured: {table.escaped(one.why)}"
    rows = []
    for name, entry in one.rows:
        missing = entry.get("not_measured")
        cells = (
            [f"not measured: {missing}"] + [""] * (len(one.columns) - 1)
            if missing
            else [c.text(entry) for c in one.columns]
        )
        rows.append([name, *cells])
    titles = ["model", *(column.title for column in one.columns)]
    numeric = [False, *(column.numeric for column in one.columns)]
    return f"## {one.title}\n\n{one.about}\n\n{table.grid(titles, numeric, rows)}"


def csv_of(report: Mapping[str, Any]) -> str:
    """One line a model: every figure that is one number, intervals in two columns, and those of the scenarios, such as
    ``server.rate_per_s``. What was not measured is empty."""
    lines = [_flat(row, report) for row in report["models"]]
    names = list(dict.fromkeys(name for line in lines for name in line))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def _flat(row: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    line = {key: _cell(row[key]) for key in PLAIN}
    line["seeds"] = " ".join(map(str, row["seeds"]))
    line |= {f"latency_{key}_ms": value for key, value in row["latency_ms"].items()}
    for key in INTERVALS:
        line[f"{key}_low"], line[f"{key}_high"] = row[f"{key}_ci"] or ("", "")
    everything = row["all_threads"] or {}
    line |= {f"all_threads_{key}": everything.get(key, "") for key in ("threads", "p50", "throughput_per_s")}
    for name, measured in (report.get("scenarios") or {}).items():
        for key, value in measured["models"].get(row["name"], {}).items():
            if isinstance(value, (int, float, str)):
                line[f"{name}.{key}"] = _cell(value)
    return line


def _cell(value: Any) -> Any:
    """A value as a cell; a text that a spreadsheet would calculate with begins with an apostrophe."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
