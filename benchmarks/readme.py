"""Write a report's table into a Markdown file: ``python -m lilliput.benchmarks.readme REPORT.json README.md``.

The table goes between ``<!-- table: NAME -->`` and ``<!-- /table -->``, where NAME is the report's file name without
its ending: what a README says is what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput import runs
from lilliput.benchmarks import pieces, table
from lilliput.benchmarks.report import read_report
from lilliput.errors import ConfigError, LilliputError

END = "<!-- /table -->"


def block(report: Mapping[str, Any]) -> str:
    """The table and a line that says where its numbers come from."""
    data, where = report["data"], report["machine"]
    threads = "1 thread" if report["threads"] == 1 else f"{report['threads']} threads"
    source = (
        f"{data['n_test']:,} test texts of {data['name']}, one at a time on {threads} of {pieces.processor(where)}, "
        "tokenizer included. Intervals are 95%. Eager: the teacher in PyTorch. Int8: the teacher exported and "
        f"quantized with the libraries' defaults.{pieces.busy(where)}"
    )
    smoke = "**Smoke run: these figures count for nothing.**\n\n" if report["smoke"] else ""
    return f"{smoke}{table.markdown(report['models'])}\n\n{source}"


def updated(text: str, name: str, report: Mapping[str, Any], path: Path) -> str:
    """The Markdown ``text`` with the report's table ``name`` written anew; errors as of :func:`replaced`."""
    return replaced(text, name, block(report), path)


def replaced(text: str, name: str, content: str, path: Path) -> str:
    """The Markdown ``text`` with ``content`` between the markers of ``name``.

    Raises:
        ConfigError: the markers are not there, once and in order; ``path`` is what the message calls the file.
    """
    start = f"<!-- table: {name} -->"
    head, found, rest = text.partition(start)
    _, closed, tail = rest.partition(END)
    if not found or not closed or start in rest:
        raise ConfigError(f"{path}: needs {start} once, with {END} after it")
    return f"{head}{start}\n{content}\n{END}{tail}"


def main(
    report: Annotated[Path, typer.Argument(help="report.json, or a file of benchmarks/results")],
    markdown: Annotated[Path, typer.Argument(help="file with the markers")],
) -> None:
    """Write the table of a report into a Markdown file."""
    try:
        text = markdown.read_text(encoding="utf-8")
        runs.write_text(markdown, updated(text, report.stem, read_report(report), markdown))
    except (LilliputError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
