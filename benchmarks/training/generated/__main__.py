"""``python -m lilliput.benchmarks.training.generated ner|qa|relation --out FILE.json``: generate, fine-tune, measure.

The embedded model is fine-tuned on the generated training set, its best weights are chosen on the generated validation
set, and the figure is the task's metric on the test set, with its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet
import typer
from sklearn.metrics import f1_score

from lilliput import tasks
from lilliput.benchmarks import pieces
from lilliput.benchmarks.training.generated import ner, qa, relations, sentences
from lilliput.benchmarks.training.generated.sentences import Part
from lilliput.config import FinetuneConfig
from lilliput.errors import LilliputError
from lilliput.statistics import jackknife
from lilliput.train import finetune
from lilliput.train.evaluation import PREDICTIONS


@dataclass(frozen=True)
class Measurement:
    """A figure: which data, which task, and the settings of fine-tuning that differ from the usual ones."""

    figure: str
    task: str
    generate: Callable[[int], dict[str, Part]]
    settings: dict[str, Any] = field(default_factory=dict)


MEASUREMENTS = {
    "ner": Measurement("train.ner_f1", "token-classification", ner.generate, {"epochs": 3, "max_length": 96}),
    "qa": Measurement(
        "train.qa_f1",
        "question-answering",
        qa.generate,
        {"epochs": 3, "learning_rate": 1e-4, "batch_size": 16, "max_length": 192},
    ),
    "relation": Measurement(
        "train.relation_f1",
        "relation-extraction",
        relations.generate,
        {"epochs": 6, "learning_rate": 5e-5, "batch_size": 16},
    ),
}


def measure(chosen: Measurement, seed: int, work: Path, **changes: Any) -> dict[str, Any]:
    """Write the data to ``work/data``, fine-tune on them, and return the result of fine-tuning."""
    sentences.write(work / "data", chosen.generate(seed))
    settings = {"learning_rate": 3e-4, "batch_size": 32, **chosen.settings, **changes}
    return finetune(FinetuneConfig(task=chosen.task, data=str(work / "data"), seed=seed, out=work / "run", **settings))


def scored(chosen: Measurement, result: dict[str, Any]) -> tuple[float, Sequence[float] | None]:
    """The task's metric on the test set and its 95% interval.

    The evaluation has them, but for a mean over labels: it measures the share of right answers instead, as it must on
    the rows of one label.
    """
    evaluation, metric = result["evaluation"], tasks.get(chosen.task).metric
    if evaluation["metric"] == metric:
        return evaluation["score"], evaluation["ci"]
    table = pyarrow.parquet.read_table(Path(result["folder"]) / PREDICTIONS)
    gold, found = (np.array(table[name].to_pylist()) for name in ("gold", "prediction"))
    names = [one["label"] for one in evaluation["labels"]]

    def macro_f1(rows: Sequence[int]) -> float:
        some = list(rows)
        return float(f1_score(gold[some], found[some], labels=names, average="macro", zero_division=0))

    whole = jackknife(macro_f1, range(len(gold)))
    return whole.value, (whole.low, whole.high)


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
    value, ci = scored(chosen, result)
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
