"""Fixtures for all tests. The helpers of tiny.py come in as a fixture: tests are no package and import no neighbour."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lilliput.bundle import write_manifest


def _neighbour(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The module tests/tiny.py."""
    return _neighbour("tiny")


@pytest.fixture(scope="session")
def encoders() -> ModuleType:
    """The module tests/tiny_encoders.py."""
    return _neighbour("tiny_encoders")


@pytest.fixture(scope="session")
def vocabularies() -> ModuleType:
    """The module tests/tiny_vocabularies.py."""
    return _neighbour("tiny_vocabularies")


@pytest.fixture(scope="session")
def task_rows() -> ModuleType:
    """The module tests/task_rows.py."""
    return _neighbour("task_rows")


@pytest.fixture(scope="session")
def checkpoint(
    tiny: ModuleType, encoders: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Folders of tiny random classifiers, as plain transformers saves them. Shared: copy one before changing it."""

    @functools.cache
    def folder(architecture: str) -> Path:
        return Path(encoders.save(tmp_path_factory.mktemp("checkpoints") / architecture, architecture, tiny.tokenizer))

    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle of a tiny random BERT. Shared: copy it (`tiny_copy`) before changing it."""
    folder: Path = tiny.build(tmp_path_factory.mktemp("bundles") / "tiny")
    return folder


@pytest.fixture
def tiny_copy(tiny_bundle: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes fresh copies of the tiny bundle, to be changed at will."""
    count = 0

    def copy() -> Path:
        nonlocal count
        count += 1
        return Path(shutil.copytree(tiny_bundle, tmp_path / f"copy-{count}"))

    return copy


@pytest.fixture
def small_bundle(tiny: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """Makes bundles whose files are no real models: enough for `Bundle.open`, and quick."""

    def build(name: str, *, folder: str | None = None, **changes: Any) -> Path:
        staging = tmp_path / (folder or name)
        (staging / "onnx").mkdir(parents=True)
        (staging / "onnx/model.onnx").write_bytes(b"graph of " + name.encode())
        (staging / "tokenizer.json").write_text("{}")
        write_manifest(staging, **tiny.manifest_fields(staging, name=name, **changes))
        return staging

    return build


@pytest.fixture
def quick_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training without the full garbage collection that it begins and ends with: longer than the training of a test."""
    monkeypatch.setattr("gc.collect", lambda *_: 0)


@pytest.fixture(scope="session")
def own_model(tiny: ModuleType, encoders: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT that takes commands as their defaults are: enough positions and layers, and so sure of one
    label that no rounding flips it. Shared: copy it before changing it.
    """
    import torch

    folder = tmp_path_factory.mktemp("models") / "own"
    model = encoders.classifier("bert", layers=4, max_position_embeddings=128)
    with torch.no_grad():
        model.classifier.bias[1] = 20.0
    model.save_pretrained(folder)
    encoders.tokenizer("bert", tiny.tokenizer).save_pretrained(folder)
    return Path(folder)


@pytest.fixture(scope="session")
def fast_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``runs/demo`` of a finished ``lilliput demo --fast``, what it printed beside it in ``console.txt``.
    Shared: copy it before changing it. Tests that need it are skipped where set-up has not filled the cache.
    """
    from lilliput.cache import cache_folder
    from lilliput.train import embedded

    for archive in (embedded.CHECKPOINT, embedded.SENTIMENT):
        fault = embedded.damaged(archive, cache_folder() / "embedded" / archive.name)
        if fault is not None:
            pytest.skip(f"the embedded {archive.kind} is not in the cache ({fault}); run `lilliput data fetch` first")
    place = tmp_path_factory.mktemp("demo")
    result = subprocess.run(
        [sys.executable, "-m", "lilliput", "demo", "--fast", "--out", "runs/demo"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    (place / "runs" / "console.txt").write_text(result.stdout, encoding="utf-8")
    return place / "runs" / "demo"
