"""What each choice is worth: ``python -m lilliput.benchmarks.distillation.ablation --fold 0 --out FILE.json``.

Variants of the 2-layer student differ in one thing from a base. They are screened on validation: its accuracy, and how
often a student says there what the teacher says. What the test has to say, the difference to the base on the same
texts, is reported, and nothing is chosen by it. The file keeps what was measured before, so that the variants can be
measured in several commands, and the best of them on other folds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from lilliput import classifier_head, models, statistics
from lilliput.benchmarks import machine, pieces
from lilliput.benchmarks.distillation.family import flags
from lilliput.benchmarks.distillation.folds import Fold
from lilliput.benchmarks.folds import TEACHER
from lilliput.benchmarks.pairs import Pairs
from lilliput.errors import ConfigError, LilliputError
from lilliput.runs import Stage
from lilliput.train.data import Split
from lilliput.train.evaluate import logits_of

BASE = "base"
EPOCHS = 3
SETTINGS: Mapping[str, Any] = {"student": "layers=2", "augment": 1, "learning_rate": 3e-4}
"""Of the base, where they differ from the defaults of distillation."""


@dataclass(frozen=True)
class Variant:
    """What differs from the base.

    Attributes:
        changes: settings of `DistillConfig`; ``initial_model`` names a member of the family.
        transfer: whether the unlabelled texts are read.
        teachers: variants of :mod:`lilliput.benchmarks.training.teachers`.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    transfer: bool = True
    teachers: tuple[str, ...] = (TEACHER,)


def _with(*terms: str, **changes: Any) -> dict[str, Any]:
    return {"objective": ("logit-mse", *terms), **changes}


VARIANTS: Mapping[str, Variant] = {
    BASE: Variant(),
    "soft-targets": Variant({"objective": ("soft-targets",), "temperature": 2.0}),
    "decoupled": Variant({"objective": ("decoupled",), "temperature": 2.0}),
    "hidden-states": Variant(_with("hidden-states=0.1")),
    "hidden-states-skip": Variant(_with("hidden-states=0.1", mapping="skip")),
    "hidden-states-learned": Variant(_with("hidden-states=0.1", mapping="learned")),
    "relations": Variant(_with("relations=0.1")),
    "attention-maps": Variant(_with("attention-maps=0.1")),
    "minilm-first": Variant({"stage": ("minilm,epochs=1",), "mapping": "skip"}),
    "copied": Variant({"reconstruct": False}),
    "skip-layers": Variant({"initial_layers": (2, 5)}),
    "last-layers": Variant({"initial_layers": (4, 5)}),
    "from-l3": Variant({"initial_model": "l3"}),
    "train-embeddings": Variant({"train_embeddings": True}),
    "no-transfer": Variant(transfer=False),
    "augment-0": Variant({"augment": 0}),
    "augment-2": Variant({"augment": 2}),
    "online": Variant({"augment": 0, "augment_online": 0.5}),
    "dropout": Variant({"dropout": 0.1}),
    "hard-labels": Variant({"hard_label_weight": 0.3}),
    "two-teachers": Variant(teachers=(TEACHER, "base")),
}


def stage_of(fold: Fold, name: str, epochs: int) -> Stage:
    """The student of a variant, distilled if it is not there."""
    variant = VARIANTS[name]
    dataset = None if variant.transfer else fold.dataset.subset(transfer=0)
    settings = {**SETTINGS, **variant.changes, "epochs": epochs}
    return fold.distil(f"ablation-{name}", settings, dataset, variant.teachers)


class Answers:
    """What models say of a fold's validation and test texts: in torch, in float32."""

    def __init__(self, fold: Fold) -> None:
        self.dataset = fold.dataset
        self.teacher = self._labels(fold.teacher(), self.dataset.validation)
        self.gold = np.array(self.dataset.test.labels)

    def of(self, student: Path) -> tuple[float, NDArray[np.bool_]]:
        """How often a student says on validation what the teacher says; where it is right on the test, bool ``[n]``."""
        agreement = statistics.agreement(self._labels(student, self.dataset.validation), self.teacher)
        return agreement, self._labels(student, self.dataset.test) == self.gold

    def _labels(self, folder: Path, split: Split) -> NDArray[np.int64]:
        tokenizer, model = models.load_tokenizer(folder), models.load_finetuned_classifier(folder)
        classifier_head.reorder_labels(model, models.match_labels(model, self.dataset.label_names, str(folder)))
        length = models.noted(model).get("max_length") or tokenizer.model_max_length
        return logits_of(model, tokenizer, split.texts, length).argmax(axis=1)


def measure(fold: Fold, names: Sequence[str], epochs: int) -> dict[str, Any]:
    """A row for each variant, in which it is compared with the base; the base comes first, and is always there."""
    answers, rows = Answers(fold), {}
    base: NDArray[np.bool_] | None = None
    for name in [BASE, *(name for name in names if name != BASE)]:
        stage = stage_of(fold, name, epochs)
        agreement, hits = answers.of(stage.folder)
        base = hits if base is None else base
        pairs = Pairs.of(hits, base)
        rows[name] = {
            "texts": stage.result["texts"],
            "validation": stage.result["validation"]["accuracy"],
            "agreement": agreement,
            "pairs": asdict(pairs),
            "difference": asdict(statistics.difference(*pairs.flags())),
            "seconds": stage.seconds,
            "commit": machine.commit(),
        }
        typer.echo(f"{name}: validation {rows[name]['validation']:.4f}, agreement {agreement:.4f}")
    return rows


def kept(out: Path, base: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows by fold and variant of the piece that lies at ``out``; none where there is none.

    Raises:
        ConfigError: it is no piece of this command, or its base has other settings than ``base``.
    """
    if not out.exists():
        return {}
    try:
        piece = json.loads(out.read_text(encoding="utf-8"))
        folds, earlier = dict(piece["folds"]), dict(piece["base"])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"--out {out}: no piece of this command; give another file") from None
    if earlier != base:
        raise ConfigError(f"--out {out}: measured with another base ({flags(earlier)}); give another file")
    return folds


def table(folds: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The variants as a Markdown table: means over the folds on validation, and the test pooled over them."""
    lines = [
        "| variant | what differs | folds | validation | agreement | test, difference to the base | minutes |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, variant in VARIANTS.items():
        there = {number: rows[name] for number, rows in sorted(folds.items()) if name in rows}
        if not there:
            continue
        validation, agreement, seconds = (
            float(np.mean([row[what] for row in there.values()])) for what in ("validation", "agreement", "seconds")
        )
        cells = (
            name,
            _differs(variant),
            ", ".join(there),
            f"{validation:.2%}",
            f"{agreement:.2%}",
            "" if name == BASE else _difference([row["pairs"] for row in there.values()]),
            f"{seconds / 60:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _differs(variant: Variant) -> str:
    parts = [f"`{flags(variant.changes)}`"] if variant.changes else []
    parts += [] if variant.transfer else ["without the unlabelled texts"]
    parts += [f"teachers {' and '.join(variant.teachers)}"] if len(variant.teachers) > 1 else []
    return ", ".join(parts)


def _difference(counts: Iterable[Mapping[str, int]]) -> str:
    pairs = reduce(add, map(Pairs.read, counts))
    seen = statistics.difference(*pairs.flags())
    return f"{100 * seen.value:+.2f} ({100 * seen.low:+.2f} to {100 * seen.high:+.2f}) points"


def main(
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2; also the seed.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes; what is there is kept.")],
    variants: Annotated[str | None, typer.Option(help=f"Of {', '.join(VARIANTS)}; all by default.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the texts, the same for every variant.")] = EPOCHS,
    work: Annotated[Path, typer.Option(help="Folder of the students.")] = Path("runs/distill"),
    teachers: Annotated[Path, typer.Option(help="Folder of the teachers.")] = Path("runs/teachers"),
) -> None:
    """Measure variants on one fold, and write the piece."""
    base = {**SETTINGS, "epochs": epochs}
    try:
        names = list(VARIANTS) if variants is None else variants.split(",")
        if unknown := [name for name in names if name not in VARIANTS]:
            raise ConfigError(f"--variants: {unknown[0]!r} is unknown; known are {', '.join(VARIANTS)}")
        folds = kept(out, base)
        with Fold(fold, work, teachers) as models_of_fold:
            rows = measure(models_of_fold, names, epochs)
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    folds[str(fold)] = {**folds.get(str(fold), {}), **rows}
    pieces.write(out, [], base=base, folds=folds)


if __name__ == "__main__":
    typer.run(main)
