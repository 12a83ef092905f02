"""Importance criteria: which heads, neurons and dimensions go first, one file a criterion.

A file has a function ``rank(evidence) -> Rankings``. To add a criterion, write a file here; its name, with hyphens, is
what ``--importance`` takes. A file whose name begins with an underscore is not a criterion.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lilliput.errors import ConfigError

if TYPE_CHECKING:
    from lilliput.compress.evidence import Evidence


@dataclass(frozen=True)
class Ranking:
    """In which order the structures of a group go, the least important first, and the loss that is estimated then.

    Attributes:
        order: ``[n]``, the structures' numbers.
        loss: ``[n + 1]``: ``loss[k]`` is the estimated increase of a text's loss when the first k of ``order`` are
            gone; 0 at first, and never falling. Magnitudes have a unit of their own.
    """

    order: tuple[int, ...]
    loss: tuple[float, ...]

    @classmethod
    def of(cls, order: Sequence[int], steps: Sequence[float]) -> Ranking:
        """From what each step of ``order`` adds to the loss; one that lowers it counts as nothing gained or lost."""
        totals = itertools.accumulate(steps, initial=0.0)
        return cls(tuple(order), tuple(itertools.accumulate(totals, max)))

    @classmethod
    def additive(cls, scores: Tensor) -> Ranking:
        """Where each structure adds its own of ``scores``, ``[n]``, none negative, to the loss, whatever else goes."""
        rising, order = scores.double().sort(stable=True)
        return cls.of(order.tolist(), rising.tolist())


@dataclass(frozen=True)
class Rankings:
    """Of the attention heads and the neurons of each block, and of the dimensions of the residual stream."""

    heads: tuple[Ranking, ...]
    neurons: tuple[Ranking, ...]
    dimensions: Ranking


Criterion = Callable[["Evidence"], Rankings]


def names() -> tuple[str, ...]:
    """The criteria there are."""
    files = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name.replace("_", "-") for name in files if not name.startswith("_")))


def get(name: str) -> Criterion:
    """The function ``rank`` of the criterion called ``name``.

    Raises:
        ConfigError: there is none of this name; the message lists those there are.
    """
    if name not in names():
        raise ConfigError(f"--importance {name}: unknown; known are {', '.join(names())}")
    criterion: Criterion = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").rank
    return criterion


def greedy(fisher: Tensor) -> Ranking:
    """Remove one by one what adds least to ``1/2 sum_{i,j removed} F_ij``.

    Args:
        fisher: F, ``[n, n]``.
    """
    fisher = fisher.double()
    step = fisher.diagonal() / 2  # [n]: what removing one more adds to the loss
    order, steps = [], []
    for _ in range(len(fisher)):
        chosen = int(step.argmin())
        order.append(chosen)
        steps.append(float(step[chosen]))
        step = step + fisher[chosen]
        step[order] = torch.inf
    return Ranking.of(order, steps)
