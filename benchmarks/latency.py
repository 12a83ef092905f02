"""Answer the test texts with every model, one by one, on the clock: accuracy and latency of the very same calls.

How (design: the models are compared, so they must meet the same machine):

1. one fresh process per model; all are loaded and warmed up, and only one works at a time;
2. the texts are dealt into rounds of equal length distribution; in each round every model answers that round's texts
   one by one, after a few untimed calls; who begins rotates. Drift of the machine hits all models alike, and ratios of
   medians are taken round by round;
3. a sample is answered again: an answer that changed is an error;
4. throughput is measured with the list call, first on the same threads, then on all cores in fresh processes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lilliput import machine, timing
from lilliput.benchmarks import workers
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.measured import AllThreads, Measured, Result, same_labels
from lilliput.benchmarks.workers import Worker
from lilliput.errors import ConfigError, LilliputError

WARM_S = 0.5
TURN_WARM_TEXTS = 5
SAMPLE_S = 1.0
SAMPLE_SHARE = 0.1
"""A sample takes at most ``SAMPLE_S`` and this share of the model's whole pass, so a small benchmark stays short."""
RECHECKED = 64
THROUGHPUT_TEXTS = (16, 512)
THROUGHPUT_REPEATS = 3
Progress = Callable[[int, int, str], None]


@dataclass
class _Record:
    """Answers of one model as they come in."""

    expected_ns: int
    facts: Mapping[str, Any]
    order: Sequence[int] | None = None  # for each label, the place of the model's output; None where it is the same
    elapsed_ns: dict[int, int] = field(default_factory=dict)
    answers: dict[int, int] = field(default_factory=dict)
    probabilities: dict[int, list[float]] = field(default_factory=dict)
    round_p50_ms: list[float] = field(default_factory=list)

    def add(self, indices: Sequence[int], reply: Mapping[str, Any]) -> None:
        answers, probabilities = self.put_in_order(reply)
        self.elapsed_ns.update(zip(indices, reply["ns"], strict=True))
        self.answers.update(zip(indices, answers, strict=True))
        self.probabilities.update(zip(indices, probabilities, strict=True))
        self.round_p50_ms.append(timing.percentiles(reply["ns"]).p50)

    def put_in_order(self, reply: Mapping[str, Any]) -> tuple[Sequence[int], Sequence[list[float]]]:
        """Answers and probabilities of a reply in the order of the data's labels."""
        if self.order is None:
            return reply["answers"], reply["probabilities"]
        place = {output: label for label, output in enumerate(self.order)}
        rows = [[row[output] for output in self.order] for row in reply["probabilities"]]
        return [place[answer] for answer in reply["answers"]], rows

    def measured(self, peak_bytes: int | None, throughput_per_s: float) -> Measured:
        order = range(len(self.answers))
        return Measured(
            answers=np.array([self.answers[i] for i in order]),
            probabilities=np.array([self.probabilities[i] for i in order]),
            elapsed_ns=np.array([self.elapsed_ns[i] for i in order]),
            round_p50_ms=tuple(self.round_p50_ms),
            facts=self.facts,
            peak_bytes=peak_bytes,
            throughput_per_s=throughput_per_s,
        )


class _Steps:
    """Counts finished steps for whoever draws the progress bar."""

    def __init__(self, total: int, report: Progress | None) -> None:
        self._done, self._total, self._report = 0, total, report

    def next(self, what: str) -> None:
        self._done += 1
        if self._report:
            self._report(self._done, self._total, what)


def run(
    entries: Sequence[Entry],
    texts: Sequence[str],
    *,
    threads: int = 1,
    rounds: int = 10,
    folder: Path,
    all_cores: bool = True,
    on_progress: Progress | None = None,
    limit_s: float = 900.0,
    labels: Sequence[str] | None = None,
) -> Result:
    """Measure every entry on every text.

    Args:
        entries: the models; names differ.
        texts: test texts; every model answers every one of them, so the time is about the sum over the models of
            their latency times the number of texts.
        threads: cores a model may use in the timed rounds.
        rounds: how often the models take turns.
        folder: for the workers' specs and error output.
        all_cores: measure each model on every usable core too.
        on_progress: called as ``on_progress(done, total, what)`` after each step.
        limit_s: seconds after which a request to a worker counts as hung.
        labels: of the data, in whose order answers are given; the first model's when None.

    Raises:
        ConfigError: nothing to measure, or two entries of one name.
        LilliputError: a worker ended or hung, labels differ between models, or an answer changed when asked again.
    """
    _check(entries, texts)
    turns = deal(texts, min(rounds, len(texts)))
    cores = machine.usable_cores() if all_cores else threads
    steps = _Steps(len(entries) * (len(turns) + 2 + (cores > threads)), on_progress)
    with _started(entries, threads, folder / "workers", limit_s) as live:
        records = [_warm(entry, worker, texts, steps) for entry, worker in zip(entries, live, strict=True)]
        names = _same_labels(entries, records, labels)
        _take_turns(entries, live, records, texts, turns, steps)
        measured = {
            entry.name: _finish(entry, worker, record, texts, steps)
            for entry, worker, record in zip(entries, live, records, strict=True)
        }
    if all_cores:
        for index, (entry, record) in enumerate(zip(entries, records, strict=True)):
            seen = measured[entry.name]
            everything = AllThreads(threads, seen.p50_ms, seen.throughput_per_s)  # where there is no core more
            if cores > threads:
                where = folder / "workers-all" / f"{index:02d}"
                everything = _all_threads(entry, cores, texts, record.expected_ns, where, limit_s)
                steps.next(f"{entry.name}: all {cores} cores")
            measured[entry.name] = replace(seen, all_threads=everything)
    return Result(threads, names, len(texts), measured, folder, tuple(texts))


def deal(texts: Sequence[str], rounds: int, seed: int = 0) -> list[list[int]]:
    """Deal the texts' indices into rounds of almost equal size and length distribution, in random order within each.

    Sorted by length, each ``rounds`` neighbours go to different rounds: a round's median is then comparable with the
    next one's, and what differs is the machine.
    """
    draw = random.Random(seed)
    by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    hands: list[list[int]] = [[] for _ in range(rounds)]
    for start in range(0, len(by_length), rounds):
        neighbours = by_length[start : start + rounds]
        for index, hand in zip(neighbours, draw.sample(hands, len(neighbours)), strict=True):
            hand.append(index)
    for hand in hands:
        draw.shuffle(hand)
    return hands


def _check(entries: Sequence[Entry], texts: Sequence[str]) -> None:
    if not entries or not texts:
        raise ConfigError("a benchmark needs at least one model and one text")
    names = [entry.name for entry in entries]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(f"two models of a benchmark are called {sorted(twice)[0]!r}; give each its own name")


def _started(entries: Sequence[Entry], threads: int, folder: Path, limit_s: float) -> Any:
    return workers.started([(e.name, e.command, _spec(e, threads)) for e in entries], folder, limit_s)


def _spec(entry: Entry, threads: int) -> dict[str, Any]:
    return {"peer": entry.peer, "threads": threads, "options": dict(entry.options)}


def _warm(entry: Entry, worker: Worker, texts: Sequence[str], steps: _Steps) -> _Record:
    facts = worker.ready()
    expected = worker.ask("warm", texts=_sample(texts, 64), seconds=WARM_S)["ns"]
    steps.next(f"{entry.name}: warm")
    return _Record(expected, facts)


def _same_labels(entries: Sequence[Entry], records: Sequence[_Record], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The labels of all models: those wanted, or the first model's. Outputs of an entry that names them are put into
    their order."""
    stated = [list(entry.outputs or record.facts["labels"]) for entry, record in zip(entries, records, strict=True)]
    first = list(wanted or stated[0])
    for entry, record, labels in zip(entries, records, stated, strict=True):
        if entry.outputs and len(labels) == len(record.facts["labels"]) and sorted(labels) == sorted(first):
            order = [labels.index(label) for label in first]
            record.order = None if order == sorted(order) else order
        elif not same_labels(labels, first):
            other = "the data has" if wanted else f"{entries[0].name!r} has"
            raise ConfigError(
                f"{entry.name!r} has the labels {labels}, but {other} {first}; "
                "models can only be compared on the same labels in the same order"
            )
    return tuple(first)


def _take_turns(
    entries: Sequence[Entry],
    live: Sequence[Worker],
    records: Sequence[_Record],
    texts: Sequence[str],
    turns: Sequence[Sequence[int]],
    steps: _Steps,
) -> None:
    for number, indices in enumerate(turns):
        own = [texts[index] for index in indices]
        for place in range(len(entries)):
            who = (place + number) % len(entries)
            live[who].ask("warm", texts=own[:TURN_WARM_TEXTS], seconds=0.0)
            reply = live[who].ask("one", texts=own)
            if not np.isfinite(reply["probabilities"]).all():
                raise LilliputError(
                    f"{entries[who].name!r} answers with probabilities that are no numbers; leave it out"
                )
            records[who].add(indices, reply)
            steps.next(f"{entries[who].name}: round {number + 1} of {len(turns)}")


def _finish(entry: Entry, worker: Worker, record: _Record, texts: Sequence[str], steps: _Steps) -> Measured:
    """Ask a sample again, then read the memory, then measure the list call (which may need more memory)."""
    size = _affordable(record.expected_ns, 8, RECHECKED, texts)
    indices = _sample(range(len(texts)), size)
    answers, probabilities = record.put_in_order(worker.ask("one", texts=[texts[index] for index in indices]))
    for place, index in enumerate(indices):
        moved = max(abs(a - b) for a, b in zip(probabilities[place], record.probabilities[index], strict=True))
        if moved > entry.tolerance or answers[place] != record.answers[index]:
            raise LilliputError(
                f"{entry.name!r} changed its answer to test text {index} when asked again (a probability moved by "
                f"{moved:.2g}, {entry.tolerance:g} is allowed): its figures can't be trusted"
            )
    peak = worker.ask("peak")["peak_bytes"]
    throughput = _throughput(worker, texts, record.expected_ns)
    steps.next(f"{entry.name}: throughput")
    return record.measured(peak, throughput)


def _all_threads(
    entry: Entry, cores: int, texts: Sequence[str], expected_ns: int, folder: Path, limit_s: float
) -> AllThreads:
    with Worker(entry.name, entry.command, _spec(entry, cores), folder, limit_s) as worker:
        worker.ready()
        sample = _sample(texts, _affordable(expected_ns, *THROUGHPUT_TEXTS, texts))
        worker.ask("warm", texts=sample[:64], seconds=WARM_S)
        p50 = timing.percentiles(worker.ask("one", texts=sample)["ns"]).p50
        return AllThreads(cores, p50, _throughput(worker, texts, expected_ns))


def _throughput(worker: Worker, texts: Sequence[str], expected_ns: int) -> float:
    """Texts per second of the list call: the median of a few calls on the same sample, after one untimed."""
    sample = _sample(texts, _affordable(expected_ns, *THROUGHPUT_TEXTS, texts))
    worker.ask("batch", texts=sample[: THROUGHPUT_TEXTS[0]])
    elapsed = [worker.ask("batch", texts=sample)["ns"] for _ in range(THROUGHPUT_REPEATS)]
    return len(sample) * timing.NS_PER_S / float(np.median(elapsed))


def _affordable(expected_ns: int, least: int, most: int, texts: Sequence[str]) -> int:
    """How many texts a sample may have: a slow model gets a smaller sample, not a longer run."""
    in_time = SAMPLE_S * timing.NS_PER_S / max(1, expected_ns)
    return max(least, min(most, int(min(in_time, SAMPLE_SHARE * len(texts)))))


def _sample(items: Sequence[Any], size: int) -> list[Any]:
    """At most ``size`` items, evenly spaced over the whole list."""
    if len(items) <= size:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, size)]
