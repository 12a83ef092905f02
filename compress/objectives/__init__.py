"""Distillation losses, one file a group of equations; each is usable alone in any training loop.

A loss takes the student's and the teacher's logits, both ``[batch, labels]`` in float32, and returns a scalar. To
add one, write a file here with a function ``loss(student, teacher, temperature)``; its name, with hyphens, is what
``--objective`` takes.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, cast

from torch import Tensor

from lilliput.errors import ConfigError


class Loss(Protocol):
    """What the ``loss`` of every file here looks like."""

    def __call__(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Scalar loss of a batch."""
        ...


def names() -> tuple[str, ...]:
    """The objectives there are."""
    return tuple(sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)))


def get(name: str) -> Loss:
    """The objective called ``name``.

    Raises:
        ConfigError: there is none of this name; the message lists those there are.
    """
    if name not in names():
        raise ConfigError(f"--objective {name}: unknown; known are {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return cast(Loss, module.loss)
