"""A data set for a task: three labelled splits, unlabelled transfer text, and a report on every row."""

from __future__ import annotations

import hashlib
import json
import random
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from lilliput import tasks
from lilliput.errors import DataError
from lilliput.tasks import Task
from lilliput.train.data_report import DataReport, Ledger, SplitFacts

BUCKETS = 10


@dataclass(frozen=True)
class Split:
    """Inputs and targets of a task, the place that each came from, and the value of the column that slices are made by.

    A target is what `Task.index` makes of it: the index of a label for classification, other things elsewhere.
    """

    inputs: list[Any] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)
    places: list[str] = field(default_factory=list, compare=False)
    slices: list[str] = field(default_factory=list, compare=False)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def texts(self) -> list[str]:
        """The inputs, for those who read single texts.

        Raises:
            DataError: an input is something else, such as a pair.
        """
        if not all(isinstance(item, str) for item in self.inputs):
            raise DataError("the data hold pairs of texts; this command works with single texts so far")
        return self.inputs

    @property
    def labels(self) -> list[int]:
        """The targets of a task that chooses one label."""
        return self.targets

    def take(self, indices: Sequence[int]) -> Split:
        """The rows of these numbers."""
        columns = (self.inputs, self.targets, self.places, self.slices)
        return Split(*([column[i] for i in indices] if column else [] for column in columns))


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read: ``target`` is None for unlabelled data; ``line`` counts from 1; `key` of its text."""

    input: Any
    target: Any
    file: str
    line: int
    key: bytes
    slice: str = ""

    @property
    def place(self) -> str:
        """Where the row is: file:line."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Dataset:
    """Everything that training and evaluation read.

    ``transfer`` is unlabelled inputs that distillation may use; none of them occurs in a labelled split.
    ``out_of_domain`` holds further test sets by name. ``fingerprint`` is the SHA-256 of all used rows.
    """

    name: str
    task: str
    label_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    transfer: list[Any]
    out_of_domain: dict[str, Split]
    report: DataReport
    fingerprint: str

    def subset(
        self,
        *,
        train: int | None = None,
        validation: int | None = None,
        test: int | None = None,
        transfer: int | None = None,
        seed: int = 0,
    ) -> Dataset:
        """A smaller data set for smoke runs: at most that many rows of each split, label balance kept.

        None keeps all rows. ``test`` also limits each out-of-domain test. The same seed picks the same rows.
        """
        labelled = {
            "train": _sample(self.train, train, f"{seed} train"),
            "validation": _sample(self.validation, validation, f"{seed} validation"),
            "test": _sample(self.test, test, f"{seed} test"),
        }
        outside = {name: _sample(split, test, f"{seed} {name}") for name, split in self.out_of_domain.items()}
        kept = self.transfer
        if transfer is not None and transfer < len(kept):
            picked = random.Random(f"{seed} transfer").sample(range(len(kept)), transfer)
            kept = [kept[index] for index in sorted(picked)]
        used = sum(map(len, [*labelled.values(), *outside.values()])) + len(kept)
        left_out = self.report.rows_used - used
        report = replace(
            self.report,
            rows_used=used,
            rows_rejected=self.report.rows_rejected | ({"left out of this subset": left_out} if left_out else {}),
            splits=_facts(tasks.get(self.task), labelled, kept, outside, self.label_names),
        )
        return replace(
            self,
            train=labelled["train"],
            validation=labelled["validation"],
            test=labelled["test"],
            transfer=kept,
            out_of_domain=outside,
            report=report,
            fingerprint=_fingerprint(tasks.get(self.task), labelled, kept, outside, self.label_names),
        )

    @property
    def labelled(self) -> dict[str, Split]:
        """The splits for training, validation and test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def normalise(text: str) -> str:
    """The form in which texts count as equal: NFKC, lower case, white space collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def key(text: str) -> bytes:
    """SHA-256 of the normal form: equal texts share it."""
    return hashlib.sha256(normalise(text).encode()).digest()


def bucket(text: str) -> int:
    """A number from 0 to 9 that equal texts share: their `key` modulo 10."""
    return bucket_of(key(text))


def bucket_of(key: bytes) -> int:
    """The bucket of the texts with this key."""
    return int.from_bytes(key, "big") % BUCKETS


def assemble(
    name: str,
    task: Task,
    label_names: tuple[str, ...],
    labelled: Mapping[str, Sequence[Row]],
    transfer: Sequence[Row],
    outside: Mapping[str, Sequence[Row]],
    ledger: Ledger,
) -> Dataset:
    """Make a data set of rows: drop duplicates inside a split, drop transfer text that a labelled split has, count.

    ``labelled`` has the keys train, validation and test, and the targets of its rows have labels of ``label_names``.
    """

    kept = {split: _without_duplicates(rows, ledger) for split, rows in labelled.items()}
    kept_outside = {domain: _without_duplicates(rows, ledger) for domain, rows in outside.items()}
    known = kept | {f"out of domain {domain}": rows for domain, rows in kept_outside.items()}
    kept_transfer = _without_duplicates(_unseen(transfer, known, ledger), ledger)
    known["transfer"] = kept_transfer

    splits = {split: _split(rows.values(), task, label_names) for split, rows in kept.items()}
    outside_splits = {domain: _split(rows.values(), task, label_names) for domain, rows in kept_outside.items()}
    texts = [row.input for row in kept_transfer.values()]
    report = DataReport(
        rows_in=ledger.rows_in,
        rows_used=sum(map(len, [*splits.values(), *outside_splits.values()])) + len(texts),
        rows_rejected=dict(ledger.rejected),
        samples=tuple(ledger.samples),
        splits=_facts(task, splits, texts, outside_splits, label_names),
        duplicates_removed=ledger.duplicates,
        label_conflicts=ledger.conflicts,
        overlap=_overlap(known),
        notes=tuple(ledger.notes),
        findings=ledger.findings(),
    )
    fingerprint = _fingerprint(task, splits, texts, outside_splits, label_names)
    return Dataset(
        name,
        task.name,
        label_names,
        splits["train"],
        splits["validation"],
        splits["test"],
        texts,
        outside_splits,
        report,
        fingerprint,
    )


def _without_duplicates(rows: Iterable[Row], ledger: Ledger) -> dict[bytes, Row]:
    """The first row of each key, by key."""
    first: dict[bytes, Row] = {}
    for row in rows:
        before = first.setdefault(row.key, row)
        if before is row:
            continue
        same = before.target == row.target
        ledger.duplicates += 1
        ledger.conflicts += not same
        if same:
            ledger.reject("duplicate text", row.file, row.line, f"the same as {before.place}")
        else:
            labels = " and ".join(_in_short(target) for target in (before.target, row.target))
            detail = f"the same as {before.place}, but labelled {labels}"
            ledger.reject("duplicate text with another label", row.file, row.line, detail)
    return first


def _in_short(target: Any) -> str:
    """A target that was read but not indexed yet, on a line."""
    if target is None:
        return "not at all"
    return repr((target if isinstance(target, str) else json.dumps(target, ensure_ascii=False))[:60])


def _unseen(transfer: Sequence[Row], known: Mapping[str, Mapping[bytes, Row]], ledger: Ledger) -> Iterator[Row]:
    for row in transfer:
        place = next((split for split, rows in known.items() if row.key in rows), None)
        if place is None:
            yield row
        else:
            ledger.reject(f"transfer text that is also in {place}", row.file, row.line, harmless=True)


def _overlap(known: Mapping[str, Mapping[bytes, Row]]) -> dict[str, int]:
    """Shared texts of each pair of splits; two test sets may share one, since nothing is learnt from either."""
    tests = {name for name in known if name == "test" or name.startswith("out of domain")}
    pairs = (pair for pair in combinations(known, 2) if not tests.issuperset(pair))
    return {f"{one}/{other}": len(known[one].keys() & known[other].keys()) for one, other in pairs}


def _split(rows: Collection[Row], task: Task, names: Sequence[str]) -> Split:
    return Split(
        [row.input for row in rows],
        [task.index(row.target, names) for row in rows],
        [row.place for row in rows],
        [row.slice for row in rows],
    )


def _facts(
    task: Task,
    labelled: Mapping[str, Split],
    transfer: Sequence[Any],
    outside: Mapping[str, Split],
    names: Sequence[str],
) -> dict[str, SplitFacts]:
    every = dict(labelled) | {f"out of domain: {domain}": split for domain, split in outside.items()}
    facts = {
        name: SplitFacts.of(
            map(task.text_of, split.inputs),
            (label for target in split.targets for label in task.counted(target, names)),
        )
        for name, split in every.items()
    }
    return facts | ({"transfer": SplitFacts.of(map(task.text_of, transfer), [])} if transfer else {})


def _fingerprint(
    task: Task,
    labelled: Mapping[str, Split],
    transfer: Sequence[Any],
    outside: Mapping[str, Split],
    names: Sequence[str],
) -> str:
    digest = hashlib.sha256()
    for split_name, split in [*labelled.items(), *outside.items()]:
        for item, target in zip(split.inputs, split.targets, strict=True):
            digest.update(json.dumps([split_name, item, task.shown(target, names)]).encode() + b"\n")
    for item in transfer:
        digest.update(json.dumps(["transfer", item]).encode() + b"\n")
    return digest.hexdigest()


def _sample(split: Split, size: int | None, seed: str) -> Split:
    """``size`` rows in their old order, each label with its share (largest remainders), and at least one of each.

    Targets that are no label indices have no shares to keep.
    """
    if size is None or size >= len(split):
        return split
    by_label: dict[int, list[int]] = {}
    for index, target in enumerate(split.targets):
        by_label.setdefault(target if isinstance(target, int) else 0, []).append(index)
    exact = {label: size * len(rows) / len(split) for label, rows in by_label.items()}
    shares = {label: max(1, int(share)) for label, share in exact.items()}
    for label in sorted(exact, key=lambda one: int(exact[one]) - exact[one]):
        if sum(shares.values()) < size:
            shares[label] += 1
    source = random.Random(seed)
    picked = sorted(i for label in sorted(by_label) for i in source.sample(by_label[label], shares[label]))
    return split.take(picked)
