"""How much faster the family is: ``python -m lilliput.benchmarks.distillation.speed --fold 0 --out FILE.json``.

The students' int8 bundles answer the fold's test texts one at a time on one thread, tokenizer inside, in turns with the
teacher as the libraries' defaults export and quantize it. The figure is the median over the rounds of the ratio of
median latencies.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput import statistics
from lilliput.benchmarks import latency, pieces
from lilliput.benchmarks.distillation.family import FAMILY
from lilliput.benchmarks.distillation.folds import Fold
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.folds import chosen
from lilliput.benchmarks.measured import Result
from lilliput.errors import LilliputError


def figures_of(result: Result, measured: Mapping[str, Entry], seed: int) -> list[pieces.Figure]:
    """The median ratio of every student to the teacher, with its interval over the rounds."""
    found = []
    for name, entry in measured.items():
        if name == "teacher":
            continue
        ratios = result.speedups(entry.name, measured["teacher"].name)
        median = statistics.median_interval(ratios)
        ends = (median.low, median.high)
        found.append(pieces.Figure(f"distill.{name}_speedup", median.value, "times", ends, len(ratios), (seed,)))
    return found


def main(
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figures go.")],
    only: Annotated[str | None, typer.Option(help="Members of the family; all by default.")] = None,
    rounds: Annotated[int, typer.Option(help="How often the models take turns.")] = 40,
    work: Annotated[Path, typer.Option(help="Folder of the students.")] = Path("runs/distill"),
    teachers: Annotated[Path, typer.Option(help="Folder of the teachers.")] = Path("runs/teachers"),
) -> None:
    """Measure the students of a fold in turns with their teacher, and write the piece."""
    try:
        names = chosen(only, FAMILY)
        with Fold(fold, work, teachers) as models_of_fold:
            folder = models_of_fold.run.folder / "speed"
            measured = models_of_fold.entries_of(names, folder)
            texts = models_of_fold.dataset.test.texts
            result = latency.run(
                list(measured.values()), texts, threads=1, rounds=rounds, folder=folder, all_cores=False
            )
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    found = figures_of(result, measured, fold)
    rows = {name: _row(result, entry) for name, entry in measured.items()}
    noise = {"noisy": result.noisy, "p50_spread": result.p50_spread}
    pieces.write(out, found, fold=fold, models=rows, texts=len(texts), **noise)
    for figure in found:
        typer.echo(f"{figure.id}: {figure.value:.2f} times")


def _row(result: Result, entry: Entry) -> dict[str, Any]:
    seen = result.models[entry.name]
    return {"precision": entry.precision, "p50_ms": seen.p50_ms, "round_p50_ms": list(seen.round_p50_ms)}


if __name__ == "__main__":
    typer.run(main)
