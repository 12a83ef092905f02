"""A corpus as blocks of token ids on disk, all of one length.

Documents follow each other, each with [SEP] behind it; this stream is cut into blocks of ``length - 1`` tokens, and
each block begins with [CLS]:

    [CLS] the film was good [SEP] an awful | [CLS] movie [SEP] a joy from start to finish [SEP]

A block may hold several documents, and attention reaches across them (FULL-SENTENCES in Liu et al. 2019, RoBERTa). No
token is lost: only the last block is filled up with [PAD]. The blocks are an Arrow file, which training maps into
memory page by page, so a corpus may be larger than the memory at every step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lilliput.errors import DataError
from lilliput.language_models import vocabulary_of
from lilliput.train.corpus import Corpus, Document, Tally
from lilliput.train.evaluate import Progress

TRAINING, HELD_OUT = "training.arrow", "held-out.arrow"

LONGEST_PIECE = 100_000
"""Characters that the tokenizer is given at a time; a longer document is cut in front of a space."""
PIECES = 1000
"""Pieces that the tokenizer is given at a time: they keep its threads busy."""
BATCH = 1000
"""Blocks that are written at a time."""


class Piece(NamedTuple):
    """A document or a part of one."""

    text: str
    held_out: bool
    last: bool


def pack(corpus: Corpus, tokenizer: Any, length: int, folder: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write the blocks of ``corpus`` to ``folder``, training and held-out documents apart.

    Args:
        tokenizer: a fast tokenizer of transformers.
        length: tokens of a block, special ones included.

    Returns:
        What the corpus holds: documents, tokens and blocks of both parts, rejected records, and
        ``most_frequent_token``, the id that occurs most often in the training part.

    Raises:
        DataError: see :meth:`lilliput.train.corpus.Corpus.documents`; or the documents of a part hold no token.
    """
    tally = Tally()
    documents = corpus.documents(tally, progress, "tokenising")
    with (
        BlockWriter(folder / TRAINING, tokenizer, length) as training,
        BlockWriter(folder / HELD_OUT, tokenizer, length) as held_out,
    ):
        for batch in batches(documents):
            for piece, ids in zip(batch, tokens_of([piece.text for piece in batch], tokenizer), strict=True):
                (held_out if piece.held_out else training).add(ids, ends_document=piece.last)
    if not training.tokens or not held_out.tokens:
        part = "held-out" if training.tokens else "training"
        raise DataError(f"{corpus.name}: the tokenizer finds no token in the {part} documents; give other text")
    return {
        **tally.facts(),
        "tokens": training.tokens,
        "held_out_tokens": held_out.tokens,
        "blocks": training.blocks,
        "held_out_blocks": held_out.blocks,
        "most_frequent_token": int(training.counts.argmax()),
    }


def tokens_of(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Token ids of each text, all of them, and none of them special but [UNK]: text like "[SEP]" is just text."""
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        split_special_tokens=True,
        verbose=False,
    )
    return encoded["input_ids"]


def batches(documents: Iterator[Document]) -> Iterator[list[Piece]]:
    """Pieces of documents, so many at a time that neither their number nor their length asks for much memory."""
    batch: list[Piece] = []
    characters = 0
    for piece in itertools.chain.from_iterable(map(pieces, documents)):
        batch.append(piece)
        characters += len(piece.text)
        if len(batch) >= PIECES or characters >= 10 * LONGEST_PIECE:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def pieces(document: Document) -> Iterator[Piece]:
    """The parts of a document that the tokenizer is given: their tokens, joined, are the document's."""
    text, held_out = document
    start = 0
    while len(text) - start > LONGEST_PIECE:
        cut = text.rfind(" ", start + 1, start + LONGEST_PIECE)
        cut = start + LONGEST_PIECE if cut < 0 else cut
        yield Piece(text[start:cut], held_out, last=False)
        start = cut
    yield Piece(text[start:], held_out, last=True)


class BlockWriter:
    """Writes a stream of tokens as blocks; use as a context manager.

    Attributes:
        tokens: the documents' tokens so far, without special ones.
        blocks: blocks so far.
        counts: occurrences of each token, int64 ``[V]``; those of special tokens are 0.
    """

    def __init__(self, path: Path, tokenizer: Any, length: int) -> None:
        import pyarrow

        self.length = length
        self.tokens = self.blocks = 0
        self.counts: NDArray[np.int64] = np.zeros(vocabulary_of(tokenizer), dtype=np.int64)
        self._cls, self._sep, self._pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
        self._special = list(tokenizer.all_special_ids)
        self._waiting: list[NDArray[np.int32]] = []
        self._room = BATCH * (length - 1)  # tokens until the next batch is full
        self._in_document = False
        schema = pyarrow.schema({"input_ids": pyarrow.list_(pyarrow.int32(), length), "row": pyarrow.int64()})
        self._file = pyarrow.OSFile(str(path), "wb")
        self._writer = pyarrow.ipc.new_stream(self._file, schema)

    def __enter__(self) -> BlockWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write(whole=False)
        self._writer.close()
        self._file.close()

    def add(self, ids: Sequence[int], *, ends_document: bool) -> None:
        """Append tokens of a document; a document without any leaves no trace."""
        self.tokens += len(ids)
        self._in_document |= len(ids) > 0
        ends = ends_document and self._in_document
        self._waiting.append(np.array([*ids, self._sep] if ends else ids, dtype=np.int32))
        self._in_document &= not ends
        self._room -= len(self._waiting[-1])
        if self._room <= 0:
            self._write()

    def _write(self, whole: bool = True) -> None:
        """Write the blocks that are full, or with ``whole`` false all, the last one filled up."""
        import pyarrow

        stream = np.concatenate([np.zeros(0, dtype=np.int32), *self._waiting])
        width = self.length - 1
        count = len(stream) // width if whole else -(-len(stream) // width)
        used = stream[: count * width]
        rows = np.full((count, self.length), self._pad, dtype=np.int32)
        rows[:, 0] = self._cls
        rows[:, 1:].flat[: len(used)] = used
        self.counts += np.bincount(used, minlength=len(self.counts))
        self.counts[self._special] = 0
        numbers = np.arange(self.blocks, self.blocks + count)
        blocks = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), self.length)
        self._writer.write_batch(pyarrow.record_batch({"input_ids": blocks, "row": pyarrow.array(numbers)}))
        self.blocks += count
        self._waiting = [stream[len(used) :]]
        self._room = BATCH * width - len(self._waiting[0])


def blocks_of(path: Path) -> datasets.Dataset:
    """The blocks of a file, mapped into memory: ``input_ids``, int32 ``[length]``, and ``row``, their number."""
    return datasets.Dataset.from_file(str(path)).with_format("numpy")


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Blocks as a batch: int64 ``input_ids`` ``[B, length]`` and ``row`` ``[B]``."""
    ids = np.stack([row["input_ids"] for row in rows]).astype(np.int64)
    return {"input_ids": torch.from_numpy(ids), "row": torch.tensor([int(row["row"]) for row in rows])}
