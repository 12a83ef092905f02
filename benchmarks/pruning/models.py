"""The pruned models of one fold: ``python -m lilliput.benchmarks.pruning.models --fold 0 --out FILE.json``.

Every model is pruned, recovered where that belongs to it, and exported; its int8 graph answers every test text, one at
a time, on the path of an app, and so does the teacher's fp32 graph, which models are compared with, pair by pair.
Models that are there are not made again, and with ``--only`` the file keeps what it says of the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from lilliput import encoder, models, runtime, statistics
from lilliput.benchmarks import machine, pieces
from lilliput.benchmarks.folds import BUNDLE, chosen
from lilliput.benchmarks.pairs import Pairs
from lilliput.benchmarks.pruning.family import PACKED, PRUNED
from lilliput.benchmarks.pruning.folds import MATCH, Fold
from lilliput.benchmarks.pruning.rivals import RIVALS
from lilliput.errors import ConfigError, LilliputError

NAMES = (*PRUNED, *PACKED, *(name for rival in RIVALS for name in (rival, MATCH + rival)))

Labels = NDArray[np.int64]


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
    made, bundle = fold.model(name), fold.bundle(name)
    precision = bundle.result["precisions"][-1]
    ours, size = answers(bundle.folder / BUNDLE, precision, fold.dataset.test.texts)
    seen = {
        "settings": dict(PRUNED.get(name, PACKED.get(name, {}))),
        "precision": precision,
        "refused": bundle.result["refused"],
        "pairs": asdict(Pairs.of(ours == gold, theirs == gold)),
        "right": _packed(ours == gold),
        "accuracy": asdict(statistics.accuracy(ours == gold)),
        "agreement": statistics.agreement(ours, theirs),
        "seconds": made.seconds,
        "parameters": made.result["parameters"],
        "bytes": size,
        "validation": made.result["validation"]["accuracy"],
        "blocks": fold.blocks(name),
        "commit": machine.commit(),
    }
    typer.echo(f"{name}: {precision} {seen['accuracy']['value']:.4f}, agreement {seen['agreement']:.4f}")
    return seen


def answers(bundle: Path, precision: str, texts: list[str]) -> tuple[Labels, int]:
    """The label of every text, and the bytes of what was loaded."""
    model = runtime.load(bundle, precision=precision)
    return model.logits(texts).argmax(axis=1), model.opened_bytes


def _packed(flags: NDArray[np.bool_]) -> str:
    """Flags as hexadecimal digits, four a digit, so that two models of one fold can be paired afterwards."""
    return np.packbits(flags).tobytes().hex()


def unpacked(digits: str, count: int) -> NDArray[np.bool_]:
    """What `_packed` packed: ``[count]``."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8))[:count].astype(bool)


def kept(out: Path, fold: Fold) -> dict[str, Any]:
    """Models of the piece that lies at ``out``; none where there is none.

    Raises:
        ConfigError: it is no piece of this fold and its teacher.
    """
    if not out.exists():
        return {}
    try:
        earlier = json.loads(out.read_text(encoding="utf-8"))
        same = (earlier["fold"], earlier["teacher"]["fingerprint"])
        found = dict(earlier["models"])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"--out {out}: no piece of this command; give another file") from None
    if same != (fold.number, models.fingerprint(fold.teacher())):
        raise ConfigError(f"--out {out}: measured on another fold or with another teacher; delete it, or measure all")
    return found


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
            before = kept(out, models_of_fold) if only else {}
            found = measure(models_of_fold, names)
        every = {**before, **found["models"]}
        found["models"] = {name: every[name] for name in NAMES if name in every}
        pieces.write(out, [], **found)
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
