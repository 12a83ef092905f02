"""The report as one HTML file that opens offline: no file beside it, no request to anywhere.

Everything but the frontier is drawn without a script; that one is plain JavaScript, so that models can be filtered,
axes changed and a target set. Without JavaScript the tables hold all its numbers.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from lilliput.benchmarks import charts, scenarios, table
from lilliput.benchmarks.chart import tone_of
from lilliput.benchmarks.claim import best_student, claim, not_measured
from lilliput.benchmarks.figures import Report, teacher_of

TEMPLATE = Path(__file__).with_name("page.html")
STYLE = Path(__file__).with_name("page.css")
SCRIPT = Path(__file__).with_name("page.js")

KEEP = 97.0
"""Percent of the teacher's accuracy that the page asks for where nobody asked for anything."""

Row = Mapping[str, Any]


def render(report: Report) -> str:
    """The whole page. Everything in the report is untrusted text and is escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        percent=table.percent,
        times=table.times,
        ms=table.milliseconds,
        mb=table.megabytes,
        whole=table.whole,
        yaml=_plain,
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    script = SCRIPT.read_text(encoding="utf-8")
    sliced, parts = charts.slices(report)
    return template.render(
        report=report,
        claim=claim(report),
        best=best_student(report),
        teacher=teacher_of(report),
        pictures={picture.id: picture for picture in charts.pictures(report)},
        shapes=charts.shapes(report),
        sliced=sliced,
        parts=parts,
        calibrated=charts.calibrated(report),
        sensitive=[row for row in report["models"] if row.get("sensitivity")],
        scenarios=scenarios.tables(report),
        columns=table.FULL,
        gaps=not_measured(report),
        data=Markup(_as_script(data_of(report))),
        style=Markup(STYLE.read_text(encoding="utf-8")),
        script=Markup(script),
        policy=_policy(script),
    )


def data_of(report: Report) -> dict[str, Any]:
    """What the script draws the frontier from."""
    rows, best, teacher = report["models"], best_student(report), teacher_of(report)
    return {
        "models": [_model(row, report) for row in rows],
        "teacher": None if teacher is None else rows.index(teacher),
        "best": rows.index(best) if best else 0,
        "wanted": wanted(report),
        "command": report["command"],
        "description": "Accuracy over latency. " + "; ".join(map(_said, rows)) + ".",
    }


def _model(row: Row, report: Report) -> dict[str, Any]:
    made, note = made_by(row, report)
    return {
        "name": row["name"],
        "precision": row["precision"],
        "engine": row["engine"],
        "role": row["role"],
        "tone": tone_of(row),
        "score": row["score"],
        "ci": row["score_ci"],
        "retained": row["retained"],
        "p50": row["latency_ms"]["p50"],
        "p99": row["latency_ms"]["p99"],
        "bytes": row["bytes"],
        "per_s": row["throughput_per_s"],
        "int8": row["speedup_vs_teacher_int8"],
        "figures": [[column.title, column.text(row)] for column in table.FULL[1:]],
        "made": made,
        "made_note": note,
    }


def made_by(row: Row, report: Report) -> tuple[list[str], str]:
    """The command lines that make a model, and what they are: a search's own, or what the model's manifest tells."""
    members = report["recipe"]["config"].get("members")
    member = members.get(row["model"]) if isinstance(members, Mapping) else None
    recipe = member.get("recipe") if isinstance(member, Mapping) else None
    if isinstance(recipe, Mapping) and isinstance(recipe.get("commands"), list):
        exact = "Made again, the very same way, with" if recipe.get("exact") else "Made again, on all texts, with"
        return [str(line) for line in recipe["commands"]], exact
    return list(row.get("made", ())), "Its last steps, as its manifest tells; words in capitals are places of your own"


def wanted(report: Report) -> dict[str, float | None]:
    """What was asked for, as lines of the frontier: percent of the teacher's accuracy, and milliseconds.

    A search says what it was asked (see `lilliput.config.CompressConfig`): a latency, or a speed-up over the teacher at
    one precision, and points that may be lost.
    """
    asked, teacher = report["recipe"]["config"].get("compress"), teacher_of(report)
    asked = asked if isinstance(asked, Mapping) else {}
    keep = KEEP
    if teacher and teacher["score"] and _is_number(asked.get("max_drop")):
        keep = round(100 - asked["max_drop"] / teacher["score"], 2)
    ms = asked["latency"] if _is_number(asked.get("latency")) else None
    if teacher and _is_number(asked.get("speedup")) and asked["speedup"] > 0:
        same = [
            r for r in report["models"] if r["model"] == teacher["model"] and r["precision"] == asked.get("precision")
        ]
        ms = round((same[0] if same else teacher)["latency_ms"]["p50"] / asked["speedup"], 3)
    return {"keep": keep if teacher else None, "ms": ms}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _said(row: Row) -> str:
    score, p50 = table.percent(row["score"], row["score_ci"]), table.milliseconds(row["latency_ms"]["p50"])
    return f"{row['name']}: {score} at {p50} ms"


def _as_script(value: Any) -> str:
    """JSON for a script element, which "<" in a text must not end; JSON may write it as an escape."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c")


def _policy(script: str) -> str:
    """A content security policy that lets this script run and nothing be fetched, even if escaping failed."""
    # A browser hashes the element's text, in which line ends are line feeds.
    text = script.replace("\r\n", "\n").replace("\r", "\n").encode()
    digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _plain(value: Any, indent: int = 0) -> str:
    """A configuration as indented lines that people read."""
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    lines = []
    for key, inner in value.items():
        nested = isinstance(inner, dict) and inner
        lines.append(" " * indent + f"{key}:" + (f"\n{_plain(inner, indent + 2)}" if nested else f" {_plain(inner)}"))
    return "\n".join(lines)
