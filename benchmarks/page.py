"""The report as one HTML file that opens offline: no file beside it, no request to anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from lilliput.benchmarks import table
from lilliput.benchmarks.charts import charts
from lilliput.benchmarks.claim import best_student, claim, not_measured
from lilliput.benchmarks.figures import Report, find

TEMPLATE = Path(__file__).with_name("page.html")

START = """
"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const common = {
    font: {family: getComputedStyle(document.body).fontFamily, color: "#1f2933"},
    paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff", hoverlabel: {align: "left"},
    margin: {l: 56, r: 16, t: 12, b: 48},
  };
  const small = window.matchMedia("(max-width: 700px)");
  const draw = () => {
    for (const chart of charts) {
      // On a phone a drag scrolls the page.
      const phone = small.matches ? {...chart.narrow, dragmode: false} : {};
      Plotly.react(chart.id, chart.data, {...common, ...chart.layout, ...phone, height: chart.height},
                   {responsive: true, displayModeBar: false});
    }
  };
  draw();
  small.addEventListener("change", draw);
  const resize = () => charts.forEach((chart) => Plotly.Plots.resize(chart.id));
  window.addEventListener("beforeprint", resize);
  window.addEventListener("afterprint", resize);
})();
"""


def render(report: Report) -> str:
    """The whole page. Everything in the report is untrusted text and is escaped."""
    drawn = charts(report)
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
    # "<" in the data must not end the script element; JSON may write it as an escape.
    data = json.dumps([asdict(chart) for chart in drawn], ensure_ascii=True).replace("<", "\\u003c")
    plotly = get_plotlyjs()
    return template.render(
        report=report,
        claim=claim(report),
        best=best_student(report),
        teacher=find(report, role="teacher_fp32"),
        charts={chart.id: chart for chart in drawn},
        columns=table.FULL,
        gaps=not_measured(report),
        chart_data=Markup(data),
        plotly=Markup(plotly),
        start=Markup(START),
        policy=_policy(plotly, START),
    )


def _policy(*scripts: str) -> str:
    """A content security policy that lets these scripts run and nothing be fetched, even if escaping failed."""
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    # A browser hashes the element's text, in which line ends are line feeds.
    return base64.b64encode(hashlib.sha256(script.replace("\r\n", "\n").replace("\r", "\n").encode()).digest()).decode()


def _plain(value: Any, indent: int = 0) -> str:
    """A configuration as indented lines that people read."""
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    lines = []
    for key, inner in value.items():
        nested = isinstance(inner, dict) and inner
        lines.append(" " * indent + f"{key}:" + (f"\n{_plain(inner, indent + 2)}" if nested else f" {_plain(inner)}"))
    return "\n".join(lines)
