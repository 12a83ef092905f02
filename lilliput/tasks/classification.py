"""One label out of several for a text or a pair of texts (sentiment, topic; inference, paraphrase)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from tokenizers import Tokenizer

from lilliput.errors import ConfigError
from lilliput.tasks import LABEL_COLUMNS, TEXT_COLUMNS, Column, Task, label, softmax, text

PAIR_COLUMNS = ("text_pair", "sentence2", "hypothesis", "text2", "text_b", "question2")


class Classification(Task):
    """Single-label classification: the score of a label is its softmax probability."""

    name = "classification"
    problem = "single_label_classification"
    metric = "accuracy"
    columns: ClassVar[Mapping[str, Column]] = {
        "text": Column((*TEXT_COLUMNS, "sentence1", "premise", "text1", "text_a", "question1")),
        "pair": Column(PAIR_COLUMNS, required=False),
        "label": Column(LABEL_COLUMNS),
    }
    fewest_labels = 2

    def read(self, cells: Mapping[str, Any]) -> tuple[Any, Any]:
        """A text, or a text and its pair; and the name of its label."""
        item = (text(cells["text"]), text(cells["pair"], "the pair")) if "pair" in cells else text(cells["text"])
        return item, label(cells["label"]) if "label" in cells else None

    def metrics(
        self, predictions: Sequence[Any], targets: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """Accuracy, F1 as the mean over labels (macro) and weighted by their rows, and Matthews' correlation."""
        from sklearn.metrics import f1_score, matthews_corrcoef

        gold, found = np.asarray(targets), np.stack(predictions).argmax(axis=1)
        every = list(range(len(names)))
        return {
            "accuracy": float((found == gold).mean()),
            "macro_f1": float(f1_score(gold, found, labels=every, average="macro", zero_division=0)),
            "weighted_f1": float(f1_score(gold, found, labels=every, average="weighted", zero_division=0)),
            "mcc": float(matthews_corrcoef(gold, found)),
        }

    def record(self, prediction: Any, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The likeliest label and all probabilities."""
        return {"prediction": names[int(prediction.argmax())], "probabilities": softmax(prediction).tolist()}

    def answer(
        self,
        item: Any,
        prediction: Any,
        names: Sequence[str],
        settings: Mapping[str, Any],
        *,
        tokenizer: Tokenizer | None = None,
        **options: Any,
    ) -> Any:
        """``{"label", "score"}``, or with ``top_k`` other than 1 a list of those, best first; of all with None.

        ``score = exp(logit - max) / sum(exp(logits - max))``. Equal logits keep the order of ``names``.

        Raises:
            ConfigError: an option is unknown, or ``top_k`` is neither None nor a whole number above zero.
        """
        if options.keys() - {"top_k"}:
            raise ConfigError(f"{min(options.keys() - {'top_k'})}: {self.name} has the option top_k")
        top_k = options.get("top_k", 1)
        if top_k is not None and (type(top_k) is not int or top_k < 1):
            raise ConfigError(f"top_k: expected a whole number above zero, or None for every label, got {top_k!r}")
        found = _best(prediction.tolist(), names, top_k)
        return found[0] if top_k == 1 else found

    def alone(self, given: Any, answer: Any) -> Any:
        """A list even for one text, as the text-classification pipeline of transformers has it."""
        return [answer] if isinstance(given, str) and not isinstance(answer, list) else answer


def _best(row: list[float], labels: Sequence[str], top_k: int | None) -> list[dict[str, Any]]:
    """The best labels of one text with their scores.

    In plain Python: on so few numbers a call of NumPy costs more than all of this.
    """
    largest = max(row)
    powers = [math.exp(value - largest) for value in row]
    total = sum(powers)
    order = sorted(range(len(row)), key=row.__getitem__, reverse=True)[:top_k]
    return [{"label": labels[index], "score": powers[index] / total} for index in order]


TASK = Classification()
