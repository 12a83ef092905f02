"""Raw text for tokenizers and pretraining: documents, one after the other, out of files or a data set of the Hub.

A corpus is never in memory: a pass over it holds one record at a time, and 1 MB of a text file without line ends. The
documents to evaluate on are chosen by a hash of their text, so the choice depends neither on the order of the
documents nor on a seed, and equal documents are on one side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lilliput import tasks
from lilliput.config import CorpusConfig
from lilliput.errors import DataError
from lilliput.runs import digest
from lilliput.train import corpus_files
from lilliput.train.data import key
from lilliput.train.data_report import Ledger
from lilliput.train.evaluate import Progress

EXAMPLES = 10
"""Rejected records that a result names."""


class Document(NamedTuple):
    """A document's text, and whether it is kept for evaluation."""

    text: str
    held_out: bool


@dataclass
class Tally(Ledger):
    """Counts what a pass over a corpus meets."""

    training: int = 0
    held_out: int = 0

    def facts(self) -> dict[str, Any]:
        """The counts as JSON values, with the first of the records that could not be used."""
        return {
            "documents": self.training,
            "held_out_documents": self.held_out,
            "rejected": dict(self.rejected),
            "rejected_examples": [str(fault) for fault in self.samples[:EXAMPLES]],
        }


class Corpus:
    """What ``--corpus`` names.

    Args:
        config: its ``corpus``, ``text_column`` and ``held_out`` are read.

    Raises:
        DataError: a file or folder is not there, or is of a kind that can't be read.
    """

    def __init__(self, config: CorpusConfig) -> None:
        self.sources = tuple(found for name in config.corpus for found in corpus_files.resolve(name))
        self.name = ", ".join(config.corpus)
        self.text_column = config.text_column
        self.share = config.held_out

    def fingerprint(self) -> str:
        """SHA-256 of the files and of what is read of them; a data set of the Hub stands for itself by its id."""
        return digest([[_digest(source) for source in self.sources], self.text_column, self.share])

    def documents(
        self, tally: Tally, progress: Progress | None = None, what: str = "reading the corpus"
    ) -> Iterator[Document]:
        """Every usable document, in the order of the corpus; counts them, and the records rejected, in ``tally``.

        Raises:
            DataError: a file can't be read or lacks the column; at the end, where a side has no document.
        """
        for number, source in enumerate(self.sources):
            if progress:
                progress(number, len(self.sources), f"{what}: {source}")
            for line, value in corpus_files.read(source, self.text_column):
                tally.rows_in += 1
                try:
                    text = _text(value)
                except tasks.RowFault as fault:
                    tally.reject(str(fault), str(source), line)
                    continue
                held_out = position(text) < self.share
                tally.held_out += held_out
                tally.training += not held_out
                yield Document(text, held_out)
        self._check(tally)

    def _check(self, tally: Tally) -> None:
        """Raise DataError where there is nothing to train on, or nothing to evaluate on."""
        if not tally.training and not tally.held_out:
            faults = ", ".join(f"{count:,} {reason}" for reason, count in tally.rejected.most_common())
            more = f"; rejected: {faults}; the first is {tally.samples[0]}" if faults else ""
            raise DataError(f"--corpus {self.name}: there is no document{more}")
        count = f"--corpus {self.name}: of {tally.training + tally.held_out:,} documents"
        if not tally.held_out:
            raise DataError(f"{count} none is held out for evaluation; give more of them, or a larger --held-out")
        if not tally.training:
            raise DataError(f"{count} all are held out for evaluation; give more of them, or a smaller --held-out")


def position(text: str) -> float:
    """Where a document lies between 0 and 1: the first 64 bits of SHA-256 of its normal form. Equal texts share it."""
    return int.from_bytes(key(text)[:8], "big") / 2**64


def _text(value: Any) -> str:
    if isinstance(value, tasks.RowFault):
        raise value
    return tasks.text(value)


def _digest(source: Path | str) -> str:
    if isinstance(source, str):
        return source
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}") from error
