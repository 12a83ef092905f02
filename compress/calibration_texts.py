"""The texts that pruning looks at, and what the unpruned model says of them."""

from __future__ import annotations

import copy
import logging
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lilliput import encoder
from lilliput.compress import predictions
from lilliput.tasks import Task
from lilliput.train import evaluate, features
from lilliput.train.data import Dataset

BATCH = 32
"""Windows of text that are read at a time, of like length."""

ENOUGH_TEXTS = 128
"""Texts below which gradients say more about those texts than about the task."""

ENOUGH_TOKENS = 4
"""Tokens for each neuron of a block, below which least squares fits the texts rather than the task."""

logger = logging.getLogger(__name__)


class CalibrationTexts:
    """A sample of training texts in batches; iterating gives the model's inputs, and its own answers as ``teacher``.

    Pruning asks how little of a model gives the same answers, so labels are not read.

    Args:
        model: the unpruned one.
        count: texts; all there are, where there are fewer.
        seed: of the sample.

    Attributes:
        lengths: tokens of each window, in the order of the batches.
    """

    def __init__(
        self, dataset: Dataset, task: Task, model: Any, tokenizer: Any, *, count: int, max_length: int, seed: int
    ) -> None:
        inputs = [*dataset.train.inputs]
        if count < len(inputs):
            inputs = random.Random(f"{seed} calibration").sample(inputs, count)
        self.kind = predictions.kind_of(task)
        found = features.windows_of(task, tokenizer, inputs, max_length)
        self._windows = sorted((window for some in found for window in some), key=lambda window: len(window.ids))
        self._tokenizer = tokenizer
        self.lengths = [len(window.ids) for window in self._windows]
        self._teacher = evaluate.outputs_of(model, tokenizer, self._windows)
        self._hidden = encoder.shape_of(model).hidden
        self._given, self._needed = len(inputs), _needed(model, float(np.mean(self.lengths)))

    def warn_if_few(self) -> None:
        """Log how many texts this model needs, where these are fewer."""
        if self._given < self._needed:
            logger.warning(
                "%d texts to calibrate on are few for this model: give at least %s, with --calibration or more data",
                self._given,
                f"{self._needed:,}",
            )

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        pad = features.Collate(self._tokenizer)
        for start in range(0, len(self._windows), BATCH):
            some = self._windows[start : start + BATCH]
            batch = pad([features.model_inputs(window, self._tokenizer) for window in some])
            yield {**batch, "teacher": torch.from_numpy(_stacked(self._teacher[start : start + BATCH]))}

    def sample(self, count: int, shift: int = 0) -> CalibrationTexts:
        """About so many windows of these, of all lengths; with another ``shift`` others, where there are enough."""
        other = copy.copy(self)
        step = max(1, len(self) // count)
        some = slice(shift % step, None, step)
        other._windows, other.lengths, other._teacher = self._windows[some], self.lengths[some], self._teacher[some]
        return other

    def within(self, memory: int) -> CalibrationTexts:
        """As many of these windows as least squares holds in so many bytes: four float32 streams of the hidden size."""
        too_many = math.ceil(16 * sum(self.lengths) * self._hidden / memory)
        return self.sample(max(1, len(self) // too_many)) if too_many > 1 else self

    def divergence(self, model: Any) -> float:
        """How far the answers of ``model`` are from those of the unpruned one.

        The mean Kullback-Leibler divergence of their probabilities, or where answers are no choice of one label, the
        mean squared difference of their outputs.
        """
        ours = evaluate.outputs_of(model, self._tokenizer, self._windows)
        if self.kind == "classes":
            return float(np.mean([_divergence(*pair) for pair in zip(self._teacher, ours, strict=True)]))
        return float(np.mean([np.square(a - b).mean() for a, b in zip(self._teacher, ours, strict=True)]))


def _divergence(teacher: NDArray[np.float32], student: NDArray[np.float32]) -> float:
    """``KL(softmax(teacher), softmax(student))`` of logits ``[labels]``."""
    a, b = (value.astype(np.float64) - np.logaddexp.reduce(value.astype(np.float64)) for value in (teacher, student))
    return float((np.exp(a) * (a - b)).sum())


def _needed(model: Any, tokens: float) -> int:
    """Texts of so many tokens on average that pruning this model needs."""
    widest = max(block.ffn_in.out_features for block in encoder.blocks_of(model))
    return max(ENOUGH_TEXTS, math.ceil(ENOUGH_TOKENS * widest / tokens))


def _stacked(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """``[B, ...]``, outputs of one row a token padded with 0 to the longest."""
    if outputs[0].ndim == 1:
        return np.stack(outputs)
    longest = max(map(len, outputs))
    return np.stack([np.pad(output, ((0, longest - len(output)), (0, 0))) for output in outputs])
