"""Inputs and targets as tensors: the windows of token ids that a task reads, with what its loss needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import torch
from tokenizers import Encoding
from torch import Tensor

from lilliput.tasks import IGNORED, Task
from lilliput.tokenization import WindowEncoder
from lilliput.train.data import Split


def windows_of(task: Task, tokenizer: Any, inputs: Sequence[Any], max_length: int) -> list[list[Encoding]]:
    """The windows in which ``task`` reads each input, at least one each.

    Args:
        tokenizer: a fast tokenizer of transformers.
    """
    encode = WindowEncoder(tokenizer.backend_tokenizer, max_length, task.overlap)
    return encode([task.tokens(item) for item in inputs])


def model_inputs(window: Encoding, tokenizer: Any) -> dict[str, list[int]]:
    """The columns of a window that a model reads, by the names that the tokenizer gives them."""
    every = {"input_ids": window.ids, "attention_mask": window.attention_mask, "token_type_ids": window.type_ids}
    return {name: every[name] for name in tokenizer.model_input_names if name in every}


def encode(split: Split, task: Task, tokenizer: Any, max_length: int) -> datasets.Dataset:
    """A split as a data set for the training loop, one row a window.

    Beside what model and loss read, a row has ``length`` (tokens), ``row`` (its number) and ``place`` (file and line
    that it came from).
    """
    rows: list[dict[str, Any]] = []
    places = split.places or [f"row {number}" for number in range(len(split))]
    windows = windows_of(task, tokenizer, split.inputs, max_length)
    for target, place, found in zip(split.targets, places, windows, strict=True):
        for window in found:
            columns = {**model_inputs(window, tokenizer), **task.training(target, window)}
            rows.append({**columns, "length": len(window.ids), "row": len(rows), "place": place})
    return datasets.Dataset.from_list(rows)


class Collate:
    """Makes a batch of rows of `encode`: token columns padded to the longest, and everything else as it is."""

    def __init__(self, tokenizer: Any, per_token: bool = False) -> None:
        self.tokenizer = tokenizer
        self.per_token = per_token

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Token columns ``[B, T]``; labels ``[B, T]`` where they are one a token, padded with ``IGNORED``."""
        padded = [name for name in self.tokenizer.model_input_names if name in rows[0]]
        batch = dict(self.tokenizer.pad([{name: row[name] for name in padded} for row in rows], return_tensors="pt"))
        width = batch["input_ids"].shape[1]
        for name in rows[0].keys() - set(padded) - {"place"}:
            values = [row[name] for row in rows]
            if name == "labels" and self.per_token:
                values = [labels + [IGNORED] * (width - len(labels)) for labels in values]
            batch[name] = torch.tensor(values)
        return batch
