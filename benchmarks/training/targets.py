"""What training promises: ``python -m lilliput.benchmarks.training.targets PIECES... --out train.json`` judges it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lilliput.benchmarks import pieces
from lilliput.benchmarks.readme import replaced
from lilliput.errors import LilliputError
from lilliput.runs import write_json, write_text

TARGETS = (
    pieces.target("train.teacher_accuracy_mean", "share", 0.87, by_value=True),
    pieces.target("train.resume_identical", "of 20", 20),
    pieces.target("train.faults_named", "of 20", 20),
    pieces.target("train.false_alarms", "alarms", 0, at_most=True),
    pieces.target("train.mlm_vs_unigram", "times", 3),
    pieces.target("train.continued_loss_drop", "nats", 0),
    pieces.target("train.speed_vs_trainer", "times", 1.4),
    pieces.target("train.ner_f1", "share", 0.95),
    pieces.target("train.qa_f1", "share", 0.9),
    pieces.target("train.relation_f1", "share", 0.9),
)


def main(
    measured: Annotated[list[Path], typer.Argument(help="Pieces, as the commands of this folder write them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the judged figures go.")],
    page: Annotated[Path | None, typer.Option(help="Markdown page whose table of figures is written anew.")] = None,
) -> None:
    """Merge the pieces of the training figures."""
    try:
        merged = pieces.merge(measured, TARGETS)
        write_json(out, merged)
        if page:
            text = page.read_text(encoding="utf-8")
            write_text(page, replaced(text, out.stem, pieces.table(merged["figures"]), page))
    except (LilliputError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for figure in merged["figures"]:
        typer.echo(f"{figure['id']}: {figure['value']} {figure['unit']}, {figure['status']}")


if __name__ == "__main__":
    typer.run(main)
