"""A fold of tiny models in place of the embedded one: trainings are short, and exports only pretend."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lilliput.benchmarks import commands, folds
from lilliput.benchmarks.distillation.family import FAMILY
from lilliput.benchmarks.distillation.folds import Fold
from lilliput.config import ExportConfig
from lilliput.errors import GateError

REFUSAL = "l2: the int8 graph agrees with the torch model on 90.00% of 18 texts"


class Pretended:
    """What was asked for: ``trained`` teachers, ``exported`` names with their precisions; ``refused`` has no int8."""

    def __init__(self, checkpoint: Path, bundle: Path) -> None:
        self.checkpoint, self.bundle = checkpoint, bundle
        self.trained: list[str] = []
        self.exported: list[tuple[str | None, tuple[str, ...]]] = []
        self.refused = ""

    def train(self, variant: str, number: int, work: Path) -> dict[str, Any]:
        self.trained.append(variant)
        folder = work / f"{variant}-{number}" / "teacher"
        shutil.copytree(self.checkpoint, folder, dirs_exist_ok=True)
        (folder / "variant.txt").write_text(variant)  # else they would be one and the same model
        return {}

    def export(self, config: ExportConfig) -> dict[str, Any]:
        self.exported.append((config.name, config.precisions))
        if config.name == self.refused and "int8" in config.precisions:
            raise GateError(REFUSAL)
        shutil.copytree(self.bundle, config.out)
        return {"parity": [{"precision": one} for one in config.precisions]}


@pytest.fixture
def pretended(
    checkpoint: Callable[[str], Path], tiny_bundle: Path, quick_training: None, monkeypatch: pytest.MonkeyPatch
) -> Pretended:
    made = Pretended(checkpoint("bert"), tiny_bundle)
    monkeypatch.setattr(folds.teachers, "train", made.train)
    monkeypatch.setattr(commands, "run", made.export)
    for name, settings in {
        "l3": {"student": "layers=2", "epochs": 1},
        "l2": {"student": "layers=1", "initial_model": "l3", "epochs": 1},
    }.items():
        monkeypatch.setitem(FAMILY, name, settings)
    return made


@pytest.fixture
def fold(pretended: Pretended, encoders: ModuleType, tmp_path: Path) -> Callable[..., folds.Fold]:
    """Makes the fold anew in the same folders."""
    data = encoders.data_set(tmp_path / "data")
    settings = {"data": str(data), "max_length": 16, "batch_size": 8, "device": "cpu"}

    def make(number: int = 0, *_: Path) -> folds.Fold:
        return Fold(number, tmp_path / "work", tmp_path / "teachers", **settings)

    return make
