"""How much a candidate may learn, so that several of them can within the budget; and what each step takes.

Without a budget a candidate gets what has served best on the embedded data. With one, the recipes become shorter until
the full training of a candidate takes at most a sixth of what is left, and what the teacher reads at most a seventh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from lilliput.compressing.records import FIRST, FULL, SHORT
from lilliput.compressing.situation import Situation

SHORT_SHARE = 0.3
"""Share of the texts that the short training reads."""

SHORT_LEAST = 500
"""Labelled texts that it reads at least, and as many without labels."""

FULLS = 6
"""Full trainings that the budget is to allow."""

CUTTING = 1 / 4
"""Share of the time left that the first cut may take; where it would take more, pruning looks at fewer texts."""

FEWER = 256
"""Those fewer texts."""

READING = 1 / 7
"""Share of the time left that the teacher may take to read the texts."""

OVERHEAD = 10.0
"""Seconds of a stage for loading, saving and validation."""

PLANNER = 30.0
"""How often all calibration texts are read, in time, until importance and layers are known, and a plan was found."""

PLANNED = 20.0
"""The same for a further plan of a model whose importance is known."""

AGAIN = "prune again"
"""The kind of work that a further cut is."""

LADDER = ((1, 3), (1, 2), (0, 2), (0, 1))
"""Changed copies of every text and epochs of a transformer, from the longest training to the shortest."""

WINDOWS = ((4, 5), (2, 4), (1, 4), (0, 3))
"""The same of students of token windows, which cost little to train and begin at random."""


@dataclass(frozen=True)
class Plan:
    """Recipes of a search.

    Attributes:
        augment, epochs: of a transformer's full training.
        windows_augment, windows_epochs: of a student of token windows.
        texts, transfer: labelled and unlabelled texts that candidates learn from.
        calibration: texts that pruning looks at.
    """

    augment: int
    epochs: int
    windows_augment: int
    windows_epochs: int
    texts: int
    transfer: int
    calibration: int = 1024

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Plan:
        """The plan whose `to_dict` this is."""
        return cls(**plain)

    def to_dict(self) -> dict[str, int]:
        """As JSON values."""
        return asdict(self)

    @property
    def copies(self) -> int:
        """Changed copies of every text that the teacher reads."""
        return max(self.augment, self.windows_augment)

    def read_texts(self, augment: int) -> int:
        """Texts of an epoch."""
        return self.texts * (1 + augment) + self.transfer


def plan(seen: Situation, left: float, aim: float | None) -> Plan:
    """The recipes for ``left`` seconds; ``aim`` is the speedup that is asked for.

    What a student costs is taken in proportion to its latency.
    """
    for (augment, epochs), (wide, long) in zip(LADDER, WINDOWS, strict=True):
        found = Plan(augment, epochs, wide, long, seen.texts, seen.transfer)
        if guess("prune", FIRST, {}, seen, found, aim or 2.0) > left * CUTTING:
            found = replace(found, calibration=FEWER)
        if _fits(found, seen, left, aim):
            return found
    found = replace(found, calibration=FEWER)
    while not _fits(found, seen, left, aim) and found.texts + found.transfer > 2 * SHORT_LEAST:
        found = replace(
            found,
            texts=min(found.texts, max(SHORT_LEAST, found.texts * 4 // 5)),
            transfer=min(found.transfer, max(0, found.transfer * 3 // 5)),
        )
    return found


def _fits(found: Plan, seen: Situation, left: float, aim: float | None) -> bool:
    full = guess("prune", FULL, {"epochs": found.epochs, "augment": found.augment}, seen, found, aim or 2.0)
    reading = found.read_texts(found.copies) * seen.pace.read_s
    return full <= left / FULLS and reading <= left * READING


def guess(kind: str, rung: int, settings: Mapping[str, Any], seen: Situation, known: Plan, speedup: float) -> float:
    """Seconds that a trial takes on a rung, before anything like it was measured."""
    if rung == FIRST:
        reads = {"prune": PLANNER, AGAIN: PLANNED}.get(kind, 0.0) * known.calibration * seen.pace.read_s
        graphs = 3.0 if kind in ("prune", AGAIN) else 1.0  # models that are timed on the way, and the one that stays
        return OVERHEAD + reads + 0.5 * graphs * seen.export_s
    cost = 1 / speedup + 0.05  # a step has a part that no model is too small for
    epochs, augment = (1, 0) if rung == SHORT else (settings["epochs"], settings["augment"])
    texts = known.read_texts(augment) if rung == FULL else sum(short_of(known))
    validation = seen.validation * seen.pace.read_s * cost
    return OVERHEAD + epochs * (texts * seen.pace.train_s * cost + validation)


def short_of(known: Plan) -> tuple[int, int]:
    """Labelled and unlabelled texts of the short training."""
    return (
        min(known.texts, max(SHORT_LEAST, round(SHORT_SHARE * known.texts))),
        min(known.transfer, max(SHORT_LEAST, round(SHORT_SHARE * known.transfer))),
    )


def ending(seen: Situation, family: int, limit: int) -> float:
    """Seconds from the end of the search to the end of the run: exports, benchmark, report.

    A smaller model's export takes about half of the teacher's.

    Args:
        limit: test texts of the benchmark.
    """
    return OVERHEAD + family * 0.5 * seen.export_s + benchmark(seen, family, limit)


ENDING_SHARE = 1 / 3
"""Share of the budget that bundles and benchmark may take, where fewer models can be shipped instead."""

FEWEST = 2
"""Models that are shipped where time is short: the one to take, and one to compare it with."""


def members_within(seen: Situation, family: int, limit: int, seconds: float) -> int:
    """How many models can be shipped in the time given: ``family`` at most, and `FEWEST` however short it is."""
    for count in range(family, FEWEST, -1):
        if ending(seen, count, limit) <= seconds:
            return count
    return min(family, FEWEST)


def benchmark(seen: Situation, family: int, texts: int) -> float:
    """Seconds of the benchmark: each model starts a process, and answers every text, in two precisions.

    The teacher takes about 10 times its int8 latency for one text in all the forms that it is measured in; a model of
    the family about as much as the teacher's int8 at most.
    """
    return (4.0 + 1.5 * seen.pace.start_s) * (family * 2 + 5) + 1.5 * texts * seen.ms / 1000 * (10 + family)


def texts_within(seen: Situation, family: int, seconds: float) -> int:
    """Test texts that the benchmark can read in the time given; at least 200, or all."""
    each = benchmark(seen, family, 1) - benchmark(seen, family, 0)
    possible = int((seconds - benchmark(seen, family, 0)) / each) if each else seen.test
    return min(seen.test, max(200, possible))


TEACHER_SHARE = 0.4
"""Share of the budget that fine-tuning a teacher may take."""

TEACHER_EPOCHS = 3

TEACHER_LEAST = 200
"""Labelled texts without which no teacher is fine-tuned."""


@dataclass(frozen=True)
class Lessons:
    """What a teacher is fine-tuned with: epochs, and how many of the training texts."""

    epochs: int
    texts: int


def lessons(texts: int, train_s: float, left: float) -> Lessons:
    """Three epochs, or as many as 40% of the time left allows; if not even one fits, one over a part of the texts."""
    possible = TEACHER_SHARE * left / (1.2 * train_s)  # texts that can be read
    if possible >= texts:
        return Lessons(int(min(TEACHER_EPOCHS, possible // texts)), texts)
    return Lessons(1, max(min(texts, TEACHER_LEAST), int(possible)))
