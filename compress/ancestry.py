"""What a pruned model still has of the models that it descends from: blocks, and dimensions of the residual stream.

A model may be pruned, recovered and pruned again; block 1 of the last one may be block 2 of the one before, and block 3
of the first. Losses that compare blocks or dimensions need the numbers in the model that is the teacher, so a pruned
model's configuration names every ancestor by its `models.fingerprint`, with the numbers in that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lilliput import models
from lilliput.types import PrunePlan

ANCESTORS = "ancestors"


@dataclass(frozen=True)
class Kept:
    """What is left of an ancestor: its ``layers`` and ``dimensions``, by their numbers there."""

    layers: Sequence[int]
    dimensions: Sequence[int]

    def cut(self, plan: PrunePlan) -> Kept:
        """What is left of the same ancestor once the model is cut by ``plan``."""
        dimensions = self.dimensions if plan.dimensions is None else [self.dimensions[i] for i in plan.dimensions]
        return Kept([self.layers[i] for i in plan.layers], dimensions)


def note(model: Any, parent: Any, fingerprint: str, plan: PrunePlan, hidden: int) -> None:
    """Write into the configuration of ``model`` what it has of its parent, and of the parent's own ancestors.

    Args:
        parent: the model that ``plan`` cuts.
        fingerprint: of the parent's files.
        hidden: dimensions of the parent's residual stream.
    """
    whole = Kept(range(len(plan.heads)), range(hidden))
    found = {**_ancestors(parent), fingerprint: whole}
    models.note(model, **{ANCESTORS: {name: _plain(kept.cut(plan)) for name, kept in found.items()}})


def kept_of(model: Any, fingerprint: str) -> Kept | None:
    """What a model has of the ancestor with that fingerprint; None where it does not descend from it."""
    return _ancestors(model).get(fingerprint)


def _ancestors(model: Any) -> dict[str, Kept]:
    return {name: Kept(**kept) for name, kept in models.noted(model).get(ANCESTORS, {}).items()}


def _plain(kept: Kept) -> dict[str, list[int]]:
    return {name: list(numbers) for name, numbers in asdict(kept).items()}
