"""VADER's table beside ours: ``python -m lilliput.benchmarks.vader.targets FOLDER --out vader.json``.

Our models are to reach the best machine learner that the paper trained in each domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput.benchmarks import pieces
from lilliput.benchmarks.readme import replaced
from lilliput.benchmarks.vader import paper
from lilliput.benchmarks.vader.reproduce import FIGURE
from lilliput.errors import LilliputError
from lilliput.runs import write_json, write_text

ERROR = 0.03
"""The paper rounds to two digits, and the package has been changed since."""

TARGETS = (
    pieces.target(FIGURE, "F1", ERROR, at_most=True),
    *(
        pieces.target(f"vader.{model}_{domain}_f1", "F1", paper.LEARNERS[domain])
        for model in ("teacher", "student")
        for domain in paper.DOMAINS
    ),
)

ROWS = (
    ("single human raters, paper", paper.RATERS),
    ("VADER, paper", paper.VADER),
    ("best machine learner in the domain, paper", paper.LEARNERS),
)
OURS = {"vader": "VADER, the same test texts", "teacher": "our teacher", "student": "our student"}


def table(reproduced: Mapping[str, Any] | None, trained: Mapping[str, Mapping[str, Any]]) -> str:
    """The paper's rows and ours, weighted F1 with macro F1 in parentheses, as a Markdown table.

    Args:
        reproduced: ``domains`` of the piece of :mod:`lilliput.benchmarks.vader.reproduce`.
        trained: the pieces of :mod:`lilliput.benchmarks.vader.trained`, by domain.
    """
    lines = ["| F1, three classes | " + " | ".join(paper.DOMAINS) + " |", "| --- |" + " ---: |" * len(paper.DOMAINS)]

    def add(name: str, cells: list[str]) -> None:
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    for name, row in ROWS:
        add(name, [f"{row[domain]:.2f}" for domain in paper.DOMAINS])
    missing = "not measured"
    whole = reproduced or {}
    add("VADER today, all texts", [_cell(whole[domain]) if domain in whole else missing for domain in paper.DOMAINS])
    unique = {domain: row["unique"] for domain, row in whole.items()}
    add("VADER today, no duplicates", [_cell(unique[one]) if one in unique else missing for one in paper.DOMAINS])
    for key, name in OURS.items():
        add(name, [_cell(trained[one]["scores"][key]) if one in trained else missing for one in paper.DOMAINS])
    folds = {domain: ", ".join(str(fold["fold"]) for fold in piece["folds"]) for domain, piece in trained.items()}
    add("folds of the last three rows", [folds.get(domain, missing) for domain in paper.DOMAINS])
    return "\n".join(lines)


def _cell(scores: Mapping[str, float]) -> str:
    return f"{scores['weighted']:.2f} ({scores['macro']:.2f})"


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the pieces, as the commands of this folder write them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the judged figures go.")],
    page: Annotated[Path | None, typer.Option(help="Markdown page whose table is written anew.")] = None,
) -> None:
    """Merge the pieces, judge the figures, and write the table of the page."""
    try:
        paths = sorted(folder.glob("*.json"))
        merged = pieces.merge(paths, TARGETS)
        write_json(out, merged)
        if page:
            found = [pieces.read(path) for path in paths]
            whole = next((piece["domains"] for piece in found if "domains" in piece), None)
            trained = {piece["domain"]: piece for piece in found if "scores" in piece and piece["figures"]}
            content = f"{table(whole, trained)}\n\n{pieces.table(merged)}"
            write_text(page, replaced(page.read_text(encoding="utf-8"), "vader", content, page))
    except (LilliputError, OSError, KeyError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for figure in merged["figures"]:
        typer.echo(f"{figure['id']}: {figure['value']} {figure['unit']}, {figure['status']}")


if __name__ == "__main__":
    typer.run(main)
