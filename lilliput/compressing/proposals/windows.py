"""What the kinds of students of token windows have in common: they begin at random, and training costs little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from lilliput.compressing.plan import Plan
from lilliput.compressing.recommendation import Wanted
from lilliput.compressing.situation import Situation

if TYPE_CHECKING:
    from lilliput.compressing.bench import Bench

RATE = 2e-3

ALWAYS: Mapping[str, Any] = {"train_embeddings": True, "batch_size": 64}
"""Settings of their distillation beside the recipe."""


def recipe(known: Plan) -> dict[str, Any]:
    """The full training."""
    return {"epochs": known.windows_epochs, "augment": known.windows_augment, "learning_rate": RATE}


def recipes(known: Plan) -> dict[str, BaseDistribution]:
    """What the sampler may choose for the training."""
    return {
        "epochs": IntDistribution(2, known.windows_epochs + 3),
        "augment": IntDistribution(0, known.windows_augment),
        "learning_rate": FloatDistribution(5e-4, 5e-3, log=True),
    }


def has_room(seen: Situation, wanted: Wanted) -> bool:
    """Whether the teacher's token table, which these students keep, fits the size that is asked for."""
    return wanted.size is None or wanted.size > 1.05 * seen.vocabulary * seen.hidden


def line(bench: Bench, spec: str, settings: Mapping[str, Any], place: str) -> tuple[list[str], str]:
    """One ``lilliput distill``."""
    config = bench.distillation(spec, {**settings, **bench.recipe, **ALWAYS})
    return [bench.command(config.model_copy(update={"out": bench.place(place)}))], f"{place}/student"
