"""The texts that a student reads: labelled ones, unlabelled ones, and changed copies; encoded on disk as they come.

Nothing here holds a corpus in memory: an unlabelled file is read row by row, and the encoded rows are an Arrow file
that training maps into memory page by page. What grows with the number of texts is some 250 bytes for each: what tells
doubles apart, its place in the order of training, and its key among the teachers' outputs.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow

from lilliput import processes
from lilliput.compress import predictions
from lilliput.compress.augment import augment
from lilliput.compress.masked_words import replace_words
from lilliput.compress.predictions import Kind
from lilliput.compress.teachers import Teacher, keys_of
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError
from lilliput.tasks import Task
from lilliput.train import sources
from lilliput.train.data import Dataset
from lilliput.train.data import key as key_of_text
from lilliput.train.data_report import Ledger
from lilliput.train.evaluate import Progress
from lilliput.train.features import model_inputs, windows_of
from lilliput.train.row_files import stream_rows

PIECE = 4096
"""Texts that are encoded, and that the teachers read, at a time: what an interruption can lose of their work."""


class Example(NamedTuple):
    """An input, its target as `Task.index` makes it or None, where it comes from, and of which of the three kinds."""

    input: Any
    target: Any
    place: str
    source: str


class Transfer:
    """The examples of one distillation, in an order that does not change.

    Attributes:
        counts: examples by source, "labelled", "transfer" or "augmented", after a pass.
        rejected: rows of the unlabelled file by the reason why they can't be used, after a pass.
    """

    def __init__(self, dataset: Dataset, task: Task, config: DistillConfig, progress: Progress | None = None) -> None:
        self.dataset = dataset
        self.task = task
        self.config = config
        self.progress = progress
        self.counts: Counter[str] = Counter()
        self.rejected: dict[str, int] = {}
        changes = {"--augment": config.augment, "--augment-online": config.augment_online}
        for flag, value in changes.items():
            if value and not all(isinstance(item, str) for item in dataset.train.inputs):
                raise ConfigError(f"{flag} {value}: works with single texts, which these data are not")

    def __iter__(self) -> Iterator[Example]:
        self.counts.clear()
        for example in itertools.chain(self._labelled(), self._transfer(), self._unlabelled(), self._augmented()):
            self.counts[example.source] += 1
            yield example

    def _labelled(self) -> Iterator[Example]:
        train = self.dataset.train
        places = train.places or [f"training row {number}" for number in range(len(train))]
        for item, target, place in zip(train.inputs, train.targets, places, strict=True):
            yield Example(item, target, place, "labelled")

    def _transfer(self) -> Iterator[Example]:
        for number, item in enumerate(self.dataset.transfer):
            yield Example(item, None, f"transfer text {number}", "transfer")

    def _unlabelled(self) -> Iterator[Example]:
        """The rows of ``--unlabelled`` that no split holds, each text once."""
        if self.config.unlabelled is None:
            return
        ledger, columns = Ledger(), sources.named_columns(self.config)
        seen = self._known()
        for row in stream_rows(self.config.unlabelled, ledger, self.task, columns, labelled=False):
            self._check_form(row.input)
            short = _short(row.key)
            if short in seen:
                ledger.reject("text that is there already", row.file, row.line, harmless=True)
                continue
            seen.add(short)
            yield Example(row.input, None, row.place, "transfer")
        self.rejected = dict(ledger.rejected)

    def _check_form(self, item: Any) -> None:
        """Raise :class:`ConfigError` where the model would read one text instead of two, or two instead of one."""
        one, other = (
            self.task.tokens(self.task.parts(some)[0]).second is None for some in (item, self.dataset.train.inputs[0])
        )
        if one != other:
            ours, theirs = ("single texts" if single else "pairs of texts" for single in (one, other))
            raise ConfigError(f"--unlabelled {self.config.unlabelled}: holds {ours}, but the training data {theirs}")

    def _known(self) -> set[int]:
        """Every text of the data set: of a labelled split, of another domain's test, or unlabelled."""
        splits = [*self.dataset.labelled.values(), *self.dataset.out_of_domain.values()]
        items = itertools.chain(*(split.inputs for split in splits), self.dataset.transfer)
        return {_short(key_of_text(self.task.text_of(item))) for item in items}

    def _augmented(self) -> Iterator[Example]:
        texts, config = self.dataset.train.inputs, self.config
        copies = (
            replace_words(texts, config.augment, config.seed, config.augment_model, config.device, self.progress)
            if config.augment_model
            else augment(texts, config.augment, config.seed)
        )
        for number, text in enumerate(copies):
            yield Example(text, None, f"changed copy of training row {number % len(texts)}", "augmented")


def _short(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big")


def write(
    examples: Transfer,
    tokenizer: Any,
    max_length: int,
    labels: int,
    path: Path,
    teachers: Sequence[Teacher] = (),
    progress: Progress | None = None,
) -> datasets.Dataset:
    """Encode every example, one row a window, and have each teacher read what it has not read before.

    A row has the columns of :func:`lilliput.train.features.encode` and ``key``, by which the teachers' outputs are
    found. Texts that belong together, as the pairs of sentence embeddings do, are rows of their own.

    Args:
        tokenizer: the student's.
        labels: outputs of the student's head.
        path: of the Arrow file.

    Returns:
        The rows, mapped into memory.
    """
    task, kind = examples.task, predictions.kind_of(examples.task)
    path.parent.mkdir(parents=True, exist_ok=True)
    total = len(examples.dataset.train) * (1 + examples.config.augment) + len(examples.dataset.transfer)
    count = done = 0
    every = _apart(examples, task)
    with _Writer(path) as file:
        while chunk := list(itertools.islice(every, PIECE)):
            rows = [
                {**columns, "row": count + number}
                for number, columns in enumerate(_rows(chunk, task, kind, tokenizer, max_length, labels))
            ]
            count, done = count + len(rows), done + len(chunk)
            file.write(rows)
            keys = np.array([row["key"] for row in rows], dtype=np.int64)
            for teacher in teachers:
                teacher.read([example.input for example in chunk], keys, progress, done - len(chunk), max(total, done))
    processes.gather(None)  # the main one has written the last row
    return datasets.Dataset.from_file(str(path))


def _apart(examples: Transfer, task: Task) -> Iterator[Example]:
    """The examples, with each text of a grouped input as an example of its own."""
    for example in examples:
        if task.grouped:
            yield from (Example((text,), None, example.place, example.source) for text in task.parts(example.input))
        else:
            yield example


def _rows(
    chunk: Sequence[Example], task: Task, kind: Kind, tokenizer: Any, max_length: int, labels: int
) -> Iterator[dict[str, Any]]:
    windows = windows_of(task, tokenizer, [example.input for example in chunk], max_length)
    for example, found in zip(chunk, windows, strict=True):
        keys = keys_of(task, [example.input], [found])
        for window, key in zip(found, keys, strict=True):
            yield {
                **_training(example.target, task, kind, window, labels),
                **model_inputs(window, tokenizer),
                "length": len(window.ids),
                "place": example.place,
                "key": key,
            }


def _training(target: Any, task: Task, kind: Kind, window: Any, labels: int) -> dict[str, Any]:
    """What the loss with the labels reads; of floats all are floats, or the file's columns would change their type."""
    if target is None or kind == "vector":
        return predictions.unknown(kind, labels, len(window.ids))
    found = task.training(target, window)
    if kind == "score":
        return {"labels": float(found["labels"])}
    return {"labels": [float(value) for value in found["labels"]]} if kind == "labels" else found


SMALL_TYPES = {"input_ids": pyarrow.int32(), "attention_mask": pyarrow.int8(), "token_type_ids": pyarrow.int8()}
"""Of the columns that have a number a token; Python's integers have 64 bits. A quarter of the file is left: what is
mapped into memory counts as the process's, and the disk's cache is for more rows.
"""


def _narrowed(schema: Any) -> Any:
    """The schema with lists of numbers as small as they can be."""
    for number, field in enumerate(schema):
        if field.name in SMALL_TYPES:
            schema = schema.set(number, pyarrow.field(field.name, pyarrow.list_(SMALL_TYPES[field.name])))
    return schema


class _Writer:
    """Writes rows to an Arrow file, whose columns are those of the first ones; use as a context manager.

    Of several processes the main one writes.
    """

    def __init__(self, path: Path) -> None:
        if processes.is_main():
            path.unlink(missing_ok=True)  # a file that someone has mapped must not change
        self._file = pyarrow.OSFile(str(path) if processes.is_main() else os.devnull, "wb")
        self._stream: Any = None
        self._schema: Any = None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._stream is not None:
            self._stream.close()
        self._file.close()

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Append rows."""
        if self._schema is None:
            self._schema = _narrowed(pyarrow.Table.from_pylist(rows).schema)
            self._stream = pyarrow.ipc.new_stream(self._file, self._schema)
        self._stream.write_table(pyarrow.Table.from_pylist(rows, schema=self._schema))
