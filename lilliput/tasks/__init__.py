"""The task table: one file here, with a constant ``TASK``, is one task."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from lilliput.errors import ConfigError


class Task(Protocol):
    """What a task knows: how to read its logits, and how it is scored."""

    name: str
    metric: str

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise `BundleError` when a model with these labels can't do the task."""

    def postprocess(self, logits: NDArray[np.float32], labels: Sequence[str], top_k: int | None) -> list[Any]:
        """Turn ``logits`` [n, labels] into ``n`` answers."""


def names() -> list[str]:
    """The tasks there are, sorted."""
    return sorted(file.stem.replace("_", "-") for file in Path(__file__).parent.glob("[a-z]*.py"))


def get(name: str) -> Task:
    """The task called ``name``.

    Raises:
        ConfigError: there is no such task; the message lists those there are.
    """
    known = names()
    if name not in known:
        raise ConfigError(f"task: {name!r} is unknown; known: {', '.join(known)}")
    return cast(Task, import_module(f"{__name__}.{name.replace('-', '_')}").TASK)
