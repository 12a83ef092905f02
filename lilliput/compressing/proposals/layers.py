"""A student with fewer of the teacher's layers, perhaps narrower, fitted by least squares and then distilled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lilliput.compressing.frontier import Point
from lilliput.compressing.plan import Plan
from lilliput.compressing.recommendation import TOLERANCE, Wanted
from lilliput.compressing.situation import Situation
from lilliput.runs import Stage

if TYPE_CHECKING:
    from lilliput.compressing.bench import Bench

KIND = "layers"
TRAINED_FIRST = False

RATE = 3e-4


def grid(seen: Situation, wanted: Wanted, known: Plan) -> list[dict[str, Any]]:
    """The most layers that are fast enough, one less, and one layer of half the width; all of it without a target."""
    recipe = {"epochs": known.epochs, "augment": known.augment, "learning_rate": RATE}
    narrow = [{"layers": 1, "heads": seen.heads // 2, **recipe}] if seen.heads > 1 else []
    if wanted.size is not None:
        return narrow
    counts = range(seen.layers - 1, 0, -1)
    if (aim := wanted.speed) is not None:
        fast = [count for count in counts if _speed(seen, count) >= aim * (1 - TOLERANCE)]
        return [{"layers": count, **recipe} for count in fast[:2]] + (narrow if len(fast) < 2 else [])
    return [{"layers": count, **recipe} for count in counts if count <= 3] + narrow


def space(seen: Situation, wanted: Wanted, known: Plan) -> dict[str, BaseDistribution]:
    """Layers, width and recovery."""
    if seen.layers < 2:
        return {}
    return {
        "layers": IntDistribution(1, seen.layers - 1),
        "heads": IntDistribution(max(1, seen.heads // 3), seen.heads),
        "ffn": CategoricalDistribution([0.25, 0.5, 1.0]),
        "epochs": IntDistribution(1, known.epochs + 2),
        "augment": IntDistribution(0, known.copies),
        "learning_rate": FloatDistribution(1e-4, 1e-3, log=True),
    }


def chains(
    seen: Situation, wanted: Wanted, known: Plan, done: Sequence[tuple[Point, Mapping[str, Any]]]
) -> list[tuple[int, dict[str, Any]]]:
    """A student of fewer layers that begins as a finished one of more."""
    found, recipe = [], {"epochs": known.epochs, "augment": known.augment, "learning_rate": RATE}
    for point, made in done:
        fewer = made["settings"].get("layers", 0) - 1
        if made["kind"] == KIND and "heads" not in made["settings"] and fewer >= 1:
            fast = wanted.speed is None or _speed(seen, fewer) >= wanted.speed * (1 - TOLERANCE)
            if fast and wanted.size is None:
                found.append((point.trial, {"layers": fewer, **recipe}))
    return found


def predicted(settings: Mapping[str, Any], seen: Situation) -> float | None:
    """By the number of layers, where they keep their width."""
    if settings.get("heads", seen.heads) < seen.heads or settings.get("ffn", 1.0) < 1:
        return None
    return _speed(seen, settings["layers"])


def begin(bench: Bench, settings: Mapping[str, Any]) -> Stage:
    """Layers and widths as they are kept, fitted to what the source computes."""
    return bench.start_student("cut", spec(bench.seen, settings))


def train(bench: Bench, settings: Mapping[str, Any], begun: Stage, name: str) -> Stage:
    """Distillation from the teacher."""
    return bench.distil(name, spec(bench.seen, settings), {**settings, **bench.recipe})


def commands(bench: Bench, settings: Mapping[str, Any], place: str) -> tuple[list[str], str]:
    """One ``lilliput distill``."""
    config = bench.distillation(spec(bench.seen, settings), {**settings, **bench.recipe})
    return [bench.command(config.model_copy(update={"out": bench.place(place)}))], f"{place}/student"


def spec(seen: Situation, settings: Mapping[str, Any]) -> str:
    """The value of ``--student``."""
    words = [f"layers={settings['layers']}"]
    heads = settings.get("heads", seen.heads)
    if heads < seen.heads:
        words += [f"hidden={heads * (seen.hidden // seen.heads)}", f"heads={heads}"]
    ffn = int(seen.ffn * settings.get("ffn", 1.0) * heads / seen.heads)
    if ffn < seen.ffn:
        words.append(f"ffn={max(1, ffn)}")
    return ",".join(words)


def _speed(seen: Situation, layers: int) -> float:
    return seen.by_layers[layers - 1]
