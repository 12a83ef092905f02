"""The pruned models of one fold: ``python -m lilliput.benchmarks.pruning.models --fold 0 --out FILE.json``.

Every model is pruned, recovered where that belongs to it, and exported; its int8 graph answers every test text, one at
a time, on the path of an app, and so does the teacher's fp32 graph, which models are compared with, pair by pair.
Models that are there are not made again, and with ``--only`` the file keeps what it says of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lilliput import encoder, models, statistics
from lilliput.benchmarks import pieces
from lilliput.benchmarks.folds import BUNDLE, Labels, answers, chosen, kept
from lilliput.benchmarks.pruning.family import PACKED, PRUNED
from lilliput.benchmarks.pruning.folds import MATCH, Fold
from lilliput.benchmarks.pruning.rivals import RIVALS
from lilliput.errors import LilliputError

NAMES = (*PRUNED, *PACKED, *(name for rival in RIVALS for name in (rival, MATCH + rival)))


def measure(fold: Fold, names: Sequence[str]) -> dict[str, Any]:
    """What the piece says of a fold: the teacher, and the models named."""
    texts, gold = fold.dataset.test.texts, np.array(fold.dataset.test.labels)
    shape = encoder.shape_of(models.load_finetuned_classifier(fold.teacher()))
    theirs, size = answers(fold.teacher_bundle().folder / BUNDLE, "fp32", texts)
    return {
        "fold": fold.number,
        "n_test": len(texts),
        "teacher": {
            "fingerprint": models.fingerprint(fold.teacher()),
            "accuracy": asdict(statistics.accuracy(theirs == gold)),
            "bytes": size,
            "block": [shape.heads, shape.ffn],
        },
        "models": {name: _model(fold, name, gold, theirs) for name in names},
    }


def _model(fold: Fold, name: str, gold: Labels, theirs: Labels) -> dict[str, Any]:
    made = fold.model(name)
    settings = dict(PRUNED.get(name, PACKED.get(name, {})))
    return {"settings": settings, **fold.judged(name, made, gold, theirs), "blocks": fold.blocks(name)}


def main(
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2; also the seed.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    only: Annotated[str | None, typer.Option(help=f"Of {', '.join(NAMES)}; all by default.")] = None,
    work: Annotated[Path, typer.Option(help="Folder of the models.")] = Path("runs/prune"),
    teachers: Annotated[Path, typer.Option(help="Folder of the teachers.")] = Path("runs/teachers"),
) -> None:
    """Make and measure the models, or some of them, on one fold, and write the piece."""
    try:
        names = chosen(only, NAMES)
        with Fold(fold, work, teachers) as models_of_fold:
            before = kept(out, "models", models_of_fold) if only else {}
            found = measure(models_of_fold, names)
        every = {**before, **found["models"]}
        found["models"] = {name: every[name] for name in NAMES if name in every}
        pieces.write(out, [], **found)
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
