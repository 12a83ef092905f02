"""What a search has proposed and found, in one file that only grows: ``trials.jsonl``.

Every line is an event. It is on the disk before the search goes on, so that a search that was killed knows all that it
knew; a last line that the kill cut short is dropped, and a trial whose line it was is found on the disk by its stages.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lilliput.errors import RunError

Settings = Mapping[str, Any]

FIRST, SHORT, FULL = range(3)
"""The rungs: as cut and fitted, without training; after a short training; after the whole one."""


@dataclass(frozen=True)
class Proposal:
    """A candidate.

    Attributes:
        number: of the trial.
        kind: name of the file in `lilliput.compressing.proposals` that makes it.
        settings: of that kind, as JSON values.
        base: the trial whose model it goes on from; None for the teacher.
        round: of the search; those of one round compete with each other and with all before.
        origin: why it was proposed: "grid", "chain" or "sampled".
    """

    number: int
    kind: str
    settings: Settings
    base: int | None = None
    round: int = 0
    origin: str = "grid"

    @property
    def name(self) -> str:
        """Folder of the trial."""
        return f"{self.number:03d}-{self.kind}"


@dataclass(frozen=True)
class Result:
    """What a trial came to on a rung.

    Attributes:
        score: the task's metric on validation, larger being better; None where nothing was learnt yet. On the last
            rung it is that of the graph that apps run, before that of the torch model.
        learnt: the torch model's on every rung, so that rungs can be compared.
        speedup: the teacher's latency over the model's, taken in turns.
        bytes: of the files that an app needs.
        folder: of the model, relative to the run.
        facts: shape, parameters and the like, for people.
    """

    trial: int
    rung: int
    score: float | None
    speedup: float
    bytes: int
    seconds: float
    folder: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    learnt: float | None = None


class Ledger:
    """The events of one search.

    Args:
        path: of the file.
        key: what decides all outcomes, by name; a ledger of other ones is refused.

    Raises:
        RunError: the file belongs to a search on other data, with another teacher or other settings.
    """

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        self.path = path
        self.proposals: dict[int, Proposal] = {}
        self.results: dict[tuple[int, int], Result] = {}
        self.failures: dict[int, str] = {}
        events = self._read()
        if not events:
            self._append({"event": "search", "key": dict(key)})
            return
        there = events[0].get("key", {})
        if differing := sorted(name for name in {*there, *key} if there.get(name) != key.get(name)):
            raise RunError(
                f"{path}: belongs to a search with another {', '.join(differing)}; choose another --out, or delete it "
                "with the folder trials beside it"
            )
        for event in events[1:]:
            self._take(event)

    def _read(self) -> list[dict[str, Any]]:
        """The whole lines of the file, which ends with the last of them afterwards.

        Raises:
            RunError: a line before the last one can't be read, which no interruption leaves behind.
        """
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return []
        events, whole = [], 0
        lines = raw.splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if not line.endswith(b"\n") or not isinstance(event, dict):
                if number < len(lines):
                    raise RunError(f"{self.path}:{number}: damaged; delete the line to go on without what it says")
                break
            events.append(event)
            whole += len(line)
        if whole < len(raw):
            os.truncate(self.path, whole)
        return events

    def _append(self, event: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _take(self, event: Mapping[str, Any]) -> None:
        values = {name: value for name, value in event.items() if name != "event"}
        if event["event"] == "proposed":
            every = (Proposal(**one) for one in values["candidates"])
            self.proposals |= {proposal.number: proposal for proposal in every}
        elif event["event"] == "finished":
            result = Result(**values)
            self.results[result.trial, result.rung] = result
        elif event["event"] == "failed":
            self.failures[values["trial"]] = values["why"]

    def _add(self, event: str, values: Mapping[str, Any]) -> None:
        self._append({"event": event, **values})
        self._take({"event": event, **values})

    def propose(self, candidates: Sequence[Proposal]) -> None:
        """Keep the candidates of a round: all of them, or a kill before the end of the line leaves none."""
        self._add("proposed", {"candidates": [asdict(one) for one in candidates]})

    def finish(self, result: Result) -> None:
        """Keep what a trial came to."""
        self._add("finished", asdict(result))

    def fail(self, trial: int, why: str) -> None:
        """Keep why a trial gave no model; it is not tried again."""
        self._add("failed", {"trial": trial, "why": why})

    @property
    def next_number(self) -> int:
        """The number of the next trial."""
        return max(self.proposals, default=-1) + 1

    def on(self, rung: int) -> list[Result]:
        """The results on a rung, by trial."""
        return [result for (_, its), result in sorted(self.results.items()) if its == rung]

    def last(self, trial: int) -> Result:
        """What a trial came to on its highest rung."""
        return max((result for result in self.results.values() if result.trial == trial), key=lambda its: its.rung)

    def best(self) -> list[Result]:
        """What each trial came to at best, by trial: one scored result each, of its highest rung.

        A training that made a model worse on validation is not taken; what rounding to the graph's precision costs is
        no reason for that.
        """
        found: dict[int, Result] = {}
        for (trial, _), result in sorted(self.results.items()):
            before = found.get(trial)
            if result.score is not None and (before is None or _learnt(result) >= _learnt(before)):
                found[trial] = result
        return [found[trial] for trial in sorted(found)]


def _learnt(result: Result) -> float:
    score = result.score if result.learnt is None else result.learnt
    assert score is not None  # it is scored
    return score
