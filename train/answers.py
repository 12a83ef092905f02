"""Gold and predicted answers of a split, in the forms that figures are made of: labels and probabilities."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray

from lilliput import statistics
from lilliput.statistics import Estimate
from lilliput.tasks import Task
from lilliput.train.data import Split

MOST = 20_000
"""Rows with an interval that takes many measurements: that of more is narrow, and takes minutes."""

Labels = NDArray[np.bool_]
"""Which labels answers have, [answers, labels]."""


class Answers:
    """The answers of a model to the inputs of a split.

    Attributes:
        metric: what answers are measured by: their accuracy, where a row has one label out of several, since other
            figures of such tasks mean little on the rows of one label; else the task's own metric.
        gold, predicted: answers as JSON has them.
        one_a_row, one_each: a row's label is one out of several; a row's or a token's is.
        labels: gold and predicted labels, [rows, labels], or [tokens of all rows, labels] where each token has one;
            None where answers are no labels.
        row_labels: gold labels, [rows, labels]; None where a row's answer is no label, nor several.
        given: of each row, the probabilities that the model gives its labels, a list; None where it gives none.
        probabilities: ``given`` as [rows, labels], where a row has one label out of several; else None.
    """

    def __init__(
        self, task: Task, predictions: Sequence[Any], split: Split, names: Sequence[str], settings: Mapping[str, Any]
    ) -> None:
        self.task = task
        self.predictions = predictions
        self.split = split
        self.names = names
        self.settings = settings
        records = [task.record(prediction, names, settings) for prediction in predictions]
        self.gold = [task.shown(target, names) for target in split.targets]
        self.predicted = [record["prediction"] for record in records]
        given = [record["probabilities"] for record in records]
        self.one_a_row = bool(names) and all(isinstance(target, int) for target in split.targets)
        self.one_each = self.one_a_row or task.per_token
        self.metric = "accuracy" if self.one_a_row else task.metric
        self.labels = self._pair()
        self.row_labels = None if self.labels is None or task.per_token else self.labels[0]
        whole = self.one_a_row and all(row is not None for row in given)
        self.probabilities = np.array(given, dtype=np.float64) if whole else None
        self.given = given

    def table(self) -> pyarrow.Table:
        """``id`` (file and line), ``gold``, ``prediction`` and ``probabilities``, a row each."""
        return pyarrow.table(
            {
                "id": self.split.places or [str(number) for number in range(len(self.split))],
                "gold": self.gold,
                "prediction": self.predicted,
                "probabilities": self.given,
            }
        )

    def measure(self, rows: Sequence[int]) -> Estimate:
        """``metric`` on some rows, with Wilson's interval where it is the share of right answers, else with the
        jackknife's; of very few or many rows without."""
        if self.one_a_row and self.labels is not None:
            gold, found = self.labels
            return statistics.accuracy((gold[rows] == found[rows]).all(axis=1))
        if not 2 <= len(rows) <= MOST:
            return Estimate(self.value(rows), math.nan, math.nan)
        return statistics.jackknife(self.value, rows)

    def value(self, rows: Sequence[int]) -> float:
        """``metric`` on some rows."""
        predictions, targets = [self.predictions[i] for i in rows], [self.split.targets[i] for i in rows]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a part need not have rows of every label, or values that differ
            return float(self.task.metrics(predictions, targets, self.names, self.settings)[self.metric])

    def _pair(self) -> tuple[Labels, Labels] | None:
        gold, found = self.gold, self.predicted
        if self.task.per_token:
            if not all(isinstance(row, list) for row in [*gold, *found]) or [*map(len, gold)] != [*map(len, found)]:
                return None
            gold, found = ([label for row in some for label in row] for some in (gold, found))
        one, other = _labels(gold, self.names), _labels(found, self.names)
        return None if one is None or other is None else (one, other)


def _labels(answers: Sequence[Any], names: Sequence[str]) -> Labels | None:
    """The labels of answers, each a label or a list of them; None where they are something else."""
    every = [[answer] if isinstance(answer, str) else answer for answer in answers]
    if not names or not all(isinstance(some, list | tuple) and set(some) <= set(names) for some in every):
        return None
    place = {name: number for number, name in enumerate(names)}
    found = np.zeros((len(every), len(names)), dtype=np.bool_)
    for row, some in enumerate(every):
        found[row, [place[name] for name in some]] = True
    return found
