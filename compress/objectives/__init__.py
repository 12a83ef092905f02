"""Distillation losses, one file a group of equations; each is usable alone in any training loop.

A file has a constant ``ON``, what its loss compares, and a function ``loss``, which returns a scalar:

    predictions   loss(student, teacher, *, temperature=1.0, labels=None, valid=None)
                  ``student`` and ``teacher`` float ``[N, C]``: N rows (texts, tokens, starts and ends of spans), C
                  classes, positions or dimensions; ``labels`` int64 ``[N]``, -100 where unknown; ``valid`` bool
                  ``[N, C]``: where it is False an entry counts for nothing, as padding in a span head.
    layers        loss(student, teacher, mask, *, relation_heads=None)
                  :class:`LayerStates` of one block of each model; ``mask`` bool or int ``[B, T]``: where it is 0 a
                  token is padding and counts for nothing.
    embeddings    the same, of the embeddings' output.

The teacher's tensors come without gradient. To add an objective, write a file here; its name, with hyphens, is what
``--objective`` takes. A file whose name begins with an underscore is not an objective.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lilliput.errors import ConfigError

KEYWORDS = {
    "predictions": ("temperature", "labels", "valid"),
    "layers": ("relation_heads",),
    "embeddings": ("relation_heads",),
}
"""What a loss can be on, and the keywords that it is then called with."""


@dataclass(frozen=True)
class LayerStates:
    """What one block of one model computes.

    Attributes:
        hidden: ``[B, T, H]``, the block's output.
        query: ``[B, T, A]``, the output of the projection, all heads side by side; None for the embeddings' output, as
            are ``key`` and ``value``.
        key: ``[B, T, A]``.
        value: ``[B, T, A]``.
        heads: attention heads; divides A.
    """

    hidden: Tensor
    query: Tensor | None
    key: Tensor | None
    value: Tensor | None
    heads: int


@dataclass(frozen=True)
class Objective:
    """A loss, by its name and what it is ``on``: predictions, layers or embeddings."""

    name: str
    on: str
    loss: Callable[..., Tensor]


def names() -> tuple[str, ...]:
    """The objectives there are."""
    files = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name.replace("_", "-") for name in files if not name.startswith("_")))


def get(name: str) -> Objective:
    """The objective called ``name``, or the function of the user's own at ``package.module:function``.

    Such a function is on predictions, unless it or its module has an attribute ``ON`` that says otherwise. Importing
    its module runs the module's code.

    Raises:
        ConfigError: there is none of this name (the message lists those there are), or the function can't be imported
            or does not take what it will be called with.
    """
    if ":" in name:
        return _own(name)
    if name not in names():
        raise ConfigError(
            f"--objective {name}: unknown; known are {', '.join(names())}, or package.module:function for your own"
        )
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return Objective(name, module.ON, module.loss)


def sources(*given: Sequence[str]) -> dict[str, str]:
    """A digest of the module of each function of the user's own that objectives or stages name, by what names it."""
    parts = (part.strip().partition("=")[0] for text in itertools.chain(*given) for part in text.split(","))
    found = {}
    for name in (part for part in parts if ":" in part):
        file = importlib.import_module(name.partition(":")[0]).__file__
        found[name] = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    return found


def _own(name: str) -> Objective:
    path, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*path.split("."), attribute)):
        raise ConfigError(f"--objective {name}: must be package.module:function, for example my_losses:distance")
    try:
        module = importlib.import_module(path)
    except Exception as error:
        raise ConfigError(
            f"--objective {name}: importing {path} failed ({type(error).__name__}: {error}); "
            "its folder must be in PYTHONPATH"
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(f"--objective {name}: {path} has no function {attribute}")
    on = getattr(function, "ON", getattr(module, "ON", "predictions"))
    if on not in KEYWORDS:
        raise ConfigError(f"--objective {name}: its ON is {on!r}; must be one of {', '.join(KEYWORDS)}")
    _check_call(name, function, on)
    return Objective(name, on, function)


def _check_call(name: str, function: Callable[..., Any], on: str) -> None:
    """Raise :class:`ConfigError` unless ``function`` takes what losses on ``on`` are called with: better now than after
    the teacher has read every text."""
    positions = ("student", "teacher") if on == "predictions" else ("student", "teacher", "mask")
    try:
        inspect.signature(function).bind(*positions, **dict.fromkeys(KEYWORDS[on]))
    except TypeError as error:
        expected = f"({', '.join(positions)}, *, {', '.join(KEYWORDS[on])})"
        raise ConfigError(f"--objective {name}: must take {expected}: {error}") from error
