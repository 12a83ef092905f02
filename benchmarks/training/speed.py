"""Fine-tuning against a plain Trainer script: ``python -m lilliput.benchmarks.training.speed --out FILE.json``.

Both train the embedded checkpoint on the same texts in fresh processes, in turns, so that whatever else the machine
does slows both alike; the figure is the median ratio over the rounds. Faster counts only where the model is as good:
both are then trained in full, and answer the same test texts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lilliput import machine, statistics
from lilliput.benchmarks import pieces
from lilliput.benchmarks.worker import environment
from lilliput.errors import LilliputError
from lilliput.train import loop, precision

ID, UNIT = "train.speed_vs_trainer", "times"
OURS, PLAIN = "ours", "plain"


class Trainings:
    """Trainings in fresh processes, each with all cores and a folder of its own.

    Args:
        folder: where they work.
        options: given to every one (see :mod:`lilliput.benchmarks.training.trainers`).
    """

    def __init__(self, folder: Path, **options: int | None) -> None:
        self.folder = folder
        self.options = [f"--{name}={value}" for name, value in options.items() if value is not None]

    def __call__(self, who: str, what: str) -> dict[str, Any]:
        """What one training measured."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            out, work = Path(name) / "result.json", Path(name) / "work"
            module = [sys.executable, "-m", "lilliput.benchmarks.training.trainers", who, what]
            done = subprocess.run(
                [*module, f"--out={out}", f"--work={work}", *self.options],
                env={**os.environ, **environment(machine.usable_cores())},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise LilliputError(f"the {who} training failed: {done.stderr.strip()[-2000:]}")
            return json.loads(out.read_text(encoding="utf-8"))


def speeds(train: Callable[[str, str], dict[str, Any]], rounds: int) -> dict[str, list[float]]:
    """Texts per second of each training in each round; who goes first takes turns."""
    found: dict[str, list[float]] = {OURS: [], PLAIN: []}
    for number in range(rounds):
        for who in (OURS, PLAIN) if number % 2 == 0 else (PLAIN, OURS):
            measured = train(who, "speed")
            found[who].append(measured["texts"] / measured["seconds"])
            typer.echo(f"round {number + 1} of {rounds}: {who} {found[who][-1]:.1f} texts a second")
    return found


def figure_of(ratios: Sequence[float]) -> pieces.Figure:
    """The median of every round's ratio of speeds."""
    median = statistics.median_interval(ratios)
    return pieces.Figure(ID, median.value, UNIT, (median.low, median.high), len(ratios), (0,))


def accuracies(train: Callable[[str, str], dict[str, Any]]) -> dict[str, Any]:
    """Test accuracy of both, and their difference on the same texts."""
    hits = {who: np.array(train(who, "accuracy")["hits"]) for who in (OURS, PLAIN)}
    return {
        **{who: asdict(statistics.accuracy(some)) for who, some in hits.items()},
        "difference": asdict(statistics.difference(hits[OURS], hits[PLAIN])),
        "n": len(hits[OURS]),
    }


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figure goes.")],
    texts: Annotated[int, typer.Option(help="Training texts of a round.")] = 2000,
    rounds: Annotated[int, typer.Option(help="Rounds of both trainings.")] = 6,
    epochs: Annotated[int, typer.Option(help="Passes of the two full trainings, whose accuracy is compared.")] = 2,
    full_texts: Annotated[int | None, typer.Option(help="Training texts of these; all by default.")] = None,
    work: Annotated[Path, typer.Option(help="Folder of the trainings.")] = Path("runs"),
) -> None:
    """Measure both and write the piece, with the precision that training chose for this processor."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        found = speeds(Trainings(work, texts=texts, epochs=1), rounds)
        compared = accuracies(Trainings(work, texts=full_texts, epochs=epochs))
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    ratios = [ours / plain for ours, plain in zip(found[OURS], found[PLAIN], strict=True)]
    figure = figure_of(ratios)
    bf16 = precision.bf16_is_fast(loop.pick_device("auto"))
    accuracy = {"epochs": epochs, **compared}
    pieces.write(out, [figure], bf16=bf16, texts_per_second=found, ratios=ratios, accuracy=accuracy)
    difference = compared["difference"]
    typer.echo(
        f"{figure.value:.2f} times the speed; accuracy {compared[OURS]['value']:.4f} against "
        f"{compared[PLAIN]['value']:.4f}, difference {difference['low']:+.4f} to {difference['high']:+.4f}"
    )


if __name__ == "__main__":
    typer.run(main)
