"""How much faster pruned models are: ``python -m lilliput.benchmarks.pruning.speed --fold 0 --out FILE.json``.

The int8 bundles answer the fold's test texts one at a time on one thread, tokenizer inside, in turns with the teacher
as the libraries' defaults export and quantize it. The figure is the median over the rounds of the ratio of median
latencies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput import statistics
from lilliput.benchmarks import latency, pieces
from lilliput.benchmarks.folds import chosen
from lilliput.benchmarks.pruning.folds import Fold
from lilliput.benchmarks.pruning.models import NAMES
from lilliput.errors import LilliputError

FIGURES = {"x4": "prune.speedup4_speedup", "x8": "prune.speedup8_speedup"}


def main(
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figures go.")],
    only: Annotated[str | None, typer.Option(help="Models; all by default.")] = None,
    rounds: Annotated[int, typer.Option(help="How often the models take turns.")] = 40,
    work: Annotated[Path, typer.Option(help="Folder of the models.")] = Path("runs/prune"),
    teachers: Annotated[Path, typer.Option(help="Folder of the teachers.")] = Path("runs/teachers"),
) -> None:
    """Measure the models of a fold in turns with their teacher, and write the piece."""
    try:
        names = chosen(only, NAMES)
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
    figures, rows = [], {}
    for name, entry in measured.items():
        seen = result.models[entry.name]
        row: dict[str, Any] = {"precision": entry.precision, "p50_ms": seen.p50_ms}
        if name != "teacher":
            ratios = result.speedups(entry.name, measured["teacher"].name)
            median = statistics.median_interval(ratios)
            row["speedup"] = [median.value, median.low, median.high]
            if name in FIGURES:
                ends = (median.low, median.high)
                figures.append(pieces.Figure(FIGURES[name], median.value, "times", ends, len(ratios), (fold,)))
            typer.echo(f"{name}: {median.value:.2f} times")
        rows[name] = row
    noise = {"noisy": result.noisy, "p50_spread": result.p50_spread}
    pieces.write(out, figures, fold=fold, models=rows, texts=len(texts), **noise)


if __name__ == "__main__":
    typer.run(main)
