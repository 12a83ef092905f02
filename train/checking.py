"""Everything that is wrong with a data set, in one go: what reading it finds, and what only the whole of it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lilliput import tasks
from lilliput.config import DataConfig
from lilliput.tasks import Task
from lilliput.train import sources
from lilliput.train.data import Dataset, key
from lilliput.train.data_report import SAMPLES_PER_REASON, DataReport, Finding, Ledger
from lilliput.train.duplicates import near_duplicates
from lilliput.train.readers import PAIRS, form_of_label, like_missing

FEW = 5
"""Training rows of a label below which a model can hardly learn it."""
ENOUGH = 10
"""Rows of a split that would hold more than one label, were they drawn at random."""
_TOGETHER = 1000
"""Inputs that are tokenised together."""


def check(config: DataConfig, tokenizer: Any = None, max_length: int = 128) -> DataReport:
    """The report on a data set with all findings, those at which training stops among them.

    Args:
        tokenizer: of the model that will read the texts; without one their tokens are not counted.
        max_length: tokens that it reads.

    Raises:
        DataError: there is no such data set, or nothing in it to train on.
    """
    dataset = sources.load(config, ledger=Ledger(lenient=True))
    task = tasks.get(dataset.task)
    findings = [*dataset.report.findings, *_near_duplicates(task, dataset), *_wrongly_decoded(task, dataset)]
    findings += [
        *_missing_labels(task, dataset),
        *_similar_labels(task, dataset),
        *_rare_labels(task, dataset),
        *_single_labels(task, dataset),
    ]
    report = dataset.report
    if tokenizer is not None:
        lengths = {name: _tokens(task, tokenizer, split.inputs) for name, split in dataset.labelled.items()}
        report = report.with_tokens(lengths, max_length)
        if not task.overlap:  # else they are read in several windows
            findings += _too_long(dataset, lengths, max_length)
    return replace(report, findings=tuple(findings))


def _at(kind: str, rows: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """A finding for each file, of places (file:line) with what is wrong there."""
    by_file: dict[str, list[tuple[int, str]]] = {}
    for place, detail in rows:
        file, _, line = place.rpartition(":")
        by_file.setdefault(file, []).append((int(line), detail))
    for file, found in by_file.items():
        lines = tuple(line for line, _ in found[:SAMPLES_PER_REASON])
        yield Finding(kind, file, lines[0], found[0][1], count=len(found), lines=lines)


def _near_duplicates(task: Task, dataset: Dataset) -> Iterator[Finding]:
    splits = dataset.labelled
    near = near_duplicates(task, {name: split.inputs for name, split in splits.items()}, PAIRS)
    rows = []
    for (one, other), pairs in near.items():
        for pair in pairs:
            inputs = splits[one].inputs[pair.first], splits[other].inputs[pair.second]
            first, second = (key(task.text_of(item)) for item in inputs)
            if first != second:  # equal ones are known already
                detail = f"shares {pair.similarity:.0%} of its words with {splits[one].places[pair.first]}, in {one}"
                rows.append((splits[other].places[pair.second], detail))
    yield from _at("near duplicate in another split", rows)


def _wrongly_decoded(task: Task, dataset: Dataset) -> Iterator[Finding]:
    """Text that was read in another encoding than it was written in, before it came here."""
    rows = []
    for split in dataset.labelled.values():
        for item, place in zip(split.inputs, split.places, strict=True):
            text = task.text_of(item)
            if not text.isascii() and (what := _damage(text)):
                rows.append((place, what))
    yield from _at("wrongly decoded text", rows)


def _damage(text: str) -> str:
    if "\ufffd" in text:
        return "has a replacement character (U+FFFD), where a character was lost"
    try:
        meant = text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return ""
    return "is UTF-8 that was read as Windows-1252" if meant != text else ""


def _labels(task: Task, dataset: Dataset, split: str) -> list[set[str]]:
    """The labels of each row; none for a task without."""
    names = set(dataset.label_names)
    return [names & set(task.counted(target, dataset.label_names)) for target in dataset.labelled[split].targets]


def _missing_labels(task: Task, dataset: Dataset) -> Iterator[Finding]:
    rows = list(zip(dataset.train.places, _labels(task, dataset, "train"), strict=True))
    for name in dataset.label_names:
        if said := like_missing(name):
            yield from _at("label like a missing value", [(place, said) for place, labels in rows if name in labels])


def _similar_labels(task: Task, dataset: Dataset) -> Iterator[Finding]:
    rows = _labels(task, dataset, "train")
    counts = Counter(name for labels in rows for name in labels)
    by_form: dict[str, list[str]] = {}
    for name, _ in counts.most_common():
        by_form.setdefault(form_of_label(name), []).append(name)
    for usual, *others in by_form.values():
        for other in others:
            places = [place for place, labels in zip(dataset.train.places, rows, strict=True) if other in labels]
            detail = f"{other!r} may be meant to be {usual!r}, which has {counts[usual]:,} rows"
            yield from _at("similar labels", [(place, detail) for place in places])


def _rare_labels(task: Task, dataset: Dataset) -> Iterator[Finding]:
    rows = _labels(task, dataset, "train")
    for name, count in Counter(name for labels in rows for name in labels).items():
        if count < FEW:
            places = [place for place, labels in zip(dataset.train.places, rows, strict=True) if name in labels]
            yield from _at(
                "rare label", [(place, f"{name!r} is in {count} of {len(rows):,} training rows") for place in places]
            )


def _single_labels(task: Task, dataset: Dataset) -> Iterator[Finding]:
    """Splits for evaluation that hold one label, as those of a sorted file do."""
    for split in ("validation", "test"):
        labels = set().union(*_labels(task, dataset, split))
        if len(labels) == 1 < len(dataset.label_names) and len(dataset.labelled[split]) >= ENOUGH:
            file = dataset.labelled[split].places[0].rpartition(":")[0]
            detail = f"every row of {split} has the label {labels.pop()!r}; is the data set sorted?"
            yield Finding("split with one label", file, None, detail, count=len(dataset.labelled[split]))


def _tokens(task: Task, tokenizer: Any, inputs: Sequence[Any]) -> list[int]:
    """Tokens of each input, special ones included; of several texts, those of the longest."""
    from lilliput.train.features import windows_of

    found = []
    for start in range(0, len(inputs), _TOGETHER):
        windows = windows_of(task, tokenizer, inputs[start : start + _TOGETHER], max_length=1 << 30)
        found += [max(len(window.ids) for window in some) for some in windows]
    return found


def _too_long(dataset: Dataset, lengths: dict[str, list[int]], max_length: int) -> Iterator[Finding]:
    rows = [
        (place, f"{length} tokens, of which {max_length} are read")
        for name, split in dataset.labelled.items()
        for place, length in zip(split.places, lengths[name], strict=True)
        if length > max_length
    ]
    yield from _at("longer than the model reads", rows)
