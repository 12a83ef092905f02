"""Pruning without training: ``python -m lilliput.benchmarks.pruning.post_training --fold 0 --out FILE.json``.

``lilliput prune --flops 0.5`` runs in a fresh process on all cores, as a user runs it: half of the encoder's
multiplications stay. What that takes is measured; what it loses is that of the model ``post`` of
:mod:`lilliput.benchmarks.pruning.models`, whose settings are the same.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from lilliput.benchmarks import commands, pieces
from lilliput.benchmarks.folds import TEACHER
from lilliput.benchmarks.pruning.family import PRUNED
from lilliput.benchmarks.training import teachers as measured_teachers
from lilliput.config import PruneConfig
from lilliput.errors import LilliputError


def main(
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figure goes.")],
    teachers: Annotated[Path, typer.Option(help="Folder of the teachers.")] = Path("runs/teachers"),
) -> None:
    """Prune once, from start to end, and write the piece."""
    try:
        measured_teachers.train(TEACHER, fold, teachers)
        with tempfile.TemporaryDirectory() as name:
            settings = {"seed": fold, "model": str(teachers / f"{TEACHER}-{fold}" / "teacher"), "out": name}
            config = PruneConfig(**settings, **PRUNED["post"])
            start = time.monotonic()
            result = commands.run(config)
            minutes = (time.monotonic() - start) / 60
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    figure = pieces.Figure("prune.post_training_minutes", minutes, "minutes", None, 1, (fold,))
    pieces.write(out, [figure], pruning=result["pruning"], test=result["test"])
    typer.echo(f"{minutes:.2f} minutes")


if __name__ == "__main__":
    typer.run(main)
