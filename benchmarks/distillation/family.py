"""The students that are measured, by their ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WINDOWS: Mapping[str, Any] = {
    "train_embeddings": True,
    "augment": 4,
    "epochs": 5,
    "learning_rate": 2e-3,
    "batch_size": 64,
}
"""Of students of token windows, which begin at random but for the word embeddings."""

FAMILY: Mapping[str, Mapping[str, Any]] = {
    "l3": {"student": "layers=3", "augment": 4, "epochs": 3, "learning_rate": 3e-4},
    "l2": {"student": "layers=2", "initial_model": "l3", "augment": 4, "epochs": 3, "learning_rate": 3e-4},
    "l1": {"student": "layers=1", "initial_model": "l2", "augment": 4, "epochs": 4, "learning_rate": 3e-4},
    "seq": {"student": "conv", **WINDOWS},
    "static": {"student": "static:width=64", **WINDOWS},
}
"""Settings of `DistillConfig` that differ from the defaults; ``initial_model`` names another member."""


def flags(settings: Mapping[str, Any]) -> str:
    """Settings as a command line has them."""
    words = []
    for key, value in settings.items():
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif key in ("objective", "stage", "teacher"):  # given once for each
            words += [f"{flag} {one}" for one in value]
        else:
            words.append(f"{flag} {','.join(map(str, value)) if isinstance(value, tuple | list) else value}")
    return " ".join(words)
