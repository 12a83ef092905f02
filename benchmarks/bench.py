"""What a scenario is given: the models, the texts, and workers that may fail one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lilliput.benchmarks import workers
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.measured import Result
from lilliput.benchmarks.workers import Worker
from lilliput.errors import LilliputError

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """What a scenario found: an entry a model, and what it was measured with."""

    models: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As the report has it."""
        return {"settings": dict(self.settings), "models": {name: dict(one) for name, one in self.models.items()}}


@dataclass(frozen=True)
class Bench:
    """The situation of a scenario.

    Attributes:
        result: of the single stream, which came before.
        reference: name of the model that ratios are over; None where there is none.
        threads: cores that a model may use.
        rounds: how often models take turns.
        bound_ms: that the server's 99th percentile must keep.
        tell: is told what is being done.
    """

    entries: Sequence[Entry]
    texts: Sequence[str]
    result: Result
    reference: str | None
    folder: Path
    threads: int = 1
    rounds: int = 10
    seed: int = 0
    bound_ms: float = 50.0
    limit_s: float = 900.0
    tell: Tell = lambda what: None

    @contextlib.contextmanager
    def runners(self, name: str, threads: int | None = None) -> Iterator[Runners]:
        """Workers of all models, loaded; reaped however the block ends."""
        with contextlib.ExitStack() as stack:
            yield Runners(self.entries, self.folder / name, threads or self.threads, self.limit_s, stack)

    def worker(self, entry: Entry, folder: Path, threads: int | None = None) -> Worker:
        """A fresh worker of one model."""
        return Worker(entry.name, entry.command, spec_of(entry, threads or self.threads), folder, self.limit_s)

    def expected_ns(self, name: str) -> float:
        """What one text takes, from the single stream."""
        return self.result.models[name].p50_ms * 1e6

    def labels_differ(self, name: str, answers: Sequence[int], texts: Sequence[int]) -> float:
        """Share of texts (by index) whose label is another one than in the single stream.

        Args:
            answers: of the worker, so numbers of the model's own outputs.
        """
        known, labels = self.result.models[name].answers, list(self.result.labels)
        outputs = next(entry.outputs for entry in self.entries if entry.name == name)
        meant = [labels.index(outputs[answer]) for answer in answers] if outputs else answers
        return sum(int(known[index]) != answer for index, answer in zip(texts, meant, strict=True)) / len(texts)


def spec_of(entry: Entry, threads: int) -> dict[str, Any]:
    """What a worker of this model is started with."""
    return {"peer": entry.peer, "threads": threads, "options": dict(entry.options)}


class Runners:
    """Workers that take turns. One that fails is left out from then on, and its reason kept."""

    def __init__(
        self, entries: Sequence[Entry], folder: Path, threads: int, limit_s: float, stack: contextlib.ExitStack
    ) -> None:
        self.failed: dict[str, str] = {}
        self._names = [entry.name for entry in entries]
        jobs = [(entry.name, entry.command, spec_of(entry, threads)) for entry in entries]
        live = stack.enter_context(workers.started(jobs, folder, limit_s))
        self._live = dict(zip(self._names, live, strict=True))
        for name in self._names:
            with self._watched(name):
                self._live[name].ready()

    @property
    def names(self) -> list[str]:
        """The models that still answer, in their order."""
        return [name for name in self._names if name not in self.failed]

    def turns(self, number: int) -> list[str]:
        """The same, for the round of this number: who begins rotates."""
        names = self.names
        start = number % len(names) if names else 0
        return names[start:] + names[:start]

    def ask(self, name: str, do: str, **request: Any) -> dict[str, Any] | None:
        """An answer of a worker; None where it failed."""
        if name in self.failed:
            return None
        with self._watched(name):
            return self._live[name].ask(do, **request)
        return None

    def found(self, models: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """Entries of the models in their order, with the reasons of those that failed."""
        return {
            name: {"not_measured": self.failed[name]} if name in self.failed else models[name] for name in self._names
        }

    @contextlib.contextmanager
    def _watched(self, name: str) -> Iterator[None]:
        try:
            yield
        except LilliputError as error:
            self.failed[name] = reason_of(error)


def reason_of(error: LilliputError) -> str:
    """An error in one line: its first one and, of a worker that ended, the last one that it wrote."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 else f"{lines[0].rstrip(':')}: {lines[-1]}"
