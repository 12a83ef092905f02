"""A finished model with fewer tokens: as fast, or a little slower, but much smaller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution

from lilliput.compress.pruning import Pruning
from lilliput.compressing.frontier import Point
from lilliput.compressing.plan import Plan
from lilliput.compressing.proposals import prune
from lilliput.compressing.recommendation import TOLERANCE, Wanted
from lilliput.compressing.situation import Situation
from lilliput.runs import Stage

if TYPE_CHECKING:
    from lilliput.compressing.bench import Bench

KIND = "vocabulary"
TRAINED_FIRST = False

SMALLER = 4
"""The part of the tokens that stays."""

LEAST = 2000
"""Tokens that stay at least; a smaller vocabulary has little to save."""


def grid(seen: Situation, wanted: Wanted, known: Plan) -> list[dict[str, Any]]:
    """None: it takes a finished model."""
    return []


def space(seen: Situation, wanted: Wanted, known: Plan) -> dict[str, BaseDistribution]:
    """None: it takes a finished model."""
    return {}


def chains(
    seen: Situation, wanted: Wanted, known: Plan, done: Sequence[tuple[Point, Mapping[str, Any]]]
) -> list[tuple[int, dict[str, Any]]]:
    """The best transformer that is fast enough."""
    rows = seen.vocabulary // SMALLER
    copies = min(known.copies, known.augment + 1)  # word embeddings have more to learn
    recipe = {"epochs": known.epochs + 1, "augment": copies, "learning_rate": prune.RATE}
    aim = (wanted.speed or 1.0) * (1 - TOLERANCE)
    bases = [point for point, made in done if made["kind"] in ("prune", "layers") and point.speedup >= aim]
    if rows < LEAST or not bases:
        return []
    return [(max(bases, key=lambda point: (point.score, point.speedup)).trial, {"vocabulary": rows, **recipe})]


def predicted(settings: Mapping[str, Any], seen: Situation) -> float | None:
    """That of the model it goes on from, about, which the table does not know."""
    return None


def begin(bench: Bench, settings: Mapping[str, Any]) -> Stage:
    """The tokens that the texts use most; a text whose tokens all stay gets the same answer."""
    pruning = Pruning(prune.config_of(bench, settings), bench.dataset, bench.reporter)
    return pruning.trim(bench.run, "trimmed", str(bench.source))


def train(bench: Bench, settings: Mapping[str, Any], begun: Stage, name: str) -> Stage:
    """Recovery by distillation, word embeddings too."""
    return prune.train(bench, settings, begun, name)


def commands(bench: Bench, settings: Mapping[str, Any], place: str) -> tuple[list[str], str]:
    """One ``lilliput prune --vocabulary``."""
    return prune.commands(bench, settings, place)
