"""Any number of labels for a text or a pair of texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lilliput.errors import BundleError, ConfigError
from lilliput.tasks import LABEL_COLUMNS, NEVER_TRAINED, NO_LABEL, Column, RowFault, in_order, label, mistyped
from lilliput.tasks.classification import Classification

THRESHOLD = 0.5
"""Of every label where none occurs in validation."""
FEW = 5
"""Texts of validation that a label needs for a threshold of its own."""


class MultiLabel(Classification):
    """Rows hold a list of labels, or a string with ``,``, ``;`` or ``|`` between them. A text without labels has an
    empty list or an empty string; where there is neither (``null``, no such key), the label is missing.

    A label's probability is the sigmoid of its logit, and its threshold is fitted on validation.
    """

    name = "multi-label"
    problem = "multi_label_classification"
    metric = "micro_f1"
    columns: ClassVar[Mapping[str, Column]] = {**Classification.columns, "label": Column(("labels", *LABEL_COLUMNS))}
    fewest_labels = 1
    brief: ClassVar[Mapping[str, Any]] = {"above_threshold": True}

    def read(self, cells: Mapping[str, Any]) -> tuple[Any, Any]:
        """The text, or the pair, and the names of its labels, sorted."""
        item, _ = super().read({role: cell for role, cell in cells.items() if role != "label"})
        return item, _labels(cells["label"]) if "label" in cells else None

    def label_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """Every label of training."""
        return in_order({name for target in targets for name in target})

    def index(self, target: Any, names: Sequence[str]) -> Any:
        """1 for each label that the text has, else 0, in the order of ``names``."""
        if not set(target) <= set(names):
            raise RowFault(NEVER_TRAINED)
        return tuple(float(name in target) for name in names)

    def shown(self, target: Any, names: Sequence[str]) -> Any:
        """The names of the labels."""
        return [name for name, there in zip(names, target, strict=True) if there]

    def counted(self, target: Any, names: Sequence[str]) -> Sequence[str]:
        """The names of the labels."""
        return self.shown(target, names)

    def check_settings(self, settings: Mapping[str, Any], labels: Sequence[str]) -> None:
        """At most ``thresholds``, one a label."""
        found = settings.get("thresholds", [THRESHOLD] * len(labels))
        right = isinstance(found, list) and all(isinstance(one, (int, float)) for one in found)
        if set(settings) - {"thresholds"} or not right or len(found) != len(labels):
            raise BundleError(f"settings: {self.name} may have thresholds, one a label; the bundle has others")

    def fit(self, predictions: Sequence[Any], targets: Sequence[Any]) -> dict[str, Any]:
        """For each label the threshold with the highest F1: half-way between two probabilities of validation.

        Labels of fewer than ``FEW`` texts, whose best threshold would be an accident, take the one that is best for all
        labels together.
        """
        chances, gold = sigmoid(np.stack(predictions)), np.asarray(targets)  # [n, labels] each
        shared = _threshold(chances.ravel(), gold.ravel())
        own = gold.sum(axis=0) >= FEW
        return {
            "thresholds": [_threshold(c, g) if o else shared for c, g, o in zip(chances.T, gold.T, own, strict=True)]
        }

    def metrics(
        self, predictions: Sequence[Any], targets: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """F1 over all labels together (micro) and as their mean (macro), mean average precision over the labels that
        occur, and the share of texts with exactly the right labels (subset
        accuracy)."""
        from sklearn.metrics import average_precision_score, f1_score

        chances, gold = sigmoid(np.stack(predictions)), np.asarray(targets)
        found = (chances > _thresholds(settings, len(names))).astype(float)
        there = [i for i in range(len(names)) if gold[:, i].any()]
        precisions = [float(average_precision_score(gold[:, i], chances[:, i])) for i in there]
        return {
            "micro_f1": float(f1_score(gold.ravel(), found.ravel(), zero_division=0)),
            "macro_f1": float(np.mean([f1_score(gold[:, i], found[:, i], zero_division=0) for i in range(len(names))])),
            "map": float(np.mean(precisions)) if precisions else 0.0,
            "subset_accuracy": float((found == gold).all(axis=1).mean()),
        }

    def record(self, prediction: Any, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The labels above their thresholds, and the probability of every label."""
        chances = sigmoid(prediction)
        return {
            "prediction": self.shown(chances > _thresholds(settings, len(names)), names),
            "probabilities": chances.tolist(),
        }

    def answer(
        self,
        item: Any,
        prediction: Any,
        names: Sequence[str],
        settings: Mapping[str, Any],
        *,
        tokenizer: Tokenizer | None = None,
        top_k: int | None = None,
        above_threshold: bool = False,
        **options: Any,
    ) -> Any:
        """``[{"label", "score"}]``, best first: every label, as the text-classification pipeline of transformers with
        ``top_k=None`` gives them, or ``top_k`` of them.

        Args:
            above_threshold: only labels whose probability is above their threshold, which is what the model decides.
        """
        if options:
            raise ConfigError(f"{next(iter(options))}: {self.name} has the options top_k and above_threshold")
        if top_k is not None and (type(top_k) is not int or top_k < 1):
            raise ConfigError(f"top_k: expected a whole number above zero, or None for every label, got {top_k!r}")
        chances = sigmoid(prediction)
        order = np.argsort(-chances, kind="stable")
        if above_threshold:
            order = order[chances[order] > _thresholds(settings, len(names))[order]]
        return [{"label": names[i], "score": float(chances[i])} for i in order[:top_k]]


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """``1 / (1 + exp(-z))``, without overflow."""
    return 0.5 * (1 + np.tanh(logits.astype(np.float64) / 2))


def _labels(value: Any) -> tuple[str, ...]:
    if value is None:
        raise RowFault(NO_LABEL)
    parts = [part for part in re.split(r"[,;|]", value) if part.strip()] if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)):
        raise mistyped("the label", parts, "a string or a list")
    return tuple(sorted({label(part, "a label") for part in parts}))


def _thresholds(settings: Mapping[str, Any], count: int) -> NDArray[np.float64]:
    return np.asarray(settings.get("thresholds", [THRESHOLD] * count))


def _threshold(chances: NDArray[np.float64], gold: NDArray[np.float64]) -> float:
    """The threshold with the highest F1 of one label, of equally good ones the highest; ``chances``, ``gold``: [n]."""
    if not gold.any():
        return THRESHOLD
    order = np.argsort(-chances, kind="stable")
    hits = np.cumsum(gold[order])
    ranked = chances[order]
    scores = 2 * hits / (np.arange(1, len(order) + 1) + gold.sum())
    scores[:-1][ranked[:-1] == ranked[1:]] = -1.0  # equal probabilities can't be told apart
    best = int(np.argmax(scores))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)


TASK = MultiLabel()
