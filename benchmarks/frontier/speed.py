"""All models of one fold in turns: ``python -m lilliput.benchmarks.frontier.speed --fold 0 --out FILE.json``.

The pruned models and the distilled ones, in int8, answer the fold's test texts one at a time on one thread, tokenizer
inside, in turns with the teacher as the libraries' defaults export and quantize it. What is not there is made first,
which takes long: the commands of `lilliput.benchmarks.pruning.models` and `lilliput.benchmarks.distillation.students`
make it in smaller pieces, and measure its accuracy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput import statistics
from lilliput.benchmarks import latency, pieces
from lilliput.benchmarks.distillation.family import FAMILY
from lilliput.benchmarks.distillation.folds import Fold as DistilledFold
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.folds import chosen
from lilliput.benchmarks.measured import Result
from lilliput.benchmarks.pruning.family import PACKED, PRUNED
from lilliput.benchmarks.pruning.folds import Fold as PrunedFold
from lilliput.errors import LilliputError

TEACHER = "teacher plain int8"
CUT = (*PRUNED, *PACKED)
NAMES = (*CUT, *FAMILY)


def row(result: Result, entry: Entry, teacher: Entry) -> dict[str, Any]:
    """What the piece says of a model: ``speedup`` is the median of the rounds' ratios, with its interval."""
    seen = result.models[entry.name]
    median = statistics.median_interval(result.speedups(entry.name, teacher.name))
    return {
        "precision": entry.precision,
        "p50_ms": seen.p50_ms,
        "round_p50_ms": list(seen.round_p50_ms),
        "speedup": [median.value, median.low, median.high],
    }


def main(
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    only: Annotated[str | None, typer.Option(help="Models; all by default.")] = None,
    rounds: Annotated[int, typer.Option(help="How often the models take turns.")] = 40,
    pruned: Annotated[Path, typer.Option(help="Folder of the pruned models.")] = Path("runs/prune"),
    distilled: Annotated[Path, typer.Option(help="Folder of the students.")] = Path("runs/distill"),
    teachers: Annotated[Path, typer.Option(help="Folder of the teachers.")] = Path("runs/teachers"),
) -> None:
    """Measure the models of a fold in turns with their teacher, and write the piece."""
    try:
        names = chosen(only, NAMES)
        with PrunedFold(fold, pruned, teachers) as cut, DistilledFold(fold, distilled, teachers) as taught:
            folder = cut.run.folder / "frontier"
            teacher = cut.plain_teacher(folder)
            homes = {name: cut if name in CUT else taught for name in names}
            found = {name: home.entry_of(name, home.bundle(name)) for name, home in homes.items()}
            texts = cut.dataset.test.texts
            result = latency.run(
                [teacher, *found.values()], texts, threads=1, rounds=rounds, folder=folder, all_cores=False
            )
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    rows = {name: row(result, entry, teacher) for name, entry in {TEACHER: teacher, **found}.items()}
    pieces.write(out, [], fold=fold, models=rows, texts=len(texts), noisy=result.noisy, p50_spread=result.p50_spread)
    for name, one in rows.items():
        typer.echo(f"{name}: {one['p50_ms']:.3f} ms, {one['speedup'][0]:.2f} times")


if __name__ == "__main__":
    typer.run(main)
