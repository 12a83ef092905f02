"""Teachers of the embedded film reviews: ``python -m lilliput.benchmarks.training.teachers --out FILE.json``.

Every variant of fine-tuning is trained on each of the three folds, whose test sets are disjoint, with the fold's number
as its seed. The variant that is best on validation gives the headline; the test differences to the first variant are
paired by sentence. With ``--folds 0`` variants are screened on one fold, which gives differences but no headline.
Models that ``--work`` holds already are not trained again, so the command may be interrupted, and run with more
variants later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet
import typer

from lilliput import statistics
from lilliput.benchmarks import pieces
from lilliput.benchmarks.training.corpus import films, others, write_corpus
from lilliput.config import FinetuneConfig, PretrainConfig
from lilliput.errors import ConfigError, LilliputError
from lilliput.train import finetune, pretrain
from lilliput.train.sentiment import FOLDS

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "base": {},
    "r-drop": {"consistency": 4.0},
    "layer-decay": {"layer_decay": 0.9},
    "adapted": {"model": "adapted"},
}
"""What differs from the defaults of fine-tuning; "adapted" starts from a model that has read the fold's text."""


def train(variant: str, fold: int, work: Path) -> dict[str, Any]:
    """Train one teacher, or find it trained; its scores and, sentence by sentence, whether it was right."""
    settings = dict(VARIANTS[variant])
    if settings.get("model") == "adapted":
        settings["model"] = _adapted(fold, work)
    result = finetune(FinetuneConfig(seed=fold, out=work / f"{variant}-{fold}", **settings))
    answers = pyarrow.parquet.read_table(Path(result["folder"]) / "predictions.parquet").to_pydict()
    hits = np.equal(answers["gold"], answers["prediction"])
    return {
        "fold": fold,
        "validation": result["validation"]["accuracy"],
        "test": result["test"]["accuracy"],
        "hits": hits,
    }


def _adapted(fold: int, work: Path) -> str:
    """The embedded checkpoint after two passes over the fold's text, test sentences aside."""
    corpus = write_corpus(work / f"corpus-{fold}.txt", [*films(fold), *others(fold)])
    settings = {"model": "embedded", "epochs": 2, "learning_rate": 2e-4, "batch_size": 16, "seed": fold}
    return str(
        pretrain(PretrainConfig(corpus=(str(corpus),), out=work / f"adapted-model-{fold}", **settings))["folder"]
    )


def compare(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Every variant's scores over the folds, and its difference to the first one on the same sentences."""
    reference = np.concatenate([one["hits"] for one in next(iter(found.values()))])
    table = {}
    for variant, folds in found.items():
        hits = np.concatenate([one["hits"] for one in folds])
        table[variant] = {
            "validation": float(np.mean([one["validation"] for one in folds])),
            "test": float(np.mean([one["test"] for one in folds])),
            "test_by_fold": [one["test"] for one in folds],
            "pooled": asdict(statistics.accuracy(hits)),
            "difference": asdict(statistics.difference(hits, reference)),
        }
    return table


def _numbers(folds: str) -> list[int]:
    """The folds that ``--folds`` names, rising.

    Raises:
        ConfigError: it names something else, or one twice.
    """
    found = folds.split(",")
    if not set(found) <= {str(fold) for fold in range(FOLDS)} or len(set(found)) < len(found):
        raise ConfigError(f"--folds {folds}: give some of 0 to {FOLDS - 1}, by commas, such as 0 or 0,1,2")
    return sorted(map(int, found))


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figure goes.")],
    variants: Annotated[str, typer.Option(help=f"Of {', '.join(VARIANTS)}; the first is what others differ from.")] = (
        "base,r-drop"
    ),
    folds: Annotated[
        str, typer.Option(help="Of the embedded data, 0 to 2; without all of them there is no headline.")
    ] = ("0,1,2"),
    work: Annotated[Path, typer.Option(help="Folder of the models.")] = Path("runs/teachers"),
) -> None:
    """Train every variant on every fold and write the piece."""
    try:
        names = variants.split(",")
        if unknown := set(names) - VARIANTS.keys():
            raise ConfigError(f"--variants: {sorted(unknown)[0]!r} is unknown; known are {', '.join(VARIANTS)}")
        numbers = _numbers(folds)
        found = {variant: [train(variant, fold, work) for fold in numbers] for variant in names}
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    table = compare(found)
    best = max(names, key=lambda variant: table[variant]["validation"])
    interval = tuple(table[best]["pooled"][end] for end in ("low", "high"))
    count = sum(len(one["hits"]) for one in found[best])
    figure = pieces.Figure("train.teacher_accuracy_mean", table[best]["test"], "share", interval, count, numbers)
    complete = len(numbers) == FOLDS
    pieces.write(out, [figure] if complete else [], headline=best, folds=numbers, variants=table)
    for variant, row in table.items():
        typer.echo(f"{variant}: test {row['test']:.4f}, validation {row['validation']:.4f}, {row['difference']}")


if __name__ == "__main__":
    typer.run(main)
