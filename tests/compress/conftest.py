"""Quick distillations of tiny teachers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def data(encoders: ModuleType, tmp_path: Path) -> Path:
    """24 training texts, 8 for validation, 8 for the test, 10 without labels."""
    return Path(encoders.data_set(tmp_path / "data"))


@pytest.fixture
def save_teacher(encoders: ModuleType, tiny: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """Saves random classifiers as ``teacher-0``, ``teacher-1`` and so on."""

    def save(architecture: str = "bert", **changes: Any) -> Path:
        folder = tmp_path / f"teacher-{len(list(tmp_path.glob('teacher-*')))}"
        return Path(encoders.save(folder, architecture, tiny.tokenizer, **changes))

    return save


@pytest.fixture
def distil(data: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """One epoch of distillation into two layers; other settings by keyword."""
    from lilliput.compress import distill
    from lilliput.config import DistillConfig

    def run(*teachers: Path, out: str = "out", progress: Any = None, **changes: Any) -> dict[str, Any]:
        settings = {"student": "layers=2", "epochs": 1, "batch_size": 8, "max_length": 16, "device": "cpu"}
        settings |= {"data": str(data), "out": tmp_path / out, "learning_rate": 1e-3}
        config = DistillConfig(teacher=tuple(map(str, teachers)), **{**settings, **changes})
        return distill(config, progress)

    return run
