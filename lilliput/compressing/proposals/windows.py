"""What the kinds of students of token windows have in common: they begin at random, and training costs little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from lilliput.compressing.plan import Plan
from lilliput.compressing.recommendation import Wanted
from lilliput.compressing.situation import Situation

if TYPE_CHECKING:
    from lilliput.compressing.bench import Bench

RATE = 2e-3
KERNEL = 3
"""Tokens of a window, as both kinds have by default."""

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


def fitting(widths: Sequence[int], seen: Situation, wanted: Wanted) -> list[int]:
    """The widths whose table fits the size that is asked for.

    What ships is one byte a feature of a token at each of the `KERNEL` places of a window, and the tokenizer with about
    24 bytes a token.
    """
    sizes = {width: seen.vocabulary * (1.03 * KERNEL * width + 24) for width in widths}
    return [width for width in widths if wanted.size is None or sizes[width] <= wanted.size]


def line(bench: Bench, spec: str, settings: Mapping[str, Any], place: str) -> tuple[list[str], str]:
    """One ``lilliput distill``."""
    config = bench.distillation(spec, {**settings, **bench.recipe, **ALWAYS})
    return [bench.command(config.model_copy(update={"out": bench.place(place)}))], f"{place}/student"
