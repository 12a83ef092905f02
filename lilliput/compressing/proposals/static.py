"""A static student: token vectors, added up in short windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from lilliput.compressing.frontier import Point
from lilliput.compressing.plan import Plan
from lilliput.compressing.proposals import windows
from lilliput.compressing.recommendation import Wanted
from lilliput.compressing.situation import Situation
from lilliput.runs import Stage

if TYPE_CHECKING:
    from lilliput.compressing.bench import Bench

KIND = "static"
TRAINED_FIRST = True


def grid(seen: Situation, wanted: Wanted, known: Plan) -> list[dict[str, Any]]:
    """One of the usual size, or of the largest that fits."""
    widths = windows.fitting([128, 96, 64, 32], seen, wanted)[:1]
    return [{"width": width, **windows.recipe(known)} for width in widths]


def space(seen: Situation, wanted: Wanted, known: Plan) -> dict[str, BaseDistribution]:
    """Size and training."""
    widths = windows.fitting([32, 64, 96, 128, 192, 256], seen, wanted)
    return {"width": CategoricalDistribution(widths), **windows.recipes(known)} if widths else {}


def chains(
    seen: Situation, wanted: Wanted, known: Plan, done: Sequence[tuple[Point, Mapping[str, Any]]]
) -> list[tuple[int, dict[str, Any]]]:
    """None: these begin at random."""
    return []


def predicted(settings: Mapping[str, Any], seen: Situation) -> float | None:
    """The table of latencies knows blocks of transformers only."""
    return None


def begin(bench: Bench, settings: Mapping[str, Any]) -> Stage:
    """With the teacher's word embeddings; all else at random."""
    return bench.start_student("cut", spec(settings))


def train(bench: Bench, settings: Mapping[str, Any], begun: Stage, name: str) -> Stage:
    """Distillation from the teacher."""
    return bench.distil(name, spec(settings), {**settings, **bench.recipe, **windows.ALWAYS})


def commands(bench: Bench, settings: Mapping[str, Any], place: str) -> tuple[list[str], str]:
    """One ``lilliput distill``."""
    return windows.line(bench, spec(settings), settings, place)


def spec(settings: Mapping[str, Any]) -> str:
    """The value of ``--student``."""
    return f"static:width={settings['width']}"
