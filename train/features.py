"""Inputs and targets as tensors: the windows of token ids that a task reads, with what its loss needs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import datasets
import torch
from tokenizers import Encoding
from torch import Tensor

from lilliput.tasks import IGNORED, Task
from lilliput.tokenization import WindowEncoder
from lilliput.train.data import Split, normalise

PREFIXES = ("", "pair_", "negative_")
"""Of the token columns of the texts of a grouped input, in their order."""


def windows_of(task: Task, tokenizer: Any, inputs: Sequence[Any], max_length: int) -> list[list[Encoding]]:
    """The windows in which ``task`` reads each input, at least one each.

    Args:
        tokenizer: a fast tokenizer of transformers.
    """
    encode = WindowEncoder(tokenizer.backend_tokenizer, max_length, task.overlap)
    parts = [task.parts(item) for item in inputs]
    found = iter(encode([task.tokens(part) for some in parts for part in some]))
    return [[window for _ in some for window in next(found)] for some in parts]


def model_inputs(window: Encoding, tokenizer: Any) -> dict[str, list[int]]:
    """The columns of a window that a model reads, by the names that the tokenizer gives them."""
    every = {"input_ids": window.ids, "attention_mask": window.attention_mask, "token_type_ids": window.type_ids}
    return {name: every[name] for name in tokenizer.model_input_names if name in every}


def encode(split: Split, task: Task, tokenizer: Any, max_length: int) -> datasets.Dataset:
    """A split as a data set for the training loop, one row a window, or one a grouped input (see `Task.grouped`).

    Beside what model and loss read, a row has ``length`` (tokens), ``row`` (its number) and ``place`` (file and line
    that it came from); that of a grouped input also ``texts``: a number for each text, which equal ones share.
    """
    rows: list[dict[str, Any]] = []
    places = split.places or [f"row {number}" for number in range(len(split))]
    windows = windows_of(task, tokenizer, split.inputs, max_length)
    for item, target, place, found in zip(split.inputs, split.targets, places, windows, strict=True):
        for group in [found] if task.grouped else [[window] for window in found]:
            columns = {**task.training(target, group[0]), "row": len(rows), "place": place}
            for prefix, window in zip(PREFIXES, group, strict=False):
                columns |= {prefix + name: ids for name, ids in model_inputs(window, tokenizer).items()}
            if task.grouped:
                columns["texts"] = [number_of(part) for part in task.parts(item)]
            rows.append({**columns, "length": max(len(window.ids) for window in group)})
    return datasets.Dataset.from_list(rows)


def number_of(text: str) -> int:
    """A number of 63 bits for a text's normal form: equal texts have the same one."""
    return int.from_bytes(hashlib.sha256(normalise(text).encode()).digest()[:8], "big") >> 1


class Collate:
    """Makes a batch of rows of `encode`: token columns padded to the longest, and everything else as it is."""

    def __init__(self, tokenizer: Any, per_token: bool = False) -> None:
        self.tokenizer = tokenizer
        self.per_token = per_token

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Token columns ``[B, T]``; labels ``[B, T]`` where they are one a token, padded with ``IGNORED``."""
        batch: dict[str, Tensor] = {}
        for prefix in PREFIXES:
            names = [name for name in self.tokenizer.model_input_names if prefix + name in rows[0]]
            if names:
                tokens = [{name: row[prefix + name] for name in names} for row in rows]
                padded = self.tokenizer.pad(tokens, return_tensors="pt")
                batch |= {prefix + name: padded[name] for name in names}
        width = batch["input_ids"].shape[1]
        for name in sorted(rows[0].keys() - batch.keys() - {"place"}):
            values = [row[name] for row in rows]
            if name == "labels" and self.per_token:
                values = [labels + [IGNORED] * (width - len(labels)) for labels in values]
            batch[name] = torch.tensor(values)
        return batch
