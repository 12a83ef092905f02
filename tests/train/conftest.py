"""A quick training run that several tests compare others with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROWS, BATCH, EPOCHS, SAVE_EVERY = 10, 4, 3, 2  # 3 steps an epoch, the last one half empty
STEPS = 9


@dataclass(frozen=True)
class Outcome:
    """What a run ends with: digests of the returned (best) and of the last weights, metrics, log, newest checkpoint."""

    folder: Path = field(compare=False)
    returned: str
    last: str
    best: dict[str, float]
    log: list[dict[str, Any]]
    newest: str


def digest(weights: dict[str, Any]) -> str:
    """SHA-256 of the bytes of named tensors."""
    whole = hashlib.sha256()
    for name in sorted(weights):
        whole.update(name.encode() + weights[name].contiguous().numpy().tobytes())
    return whole.hexdigest()


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The log without its times, and without the notes of resuming."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "time"} for line in lines if line["event"] != "resumed"]


@pytest.fixture
def material(encoders: ModuleType) -> dict[str, Any]:
    """What the runs train and validate on, and their settings; all of it can be written as JSON."""

    def split(rows: list[tuple[str, str]]) -> dict[str, Any]:
        return {"texts": [text for text, _ in rows], "labels": [encoders.LABELS.index(label) for _, label in rows]}

    settings = {"epochs": EPOCHS, "batch_size": BATCH, "save_every": SAVE_EVERY, "learning_rate": 1e-2}
    return {
        "train": split(encoders.rows(ROWS)),
        "validation": split(encoders.rows(8, ROWS)),
        "config": {**settings, "max_length": 16, "device": "cpu"},
        "steps": STEPS,
    }


@pytest.fixture
def fit(checkpoint: Callable[[str], Path], encoders: ModuleType, material: dict[str, Any]) -> Callable[..., Outcome]:
    """Fine-tune the tiny BERT (dropout on) in a folder.

    ``columns`` are added to the rows, ``options`` go to the loop, ``changes`` to its settings.
    """
    import torch
    from safetensors.torch import load_file

    from lilliput import models
    from lilliput.config import FinetuneConfig
    from lilliput.train import checkpoints, loop
    from lilliput.train.evaluate import accuracy, logits_of

    def fit(
        folder: Path,
        *,
        objective: Any = loop.label_loss,
        columns: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Outcome:
        config = FinetuneConfig(**{**material["config"], "out": folder, **changes})
        source = checkpoint("bert")
        torch.manual_seed(config.seed)
        model, tokenizer = models.load_classifier(source, encoders.LABELS), models.load_tokenizer(source)
        train, held_out = material["train"], material["validation"]

        def validate(model: Any) -> dict[str, float]:
            return {"score": accuracy(logits_of(model, tokenizer, held_out["texts"], 16), held_out["labels"])}

        data = loop.encode(train["texts"], tokenizer, 16, labels=train["labels"], **(columns or {}))
        model, best = loop.fit(model, tokenizer, data, config, folder, validate, objective=objective, **(options or {}))
        newest = checkpoints.newest(folder / "checkpoints")
        assert newest is not None
        last = load_file(newest / "model.safetensors")
        return Outcome(folder, digest(model.state_dict()), digest(last), best, log_of(folder), newest.name)

    return fit


@pytest.fixture(scope="session")
def _uninterrupted() -> dict[str, Outcome]:
    return {}


@pytest.fixture
def expected(
    _uninterrupted: dict[str, Outcome], fit: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    """The outcome of the run that nothing interrupts; it is made once."""
    if "outcome" not in _uninterrupted:
        _uninterrupted["outcome"] = fit(tmp_path_factory.mktemp("whole"))
    return _uninterrupted["outcome"]
