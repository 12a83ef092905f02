"""Whether latency targets are met: ``python -m lilliput.benchmarks.pruning.promises --fold 0 --out FILE.json``.

For each speedup a teacher is pruned by ``lilliput prune --speedup``, exported by ``lilliput export``, and timed by the
benchmark in turns with the teacher's own bundle. The figure is the largest distance between a speedup that was asked
for and the one that the benchmark finds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput import statistics
from lilliput.benchmarks import entries, latency, pieces
from lilliput.benchmarks.folds import BUNDLE
from lilliput.benchmarks.pruning.folds import Fold
from lilliput.compress.pruning import prune_stages
from lilliput.config import PruneConfig
from lilliput.errors import LilliputError

ANY_AGREEMENT = 0.5
"""Of int8 with float32: models that were cut and never mended are undecided on many texts."""
QUICK = {"calibration": 256, "reconstruct": False}
SPEEDUPS = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0)


def main(
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figure goes.")],
    rounds: Annotated[int, typer.Option(help="How often the models take turns.")] = 40,
    work: Annotated[Path, typer.Option(help="Folder of the models.")] = Path("runs/prune"),
    teachers: Annotated[Path, typer.Option(help="Folder of the teachers.")] = Path("runs/teachers"),
) -> None:
    """Prune for each speedup, measure all of them together, and write the piece."""
    try:
        with Fold(fold, work, teachers, min_agreement=ANY_AGREEMENT) as models_of_fold:
            bundles = {"teacher": models_of_fold.bundle_of("teacher-int8", models_of_fold.teacher())}
            bundles |= {_name(speedup): _pruned(models_of_fold, speedup) for speedup in SPEEDUPS}
            measured = {
                name: entries.of_bundle(bundle.folder / BUNDLE, name, "int8", role="student", seeds=(fold,))
                for name, bundle in bundles.items()
            }
            texts, folder = models_of_fold.dataset.test.texts, models_of_fold.run.folder / "promises"
            result = latency.run(
                list(measured.values()), texts, threads=1, rounds=rounds, folder=folder, all_cores=False
            )
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    rows: dict[str, Any] = {}
    for speedup in SPEEDUPS:
        ratios = result.speedups(measured[_name(speedup)].name, measured["teacher"].name)
        found = statistics.median_interval(ratios)
        rows[_name(speedup)] = {
            "asked": speedup,
            "achieved": [found.value, found.low, found.high],
            "error": found.value / speedup - 1,
        }
        typer.echo(f"{speedup:g} times: {found.value:.3f} ({rows[_name(speedup)]['error']:+.1%})")
    largest = max(abs(row["error"]) for row in rows.values())
    figure = pieces.Figure("prune.target_error_max", largest, "share", None, len(rows), (fold,))
    pieces.write(out, [figure], targets=rows, noisy=result.noisy, p50_spread=result.p50_spread)


def _name(speedup: float) -> str:
    return f"target-{speedup:g}"


def _pruned(fold: Fold, speedup: float) -> Any:
    """The bundle of the teacher pruned to a speedup.

    What its weights are does not matter for latency, so that few texts are read and nothing is reconstructed.
    """
    settings = {"seed": fold.number, "model": str(fold.teacher()), "out": fold.run.folder, "per_layer": True, **QUICK}
    stage, _ = prune_stages(fold.run, PruneConfig(**settings, speedup=speedup), fold.dataset, name=_name(speedup))
    return fold.bundle_of(_name(speedup), stage.folder)


if __name__ == "__main__":
    typer.run(main)
