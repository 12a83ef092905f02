"""What Hutto & Gilbert (ICWSM 2014) report of four domains, and their rule of three classes.

Reference: Hutto & Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

DOMAINS = ("tweets", "movies", "products", "editorials")
CLASSES = ("negative", "neutral", "positive")

THRESHOLD = 0.05
"""Compound scores, which lie in [-1, 1], from this up are positive, from its negative down negative."""

VADER = {"tweets": 0.96, "movies": 0.61, "products": 0.63, "editorials": 0.55}
"""F1 over three classes."""
RATERS = {"tweets": 0.84, "movies": 0.92, "products": 0.85, "editorials": 0.65}
"""Single human raters."""
LEARNERS = {"tweets": 0.84, "movies": 0.75, "products": 0.61, "editorials": 0.50}
"""The best machine learner that was trained in the domain."""


def classes_of(scores: ArrayLike, threshold: float = THRESHOLD) -> NDArray[np.int64]:
    """Index in `CLASSES` of each score [n]: positive from ``threshold`` up, negative from its negative down."""
    values = np.asarray(scores, dtype=np.float64)
    return 1 + (values >= threshold).astype(np.int64) - (values <= -threshold)


def f1_of(gold: Sequence[int] | NDArray[np.int64], found: Sequence[int] | NDArray[np.int64]) -> dict[str, float]:
    """F1 of each class, 2 TP / (2 TP + FP + FN), averaged: ``weighted`` by the rows of the class, and ``macro``, each
    class alike; and in the same two ways precision and recall. A class that neither side has counts for nothing.
    """
    from sklearn.metrics import precision_recall_fscore_support

    made: dict[str, float] = {}
    for way in ("weighted", "macro"):
        precision, recall, f1, _ = precision_recall_fscore_support(gold, found, average=way, zero_division=0)
        made |= {way: float(f1), f"{way}_precision": float(precision), f"{way}_recall": float(recall)}
    return made


def jackknifed(gold: NDArray[np.int64], found: NDArray[np.int64], way: str) -> Any:
    """An F1 of `f1_of` with its 95% interval over the texts."""
    from sklearn.metrics import f1_score

    from lilliput import statistics

    def measure(items: Sequence[int]) -> float:
        return float(f1_score(gold[items], found[items], average=way, zero_division=0))

    return statistics.jackknife(measure, range(len(gold)))
