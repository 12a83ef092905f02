"""Time: what is left of the budget, what a job will take, and the stop of a job whose time is over."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from rich.console import RenderableType

from lilliput.reporter import Reporter
from lilliput.runs import write_json

MARGIN = 1.25
"""By how much an estimate is taken to be too short."""


class OutOfTime(Exception):
    """The time of a job is over. What it has finished, and its last checkpoint, are on the disk."""


class Budget:
    """The time of a run, over all the processes that have worked on it.

    Args:
        seconds: of the whole run; None for any.
        record: file that keeps the time already spent, for a run that is started again.
        clock: seconds that only ever grow.
    """

    def __init__(self, seconds: float | None, record: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._record, self._clock = record, clock
        self._before, self._began = _spent(record), clock()

    @property
    def spent(self) -> float:
        """Seconds, of this process and those before it."""
        return self._before + self._clock() - self._began

    @property
    def left(self) -> float:
        """Seconds; infinite without a budget."""
        return float("inf") if self.seconds is None else self.seconds - self.spent

    def fits(self, estimate: float, keep: float) -> bool:
        """Whether a job that is estimated to take so long ends while ``keep`` seconds are left."""
        return self.left - keep >= MARGIN * estimate

    def note(self) -> None:
        """Keep the time that was spent."""
        write_json(self._record, {"seconds": round(self.spent, 1)})


def _spent(record: Path) -> float:
    try:
        return float(json.loads(record.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


class Estimates:
    """How long jobs take: a guess, corrected by how guesses have fared so far.

    A guess of a kind and rung is multiplied by the median of measured over guessed of the same kind and rung; where
    none was measured, of the same rung; else it stands as it is.
    """

    def __init__(self) -> None:
        self._ratios: dict[tuple[str, int], list[float]] = {}

    def note(self, kind: str, rung: int, guess: float, seconds: float) -> None:
        """A job took so long."""
        if guess > 0 and seconds > 0:
            self._ratios.setdefault((kind, rung), []).append(seconds / guess)

    def seconds(self, kind: str, rung: int, guess: float) -> float:
        """The estimate."""
        same = self._ratios.get((kind, rung))
        near = same or [ratio for (_, its), ratios in self._ratios.items() if its == rung for ratio in ratios]
        return guess * (median(near) if near else 1.0)


class Watched(Reporter):
    """Passes progress on, and stops the work when its time is over or nobody waits for it any more.

    Training tells its progress after every step, so that it ends between two steps; its last checkpoint is at most
    ``--save-every`` steps old.

    Args:
        deadline: seconds since the epoch.
        parent: process that waits for the work.
    """

    def __init__(
        self, inner: Reporter, deadline: float | None, parent: int | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.inner, self.deadline, self.parent, self._clock = inner, deadline, parent, clock

    def progress(self, done: int, total: int, what: str) -> None:
        """Raise :class:`OutOfTime`, or tell."""
        self.check()
        self.inner.progress(done, total, what)

    def say(self, message: RenderableType) -> None:
        """Tell."""
        self.inner.say(message)

    def check(self) -> None:
        """Raise :class:`OutOfTime` when it is time to stop."""
        if self.deadline is not None and self._clock() > self.deadline:
            raise OutOfTime
        if self.parent is not None and os.getppid() != self.parent:
            raise OutOfTime
