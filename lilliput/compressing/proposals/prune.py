"""Prune the teacher, or a model that was pruned before, to a speed or a size; then distil the teacher into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from lilliput.compress.pruning import Pruning
from lilliput.compressing.frontier import Point
from lilliput.compressing.plan import Plan
from lilliput.compressing.proposals import STEPS
from lilliput.compressing.recommendation import Wanted
from lilliput.compressing.situation import Situation
from lilliput.config import PruneConfig
from lilliput.runs import Stage

if TYPE_CHECKING:
    from lilliput.compressing.bench import Bench

KIND = "prune"
TRAINED_FIRST = False

REACHABLE = 0.85
"""Share of the speed without any block that pruned models reach."""

RATE = 3e-4

SMALLEST = 0.02
"""Share of the teacher's bytes below which no model is pruned."""


def grid(seen: Situation, wanted: Wanted, known: Plan) -> list[dict[str, Any]]:
    """The target, a bit beyond, and halfway to it, which others can go on from; without a target all steps."""
    recipe = {"epochs": known.epochs, "augment": known.augment, "learning_rate": RATE}
    if wanted.size is not None:
        rows = [rows for rows in (None, *_vocabularies(seen)) if _leaves_room(seen, wanted.size, rows)]
        return [{"size": wanted.size * 0.99, "vocabulary": rows, **recipe} for rows in rows[:3]]
    top = _fastest(seen)
    if (aim := wanted.speed) is None:
        speeds = [step for step in STEPS if step <= top] or [top]
    else:
        speeds = [aim, aim * 1.4, aim / 2, aim / 1.35]
        speeds = [speed for speed in speeds if 1.2 <= speed <= top] or [top]
    return [{"speedup": round(speed, 3), **recipe} for speed in speeds]


def space(seen: Situation, wanted: Wanted, known: Plan) -> dict[str, BaseDistribution]:
    """Speed around the target, and the recovery; of a size only the recovery and the vocabulary vary."""
    recipe: dict[str, BaseDistribution] = {
        "epochs": IntDistribution(1, known.epochs + 2),
        "augment": IntDistribution(0, known.copies),
        "learning_rate": FloatDistribution(1e-4, 1e-3, log=True),
    }
    if wanted.size is not None:
        tables = _vocabularies(seen)
        if not tables:
            return {}
        size = FloatDistribution(wanted.size * 0.9, wanted.size, log=True)
        return {"size": size, "vocabulary": IntDistribution(min(tables), max(tables)), **recipe}
    top = _fastest(seen)
    aim = wanted.speed
    low, high = (1.2, top) if aim is None else (min(max(1.2, aim * 0.75), top * 0.9), min(aim * 1.5, top))
    return {"speedup": FloatDistribution(low, max(high, low * 1.05), log=True), **recipe}


def chains(
    seen: Situation, wanted: Wanted, known: Plan, done: Sequence[tuple[Point, Mapping[str, Any]]]
) -> list[tuple[int, dict[str, Any]]]:
    """Go on from a finished slower model: it loses less than the same cut from the teacher at once."""
    if wanted.size is not None:
        return []
    found, recipe = [], {"epochs": known.epochs, "augment": known.augment, "learning_rate": RATE}
    goals = [wanted.speed] if wanted.speed is not None else [2 * point.speedup for point, _ in done]
    for goal in goals:
        bases = [point for point, made in done if made["kind"] == KIND and 1.25 * point.speedup <= goal]
        if bases and goal <= _fastest(seen):
            base = max(bases, key=lambda point: (point.speedup, point.score))
            found.append((base.trial, {"speedup": round(goal, 3), **recipe}))
    return found


def predicted(settings: Mapping[str, Any], seen: Situation) -> float | None:
    """What is asked for: the search for a plan ends at it."""
    return settings.get("speedup")


def begin(bench: Bench, settings: Mapping[str, Any]) -> Stage:
    """Cut, and fitted to what was cut off; then the vocabulary."""
    config = config_of(bench, settings)
    pruning = Pruning(config, bench.dataset, bench.reporter, planners=bench.planners, cache=bench.cache)
    stage = pruning.cut(bench.run, "cut", str(bench.source), 1.0)
    if settings.get("vocabulary"):
        stage = pruning.trim(bench.run, "trimmed", str(stage.folder))
    return stage


def train(bench: Bench, settings: Mapping[str, Any], begun: Stage, name: str) -> Stage:
    """Recovery by distillation."""
    config = config_of(bench, {**settings, **bench.recipe})
    return Pruning(config, bench.lessons, bench.reporter, cache=bench.cache).recover(bench.run, name, begun)


def commands(bench: Bench, settings: Mapping[str, Any], place: str) -> tuple[list[str], str]:
    """One ``lilliput prune``."""
    config = config_of(bench, {**settings, **bench.recipe}, recover=bench.trained, out=bench.place(place))
    ending = "-recovered" if bench.trained else "-trimmed" if settings.get("vocabulary") else ""
    return [bench.command(config)], f"{place}/pruned{ending}"


def config_of(bench: Bench, settings: Mapping[str, Any], **more: Any) -> PruneConfig:
    """The configuration of ``lilliput prune``; its speedup is relative to the model that is cut."""
    speedup = settings.get("speedup")
    values: dict[str, Any] = {
        **bench.common(),
        # Latencies are those of the CPU, on which apps and the stopwatch of candidates run; "auto" trains on a GPU too.
        "device": "auto" if bench.config.device == "cuda" else bench.config.device,
        "model": str(bench.source),
        "teacher": str(bench.teacher) if bench.source != bench.teacher else None,
        "speedup": None if speedup is None else round(speedup / bench.source_speedup, 4),
        "size": settings.get("size"),
        "vocabulary": settings.get("vocabulary"),
        "per_layer": not bench.config.uniform,
        "precision": bench.config.precision,
        "threads": bench.config.threads,
        "calibration": bench.known.calibration,
    }
    recipe = {name: settings[name] for name in ("epochs", "augment", "learning_rate") if name in settings}
    return PruneConfig(**{**values, **recipe, **more})


def _fastest(seen: Situation) -> float:
    return max(1.3, REACHABLE * seen.fastest)


def _vocabularies(seen: Situation) -> list[int]:
    """Sizes of smaller vocabularies."""
    return [rows for rows in (seen.vocabulary // 2, seen.vocabulary // 4, seen.vocabulary // 8) if rows >= 500]


def _leaves_room(seen: Situation, size: float, rows: int | None) -> bool:
    """Whether a token table of so many rows, a byte a number, leaves something of a size for the rest."""
    table = (rows or seen.vocabulary) * seen.hidden
    return size > max(1.1 * table, SMALLEST * seen.bytes)
