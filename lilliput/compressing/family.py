"""The models that are shipped: chosen on validation, exported with their gates, each with how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilliput import models
from lilliput.bundle import FORMAT
from lilliput.compressing import proposals
from lilliput.compressing.bench import VALIDATION, Bench, short_recipe
from lilliput.compressing.frontier import Point, frontier, thin
from lilliput.compressing.plan import Plan
from lilliput.compressing.recommendation import SENSIBLE, Recommendation, Wanted, recommend
from lilliput.compressing.records import FIRST, SHORT, Ledger, Result
from lilliput.compressing.search import Places, points
from lilliput.compressing.situation import Situation
from lilliput.config import CompressConfig, DataConfig, ExportConfig
from lilliput.errors import GateError
from lilliput.reporter import Reporter
from lilliput.runs import Run, Stage
from lilliput.steps import export_model, recipe_beside
from lilliput.train.data import Dataset

BUNDLE = "bundle"
"""Folder of a bundle in its stage."""

REBUILT = "rebuilt"
"""Folder that the command lines of the recipes write to."""


@dataclass(frozen=True)
class Choice:
    """The trials that are shipped, the recommended one among them, and why it is."""

    members: tuple[int, ...]
    recommended: Recommendation


def choose(found: list[Point], wanted: Wanted, teacher: Point, most: int) -> Choice:
    """The frontier on validation, and of it what to recommend.

    Args:
        found: one point a trial; at least one.
        most: members at most.
    """
    best = recommend(found, wanted, teacher)
    line = frontier(found)
    sensible = [point for point in line if point.score >= SENSIBLE * teacher.score] or line
    chosen = next(point for point in found if point.trial == best.trial)
    every = sensible if chosen in sensible else [*sensible, chosen]
    return Choice(tuple(point.trial for point in thin(every, most, {best.trial})), best)


def export_stage(
    run: Run,
    name: str,
    model: Path,
    config: CompressConfig,
    dataset: Dataset,
    provenance: Mapping[str, Any],
    reporter: Reporter,
) -> Stage:
    """The bundle of a model in the folder `BUNDLE` of its stage.

    The result has ``precisions``, those whose gates were passed; ``refused``, why int8 is not among them, or None; and
    ``parity``.

    Raises:
        GateError: not even fp32 is as the torch model.
    """
    identity = {
        "model": models.fingerprint(model),
        "max_length": config.max_length,
        "data": dataset.fingerprint,
        "format": FORMAT,
    }

    def export(folder: Path, precisions: tuple[str, ...]) -> dict[str, Any]:
        settings = {one: getattr(config, one) for one in DataConfig.model_fields}
        settings |= {"model": str(model), "name": name, "out": folder / BUNDLE, "max_length": config.max_length}
        exporting = ExportConfig(**settings, precisions=precisions)
        return export_model(exporting, dataset, provenance, recipe_beside(str(model)), reporter.progress)

    def work(folder: Path) -> dict[str, Any]:
        refused: str | None = None
        precisions: tuple[str, ...] = ("fp32", "int8")
        try:
            made = export(folder, precisions)
        except GateError as error:
            refused, precisions = str(error), ("fp32",)
            made = export(folder, precisions)
        return {"precisions": list(precisions), "refused": refused, **made}

    return run.stage(name, identity, work)


class Recipes:
    """How the models of a search can be made again, as command lines."""

    def __init__(
        self, config: CompressConfig, ledger: Ledger, seen: Situation, known: Plan, dataset: Dataset, places: Places
    ) -> None:
        self.config, self.ledger, self.seen, self.known = config, ledger, seen, known
        self.dataset, self.places = dataset, places

    def of(self, result: Result, name: str) -> dict[str, Any]:
        """``commands`` that make a bundle of the model, and ``exact``: whether they read the very same texts."""
        lines, folder = self._lines(result)
        bench = self._bench(self.places.teacher, 1.0, result)
        whole = self.known.texts == self.seen.texts and self.known.transfer == self.seen.transfer
        exact = whole and result.rung != SHORT and self.seen.validation < VALIDATION
        return {"commands": [*lines, bench.export_line(folder, f"{REBUILT}/{name}")], "exact": exact}

    def _lines(self, result: Result) -> tuple[list[str], str]:
        one = self.ledger.proposals[result.trial]
        before: list[str] = []
        source, speedup = self.places.teacher, 1.0
        if one.base is not None:
            base = self.ledger.last(one.base)
            before, folder = self._lines(base)
            source, speedup = Path(folder), base.speedup
        bench = self._bench(source, speedup, result)
        lines, folder = proposals.get(one.kind).commands(bench, one.settings, f"{REBUILT}/{one.name}")
        return [*before, *lines], folder

    def _bench(self, source: Path, speedup: float, result: Result) -> Bench:
        kind = proposals.get(self.ledger.proposals[result.trial].kind)
        return Bench(
            config=self.config,
            seen=self.seen,
            known=self.known,
            teacher=self.places.teacher,
            source=source,
            source_speedup=speedup,
            dataset=self.dataset,
            lessons=self.dataset,
            recipe=short_recipe(kind.TRAINED_FIRST) if result.rung == SHORT else {},
            trained=result.rung != FIRST,
            unlabelled=self.config.unlabelled,
        )


def names_of(ledger: Ledger, results: Mapping[int, Result], members: tuple[int, ...]) -> dict[str, int]:
    """A name that tells kind and speed for each trial: ``prune-5.9x``; the number behind it where two are alike."""
    names: dict[str, int] = {}
    for trial in members:
        name = f"{ledger.proposals[trial].kind}-{results[trial].speedup:.1f}x"
        names[f"{name}-{trial}" if name in names else name] = trial
    return names


def teacher_point(seen: Situation) -> Point:
    """The teacher beside its students."""
    return Point(-1, seen.score, 1.0, seen.bytes)


def all_points(ledger: Ledger, without: set[int]) -> list[Point]:
    """What every trial came to at best, but for some."""
    return [point for point in points(ledger.best()) if point.trial not in without]
