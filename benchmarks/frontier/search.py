"""A search as a user makes it: ``python -m lilliput.benchmarks.frontier.search --fold 0 --out FILE.json``.

``lilliput compress`` is told a teacher, a speed and a budget, and nobody looks after it. The figures are how far the
speed of the recommended model, measured by its own benchmark, is from what was asked, and how long the command took
beyond its budget. Called again after an interruption, it goes on; the time of both parts counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput.benchmarks import commands, pieces
from lilliput.benchmarks.folds import TEACHER
from lilliput.config import CompressConfig
from lilliput.errors import LilliputError

ROUNDS = 40
"""In which the models of the benchmark take turns: the interval of a speed is that of the median over them, and more
rounds of fewer texts take no longer."""


def figures_of(found: Mapping[str, Any], asked: float, minutes: float, seed: int) -> list[pieces.Figure]:
    """The two figures.

    Args:
        found: ``compress.json``.
        asked: the speed-up that was asked for.
        minutes: the budget.
    """
    reached = found["evidence"]["speedup"]
    ratios = [reached[end] / asked - 1 for end in ("value", "low", "high")]
    error = abs(ratios[0])
    # The interval of a distance: it is 0 at least, where the interval of the ratio contains what was asked.
    low = 0.0 if ratios[1] <= 0 <= ratios[2] else min(abs(ratios[1]), abs(ratios[2]))
    high = max(abs(ratios[1]), abs(ratios[2]))
    over = max(0.0, found["seconds"] / 60 - minutes)
    return [
        pieces.Figure("frontier.target_error_max", error, "share", (low, high), 1, (seed,)),
        pieces.Figure("frontier.budget_overrun_min", over, "minutes", None, 1, (seed,)),
    ]


def main(
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2; also the seed.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    speedup: Annotated[float, typer.Option(help="That is asked for.")] = 6.0,
    minutes: Annotated[float, typer.Option(help="The budget.")] = 30.0,
    work: Annotated[Path, typer.Option(help="Folder of the searches.")] = Path("runs/frontier"),
    teachers: Annotated[Path, typer.Option(help="Folder of the teachers.")] = Path("runs/teachers"),
) -> None:
    """Search on a fold with a budget, and write the piece."""
    try:
        settings: dict[str, Any] = {
            "teacher": str(teachers / f"{TEACHER}-{fold}" / "teacher"),
            "seed": fold,
            "speedup": speedup,
            "budget": 60 * minutes,
            "rounds": ROUNDS,
            "out": work / f"search-{fold}",
        }
        found = commands.run(CompressConfig(**settings))
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    told = {name: found[name] for name in ("recommended", "meets", "reason", "claim", "evidence", "seconds", "trials")}
    family = [{key: one[key] for key in ("name", "claim")} for one in found["family"]]
    figures = figures_of(found, speedup, minutes, fold)
    pieces.write(out, figures, **told, family=family, failures=found["failures"])
    typer.echo(found["claim"])
    for figure in figures:
        typer.echo(f"{figure.id}: {figure.value:.3f} {figure.unit}")


if __name__ == "__main__":
    typer.run(main)
