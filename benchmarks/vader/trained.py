"""Our models in a domain: ``python -m lilliput.benchmarks.vader.trained --domain tweets --out FILE.json``.

The sentences of a domain, duplicates removed, are classed as in :mod:`lilliput.benchmarks.vader.reproduce` and split
into the three folds of the embedded data, whose tests are disjoint. On each fold a teacher is fine-tuned from the
embedded checkpoint, pruned to a quarter of its latency and recovered, with the other domains' sentences outside the
test buckets as transfer text. The F1s are over the tests of all folds together, where VADER answers the same texts.

Models that ``--work`` holds already are not trained again. With ``--folds 0`` a fold can be done at a time: what the
file says of the others is kept, and the figures are of those that it has. ``--smoke`` goes through all of it on few
rows, and measures no figure.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from lilliput import models, runtime
from lilliput.benchmarks import commands, machine, pieces
from lilliput.benchmarks.pruning.family import PRUNED
from lilliput.benchmarks.vader import lexicon, paper, sentences
from lilliput.benchmarks.vader.sentences import Sentence
from lilliput.bundle import FORMAT
from lilliput.config import ExportConfig, FinetuneConfig, PruneConfig
from lilliput.errors import ConfigError, LilliputError
from lilliput.runs import Run, digest
from lilliput.train import embedded
from lilliput.train.data import bucket_of
from lilliput.train.sentiment import FOLDS

TEACHER: Mapping[str, Any] = {"consistency": 4.0}
STUDENT: Mapping[str, Any] = PRUNED["x4"]
"""Settings of `FinetuneConfig` and `PruneConfig` that differ from the defaults; the student is one of the family."""

SMOKE_ROWS = {"train": 96, "validation": 48, "test": 48}
SMOKE_TEACHER: Mapping[str, Any] = {"epochs": 1, "max_length": 32}
SMOKE_STUDENT: Mapping[str, Any] = {
    "flops": 0.5,
    "precision": "fp32",
    "recover": True,
    "epochs": 1,
    "calibration": 64,
    "max_length": 32,
}


def data_of(folder: Path, domain: str, fold: int, smoke: bool) -> tuple[dict[str, list[Sentence]], list[str]]:
    """Splits of a domain, and the transfer text: sentences of other domains that lie in no test bucket of the fold."""
    splits = sentences.splits_of(sentences.without_duplicates(sentences.read(folder, domain)), fold)
    own = {row.key for rows in splits.values() for row in rows}
    others = [row for name in paper.DOMAINS if name != domain for row in sentences.read(folder, name)]
    tests = range(3 * fold, 3 * fold + 3)
    transfer = [
        row.text
        for row in sentences.without_duplicates(others)
        if row.key not in own and bucket_of(row.key) not in tests
    ]
    if not smoke:
        return splits, transfer
    return {name: _some(rows, SMOKE_ROWS[name]) for name, rows in splits.items()}, transfer[:100]


def _some(rows: list[Sentence], count: int) -> list[Sentence]:
    """So many rows, with every class among them."""
    gold, drawn = sentences.gold_of(rows), random.Random(0).sample(range(len(rows)), min(count, len(rows)))
    first = [int(np.flatnonzero(gold == index)[0]) for index in range(len(paper.CLASSES)) if (gold == index).any()]
    return [rows[index] for index in dict.fromkeys([*first, *drawn])]


def fold_of(run: Run, domain: str, fold: int, smoke: bool) -> dict[str, Any]:
    """Train on one fold, and answer its test: class indices ``gold``, ``teacher``, ``student`` and ``vader``."""
    splits, transfer = data_of(embedded.fetch_sentiment(), domain, fold, smoke)
    data = sentences.write(splits, transfer, run.folder.absolute() / "data")
    texts, rows = (
        [row.text for row in splits["test"]],
        digest([[row.text, row.rating] for part in splits.values() for row in part]),
    )
    teacher_settings = SMOKE_TEACHER if smoke else TEACHER
    student_settings = SMOKE_STUDENT if smoke else STUDENT

    def finetuned(folder: Path) -> dict[str, Any]:
        config = FinetuneConfig(data=str(data), seed=fold, out=folder / "run", **teacher_settings)
        return {"folder": str(Path(commands.run(config)["folder"]).relative_to(folder))}

    teacher = run.stage("teacher", {"rows": rows, "settings": dict(teacher_settings)}, finetuned)
    model = teacher.folder / teacher.result["folder"]

    def pruned(folder: Path) -> dict[str, Any]:
        config = PruneConfig(
            model=str(model.absolute()), data=str(data), seed=fold, out=folder / "run", **student_settings
        )
        return {"folder": str(Path(commands.run(config)["folder"]).relative_to(folder))}

    student = run.stage("student", {"rows": rows, "settings": dict(student_settings)}, pruned, [teacher])
    found = {"gold": sentences.gold_of(splits["test"]).tolist()}
    found["teacher"] = _answers(run, "teacher", model, data, texts, fold, ("fp32",))
    found["student"] = _answers(run, "student", student.folder / student.result["folder"], data, texts, fold)
    with tempfile.TemporaryDirectory() as where:
        found["vader"] = paper.classes_of(lexicon.compounds(texts, Path(where))).tolist()
    return {
        "fold": fold,
        "n_test": len(texts),
        "n_train": len(splits["train"]),
        "rows": rows,
        "commit": machine.commit(),
        "answers": found,
    }


def _answers(
    run: Run, name: str, model: Path, data: Path, texts: Sequence[str], fold: int, only: tuple[str, ...] = ()
) -> list[int]:
    """Classes from a bundle, on the path of an app; int8 where its gate lets it pass, else fp32."""

    def exported(folder: Path) -> dict[str, Any]:
        settings = {"model": str(model.absolute()), "data": str(data), "seed": fold, "out": folder / "bundle"}
        wanted = only or ("fp32", "int8")
        try:
            commands.run(ExportConfig(**settings, precisions=wanted))
        except LilliputError:
            if "int8" not in wanted:
                raise
            wanted = ("fp32",)
            commands.run(ExportConfig(**settings, precisions=wanted))
        return {"precision": wanted[-1]}

    made = run.stage(f"{name}-bundle", {"model": models.fingerprint(model), "format": FORMAT, "only": only}, exported)
    bundle = runtime.load(made.folder / "bundle", precision=made.result["precision"])
    places = [paper.CLASSES.index(label) for label in bundle.labels]
    return [places[index] for index in bundle.logits(list(texts)).argmax(axis=1)]


def kept(out: Path, domain: str, smoke: bool, measured: Collection[int]) -> list[dict[str, Any]]:
    """The folds of the piece at ``out``, but for those that are measured now; none where there is no piece.

    Raises:
        ConfigError: it is no piece of this command, or of another domain or other settings.
    """
    if not out.exists():
        return []
    try:
        earlier = json.loads(out.read_text(encoding="utf-8"))
        same = all(earlier[name] == value for name, value in _conditions(domain, smoke).items())
        folds = [dict(fold) for fold in earlier["folds"] if fold["fold"] not in measured]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"--out {out}: no piece of this command; give another file") from None
    if not same:
        raise ConfigError(f"--out {out}: measured in another domain or with other settings; delete it, or give another")
    return folds


def _conditions(domain: str, smoke: bool) -> dict[str, Any]:
    """What all folds of a piece have in common."""
    return {"domain": domain, "smoke": smoke, "settings": {"teacher": dict(TEACHER), "student": dict(STUDENT)}}


def scores_of(folds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of teacher, student and VADER: F1s over all tests together, with intervals."""
    gold = _joined(folds, "gold")
    made = {}
    for name in ("teacher", "student", "vader"):
        found = _joined(folds, name)
        intervals = {f"{way}_interval": asdict(paper.jackknifed(gold, found, way)) for way in ("weighted", "macro")}
        made[name] = {"n": len(gold), **paper.f1_of(gold, found), **intervals}
    return made


def _joined(folds: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.int64]:
    return np.concatenate([np.array(fold["answers"][name], dtype=np.int64) for fold in folds])


def figures_of(scores: Mapping[str, Mapping[str, Any]], domain: str, seeds: Sequence[int]) -> list[pieces.Figure]:
    """The weighted F1s, as in the paper."""
    found = []
    for name in ("teacher", "student"):
        row, interval = scores[name], scores[name]["weighted_interval"]
        ends = (interval["low"], interval["high"])
        found.append(pieces.Figure(f"vader.{name}_{domain}_f1", row["weighted"], "F1", ends, row["n"], seeds))
    return found


def main(
    domain: Annotated[str, typer.Option(help=f"One of {', '.join(paper.DOMAINS)}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    folds: Annotated[str, typer.Option(help="Of the data, separated by commas.")] = "0,1,2",
    work: Annotated[Path, typer.Option(help="Folder of the models.")] = Path("runs/vader"),
    smoke: Annotated[
        bool, typer.Option(help="Few rows and few steps: does it run? The figures count for nothing.")
    ] = False,
) -> None:
    """Train what is not there yet, answer, and write the piece."""
    try:
        numbers = _numbers(folds)
        made = kept(out, domain, smoke, numbers)
        for fold in numbers:
            kind = "smoke" if smoke else "fold"
            with Run(work / f"{domain}-{kind}-{fold}", "vader") as run:
                made.append(fold_of(run, domain, fold, smoke))
            typer.echo(f"{domain}, fold {fold}: {made[-1]['n_test']} test texts")
        made.sort(key=lambda one: int(one["fold"]))
        scores = scores_of(made)
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    figures = [] if smoke else figures_of(scores, domain, [one["fold"] for one in made])
    pieces.write(out, figures, **_conditions(domain, smoke), scores=scores, folds=made)
    for name, row in scores.items():
        typer.echo(f"{domain} {name}: weighted F1 {row['weighted']:.3f}, macro {row['macro']:.3f}")


def _numbers(folds: str) -> list[int]:
    try:
        numbers = sorted({int(fold) for fold in folds.split(",")})
    except ValueError:
        raise ConfigError(f"--folds {folds}: expected numbers separated by commas") from None
    if not set(numbers) <= set(range(FOLDS)):
        raise ConfigError(f"--folds {folds}: expected some of {', '.join(map(str, range(FOLDS)))}")
    return numbers


if __name__ == "__main__":
    typer.run(main)
