"""What training promises: ``python -m lilliput.benchmarks.training.targets PIECES... --out train.json`` judges it."""

from __future__ import annotations

from collections.abc import Sequence
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


HEADER = (
    "| teacher | folds | validation | test | difference to `base` on the same sentences | command |",
    "| --- | --- | ---: | ---: | --- | --- |",
)


def variant_rows(measured: Sequence[Path]) -> list[str]:
    """What each way to train a teacher gives, of the pieces of `lilliput.benchmarks.training.teachers`."""
    rows = []
    for path in measured:
        piece = pieces.read(path)
        for name, found in piece.get("variants", {}).items():
            folds = ", ".join(map(str, piece.get("folds", range(len(found["test_by_fold"])))))
            points = "{value:+.2f} ({low:+.2f} to {high:+.2f}) points".format(
                **{key: 100 * value for key, value in found["difference"].items()}
            )
            difference = points if any(found["difference"].values()) else "-"
            scores = f"{found['validation']:.2%} | {found['test']:.2%}"
            rows.append(f"| `{name}` | {folds} | {scores} | {difference} | `{piece['command']}` |")
    return rows


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
            text = replaced(page.read_text(encoding="utf-8"), out.stem, pieces.table(merged), page)
            if rows := variant_rows(measured):
                text = replaced(text, f"{out.stem}-teachers", "\n".join([*HEADER, *rows]), page)
            write_text(page, text)
    except (LilliputError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for figure in merged["figures"]:
        typer.echo(f"{figure['id']}: {figure['value']} {figure['unit']}, {figure['status']}")


if __name__ == "__main__":
    typer.run(main)
