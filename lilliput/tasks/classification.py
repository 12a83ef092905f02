"""One label out of several for a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput.errors import BundleError, ConfigError


class Classification:
    """Single-label classification: the score of a label is its softmax probability."""

    name = "classification"
    metric = "accuracy"

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise `BundleError` for fewer than two labels: a softmax over one is always 1."""
        if len(labels) < 2:
            raise BundleError(f"labels: classification needs at least two, the bundle has {len(labels)}")

    def postprocess(self, logits: NDArray[np.float32], labels: Sequence[str], top_k: int | None) -> list[Any]:
        """Turn logits into labels with scores, ``score = exp(logit - max) / sum(exp(logits - max))``.

        Args:
            logits: float32 [n, labels].
            labels: the name of each column.
            top_k: how many labels a text gets; None for all.

        Returns:
            ``n`` answers, as the text-classification pipeline of transformers gives them: ``{"label", "score"}`` for
            ``top_k=1``, else a list of those, best first. Equal logits keep the order of ``labels``.

        Raises:
            ConfigError: ``top_k`` is neither None nor a whole number above zero.
        """
        if top_k is not None and (type(top_k) is not int or top_k < 1):
            raise ConfigError(f"top_k: expected a whole number above zero, or None for every label, got {top_k!r}")
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))  # [n, labels]; the best label's is exactly 1
        sums = powers.sum(axis=1, keepdims=True)  # [n, 1]
        if top_k == 1:
            tops = (1 / sums[:, 0]).tolist()
            return [
                {"label": labels[index], "score": score}
                for index, score in zip(logits.argmax(axis=1).tolist(), tops, strict=True)
            ]
        order = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
        scores = np.take_along_axis(powers / sums, order, axis=1)
        return [
            [{"label": labels[index], "score": score} for index, score in zip(row, values, strict=True)]
            for row, values in zip(order.tolist(), scores.tolist(), strict=True)
        ]


TASK = Classification()
