"""The family on one fold: ``python -m lilliput.benchmarks.distillation.students --fold 0 --out FILE.json``.

Every student is distilled and exported, and its int8 graph answers every test text, one at a time, on the path of an
app; so does the teacher's fp32 graph, which students are compared with, pair by pair. Students that are there are not
made again, and with ``--only`` the file keeps what it says of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lilliput import models, statistics
from lilliput.benchmarks import pieces
from lilliput.benchmarks.distillation.family import FAMILY
from lilliput.benchmarks.distillation.folds import Fold
from lilliput.benchmarks.folds import BUNDLE, TEACHER, Labels, answers, chosen, kept
from lilliput.errors import LilliputError


def measure(fold: Fold, names: Sequence[str]) -> dict[str, Any]:
    """What the piece says of a fold: the teacher, and the students named."""
    texts, gold = fold.dataset.test.texts, np.array(fold.dataset.test.labels)
    theirs, _ = answers(fold.teacher_bundle().folder / BUNDLE, "fp32", texts)
    return {
        "fold": fold.number,
        "n_test": len(texts),
        "teacher": {
            "variant": TEACHER,
            "fingerprint": models.fingerprint(fold.teacher()),
            "accuracy": asdict(statistics.accuracy(theirs == gold)),
        },
        "students": {name: _student(fold, name, gold, theirs) for name in names},
    }


def _student(fold: Fold, name: str, gold: Labels, theirs: Labels) -> dict[str, Any]:
    student = fold.student(name)
    return {
        "settings": dict(FAMILY[name]),
        **fold.judged(name, student, gold, theirs),
        "texts": student.result["texts"],
        "fidelity": fidelity(student.result["fidelity"]),
    }


def fidelity(found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a stage's ``fidelity`` that the piece keeps; student and teacher are torch models there."""

    def both(part: Mapping[str, Any]) -> dict[str, Any]:
        return {name: part.get(name) for name in ("agreement", "probability_loyalty")}

    calibration = found["calibration"] or {}
    return {
        **both(found),
        "ece": {who: figures["ece"] for who, figures in calibration.items()},
        "out_of_domain": {name: {"n": part["n"], **both(part)} for name, part in found["out_of_domain"].items()},
    }


def main(
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2; also the seed.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    only: Annotated[str | None, typer.Option(help=f"Of {', '.join(FAMILY)}; all by default.")] = None,
    work: Annotated[Path, typer.Option(help="Folder of the students.")] = Path("runs/distill"),
    teachers: Annotated[Path, typer.Option(help="Folder of the teachers.")] = Path("runs/teachers"),
) -> None:
    """Make and measure the family, or some of it, on one fold, and write the piece."""
    try:
        names = chosen(only, FAMILY)
        with Fold(fold, work, teachers) as models_of_fold:
            before = kept(out, "students", models_of_fold) if only else {}
            found = measure(models_of_fold, names)
        students = {**before, **found["students"]}
        found["students"] = {name: students[name] for name in FAMILY if name in students}
        pieces.write(out, [], **found)
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
