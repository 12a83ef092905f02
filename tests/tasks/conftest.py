"""Tiny random models with other heads than a classifier's, and what `Task.predict` says of inputs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def headed(
    tiny: ModuleType, encoders: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Any, Any]]:
    """Tokenizer and random model of an architecture, with the head and the labels of a task."""
    import torch
    import transformers

    @functools.cache
    def made(architecture: str, head: str, labels: tuple[str, ...]) -> tuple[Any, Any]:
        with torch.random.fork_rng():
            torch.manual_seed(5)
            model = getattr(transformers, head).from_config(encoders.config(architecture, labels=labels)).eval()
        return encoders.tokenizer(architecture, tiny.tokenizer), model

    return made


@pytest.fixture
def asked() -> Callable[..., list[Any]]:
    """Answers of a torch model to inputs, through the task."""
    from lilliput import models
    from lilliput.train.evaluate import predict

    def ask(
        task: Any, tokenizer: Any, model: Any, inputs: list[Any], max_length: int = 40, **options: Any
    ) -> list[Any]:
        predictions = predict(model, tokenizer, task, inputs, max_length)
        backend, names = tokenizer.backend_tokenizer, models.labels_of(model)
        return [
            task.answer(item, prediction, names, {}, tokenizer=backend, **options)
            for item, prediction in zip(inputs, predictions, strict=True)
        ]

    return ask


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., tuple[list[Any], dict[str, int]]]:
    """Rows of a JSONL file as inputs and targets, and what was rejected."""
    import json

    from lilliput.train.data_report import Ledger
    from lilliput.train.row_files import read_rows

    def read(task: Any, *records: Any, labelled: bool = True) -> tuple[list[Any], dict[str, int]]:
        path, ledger = tmp_path / "rows.jsonl", Ledger()
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        found = read_rows(path, ledger, task, {}, labelled=labelled)
        return [(row.input, row.target) for row in found], dict(ledger.rejected)

    return read


@pytest.fixture(scope="session")
def learner(tiny: ModuleType, encoders: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of tiny models that learn quickly: of one layer, and with small weights."""

    @functools.cache
    def folder(architecture: str) -> Path:
        place = tmp_path_factory.mktemp("learners") / architecture
        return Path(encoders.save(place, architecture, tiny.tokenizer, layers=1, initializer_range=0.1))

    return folder
