"""``python -m lilliput.benchmarks.training.generated ner|qa|relation --out FILE.json``: generate, fine-tune, measure.

The embedded model is fine-tuned on the generated training set, its best weights are chosen on the generated validation
set, and the figure is that of the test set, with the evaluation's own interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput.benchmarks import pieces
from lilliput.benchmarks.training.generated import ner, qa, relations, sentences
from lilliput.benchmarks.training.generated.sentences import Part
from lilliput.config import FinetuneConfig
from lilliput.errors import LilliputError
from lilliput.train import finetune


@dataclass(frozen=True)
class Measurement:
    """A figure: which data, which task, and the settings of fine-tuning that differ from the usual ones."""

    figure: str
    task: str
    generate: Callable[[int], dict[str, Part]]
    settings: dict[str, Any] = field(default_factory=dict)


MEASUREMENTS = {
    "ner": Measurement("train.ner_f1", "token-classification", ner.generate, {"epochs": 3, "max_length": 96}),
    "qa": Measurement("train.qa_f1", "question-answering", qa.generate, {"epochs": 4, "max_length": 192}),
    "relation": Measurement(
        "train.relation_f1",
        "relation-extraction",
        relations.generate,
        {"epochs": 6, "learning_rate": 2e-4, "batch_size": 16},
    ),
}


def measure(chosen: Measurement, seed: int, work: Path, **changes: Any) -> dict[str, Any]:
    """Write the data to ``work/data``, fine-tune on them, and return the result of fine-tuning."""
    sentences.write(work / "data", chosen.generate(seed))
    settings = {"learning_rate": 3e-4, "batch_size": 32, **chosen.settings, **changes}
    return finetune(FinetuneConfig(task=chosen.task, data=str(work / "data"), seed=seed, out=work / "run", **settings))


def main(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(MEASUREMENTS)}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figure goes.")],
    work: Annotated[Path, typer.Option(help="Folder of the data and the model.")] = Path("runs/generated"),
    seed: Annotated[int, typer.Option(help="Of the data and of training.")] = 0,
) -> None:
    """Measure one of the three tasks and write the piece."""
    if name not in MEASUREMENTS:
        typer.echo(f"error: {name}: expected one of {', '.join(MEASUREMENTS)}", err=True)
        raise typer.Exit(2)
    chosen = MEASUREMENTS[name]
    try:
        result = measure(chosen, seed, work / f"{name}-{seed}")
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    value, ci = result["evaluation"]["score"], result["evaluation"]["ci"]
    pieces.write(
        out,
        [pieces.Figure(chosen.figure, value, "share", ci, n=result["n_test"], seeds=(seed,))],
        task=chosen.task,
        test=result["test"],
        validation=result["validation"],
    )
    typer.echo(f"{chosen.figure}: {value:.4f} on {result['n_test']:,} rows")


app = typer.Typer()
app.command()(main)

if __name__ == "__main__":
    app()
