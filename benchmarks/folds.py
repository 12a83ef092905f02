"""The models of one fold of the embedded data: a teacher, what is made of it, and bundles; each is made once.

All lie in one run folder. So students share what the teacher says of the texts, and a command that was interrupted, or
asks for more models, makes only what is not there yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray

from lilliput import models, runtime, statistics
from lilliput.benchmarks import commands, entries, machine
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.evidence import packed
from lilliput.benchmarks.pairs import Pairs
from lilliput.benchmarks.peers import plain_onnx_int8
from lilliput.benchmarks.training import teachers
from lilliput.bundle import FORMAT, Bundle
from lilliput.config import DataConfig, ExportConfig
from lilliput.errors import ConfigError, LilliputError
from lilliput.runs import Run, Stage
from lilliput.train import sources
from lilliput.train.data import Dataset
from lilliput.train.sentiment import FOLDS

Labels = NDArray[np.int64]

TEACHER = "r-drop"
"""Of the variants of :mod:`lilliput.benchmarks.training.teachers`."""

BUNDLE = "bundle"
"""Folder of a bundle in its stage."""


def chosen(only: str | None, known: Iterable[str]) -> list[str]:
    """The models that ``--only`` names, of those that are known; all by default.

    Raises:
        ConfigError: there is no such model.
    """
    names = list(known)
    wanted = names if only is None else only.split(",")
    if unknown := [name for name in wanted if name not in names]:
        raise ConfigError(f"--only: {unknown[0]!r} is unknown; known are {', '.join(names)}")
    return wanted


def answers(bundle: Path, precision: str, texts: list[str]) -> tuple[Labels, int]:
    """The label of every text, answered one at a time on the path of an app, and the bytes of what was loaded."""
    model = runtime.load(bundle, precision=precision)
    return model.logits(texts).argmax(axis=1), model.opened_bytes


def kept(out: Path, part: str, fold: ModelsOfFold) -> dict[str, Any]:
    """What the piece that lies at ``out`` says of models, under the name ``part``; nothing where there is none.

    Raises:
        ConfigError: it is no piece of that kind, of this fold and its teacher.
    """
    if not out.exists():
        return {}
    try:
        earlier = json.loads(out.read_text(encoding="utf-8"))
        same = (earlier["fold"], earlier["teacher"]["fingerprint"])
        found = dict(earlier[part])
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"--out {out}: no piece of this command; give another file") from None
    if same != (fold.number, models.fingerprint(fold.teacher())):
        raise ConfigError(f"--out {out}: measured on another fold or with another teacher; delete it, or measure all")
    return found


class ModelsOfFold:
    """One fold, its teacher and bundles; a context manager, which holds the run folder.

    Args:
        number: of the fold, also the seed of every training.
        work: folder of the runs, ``fold-0`` and so on.
        teachers: folder of the teachers, which other measurements share.
        kind: of the run.
        settings: what else every training and export is given.
    """

    def __init__(self, number: int, work: Path, teachers: Path, kind: str, **settings: Any) -> None:
        if number not in range(FOLDS):
            raise ConfigError(f"--fold {number}: expected one of {', '.join(map(str, range(FOLDS)))}")
        self.number = number
        self.settings = {"seed": number, **settings}
        self.dataset: Dataset = sources.load(DataConfig(**self._of(DataConfig)))
        self.run = Run(work / f"fold-{number}", kind)
        self._teachers = teachers
        self._folders: dict[str, Path] = {}

    def __enter__(self) -> Any:
        self.run.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.run.__exit__()

    def teacher(self, variant: str = TEACHER) -> Path:
        """The folder of a teacher, trained if it is not there."""
        if variant not in self._folders:
            teachers.train(variant, self.number, self._teachers)
            self._folders[variant] = self._teachers / f"{variant}-{self.number}" / "teacher"
        return self._folders[variant]

    def teacher_bundle(self) -> Stage:
        """The teacher's bundle, fp32 only."""
        return self.bundle_of("teacher", self.teacher(), ("fp32",))

    def bundle_of(self, name: str, model: Path, precisions: tuple[str, ...] = ("fp32", "int8")) -> Stage:
        """The bundle of a model, in the folder ``BUNDLE`` of its stage.

        The result has ``precisions``; ``refused``, why there is no int8, or None; and what the export found.
        """
        identity = {"model": models.fingerprint(model), "precisions": precisions, "format": FORMAT}

        def export(folder: Path, precisions: tuple[str, ...]) -> dict[str, Any]:
            settings = {**self._of(ExportConfig), "model": str(model), "name": name, "out": folder / BUNDLE}
            return commands.run(ExportConfig(**settings, precisions=precisions))

        def work(folder: Path) -> dict[str, Any]:
            refused = None
            try:
                made = export(folder, precisions)
            except LilliputError as error:
                if "int8" not in precisions:
                    raise
                # Where fp32 alone can be exported, it was the gate of int8 that refused.
                refused, made = str(error), export(folder, ("fp32",))
            return {"precisions": ["fp32"] if refused else precisions, "refused": refused, "parity": made["parity"]}

        return self.run.stage(f"{name}-bundle", identity, work)

    def bundle(self, name: str) -> Stage:
        """The bundle of one of the models; what they are, and how they are made, the folder of each kind says."""
        raise NotImplementedError

    def judged(self, name: str, made: Stage, gold: Labels, theirs: Labels) -> dict[str, Any]:
        """What a piece says of a model: its smallest graph answers every test text, on the path of an app.

        Args:
            made: the stage of the model, whose bundle is made if it is not there.
            gold, theirs: the right labels, and the teacher's.
        """
        bundle = self.bundle(name)
        precision = bundle.result["precisions"][-1]
        ours, size = answers(bundle.folder / BUNDLE, precision, self.dataset.test.texts)
        found = {
            "precision": precision,
            "refused": bundle.result["refused"],
            "pairs": asdict(Pairs.of(ours == gold, theirs == gold)),
            "right": packed(ours == gold),
            "accuracy": asdict(statistics.accuracy(ours == gold)),
            "agreement": statistics.agreement(ours, theirs),
            "parity": bundle.result["parity"],
            "seconds": made.seconds,
            "parameters": made.result["parameters"],
            "bytes": size,
            "validation": made.result["validation"]["accuracy"],
            "commit": machine.commit(),
        }
        typer.echo(f"{name}: {precision} {found['accuracy']['value']:.4f}, agreement {found['agreement']:.4f}")
        return found

    def entries_of(self, names: Iterable[str], folder: Path) -> dict[str, Entry]:
        """The teacher, exported anew to ``folder``, and models, to be timed; by name."""
        return {
            "teacher": self.plain_teacher(folder),
            **{name: self.entry_of(name, self.bundle(name)) for name in names},
        }

    def entry_of(self, name: str, bundle: Stage) -> Entry:
        """A bundle as `bundle_of` makes it, in its smallest precision, to be timed."""
        return entries.of_bundle(bundle.folder / BUNDLE, name, bundle.result["precisions"][-1], seeds=(self.number,))

    def plain_teacher(self, folder: Path) -> Entry:
        """The teacher as the libraries' defaults quantize it, exported anew to ``folder``, to be timed."""
        bundle = self.teacher_bundle().folder / BUNDLE
        length = Bundle.open(bundle).manifest.max_length
        plain = plain_onnx_int8.build(bundle, folder / "plain-int8", max_length=length)
        return entries.of_plain_onnx_int8(plain, "teacher", seeds=(self.number,))

    def _of(self, kind: type[Any]) -> dict[str, Any]:
        return {name: value for name, value in self.settings.items() if name in kind.model_fields}
