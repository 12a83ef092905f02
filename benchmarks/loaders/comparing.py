"""What a loader answers, beside what `lilliput.load` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lilliput import runtime
from lilliput.benchmarks.loaders.asking import Answers

MAX_DIFFERENCE = 1e-3
"""Of two scores, or two numbers of vectors of length 1."""


@dataclass(frozen=True)
class Agreement:
    """How a loader's answers to ``texts`` texts compare with ours.

    Attributes:
        tokens: share of texts that became the same tokens.
        labels: share of texts with the same label; of vectors, share of texts to which the same other text is nearest.
        difference: the largest of two scores, or of two numbers of two vectors; None where they can't be compared.
    """

    texts: int
    tokens: float
    labels: float
    difference: float | None

    @property
    def whole(self) -> bool:
        """Whether a loader does what a bundle promises."""
        alike = self.tokens == self.labels == 1.0
        return alike and self.difference is not None and self.difference <= MAX_DIFFERENCE


def ours(bundle: Path, texts: Sequence[str]) -> Answers:
    """The answers of `lilliput.load` with a bundle for classification or sentence embedding, in fp32."""
    model = runtime.load(bundle, precision="fp32")
    tokens = tuple(tuple(window.ids) for (window,) in model.windows(list(texts)))
    if not model.labels:
        return Answers(tokens, np.array(model(list(texts)), dtype=np.float64))
    labels = tuple(sorted(model.labels))
    scores = [{one["label"]: one["score"] for one in answer} for answer in model(list(texts), top_k=None)]
    return Answers(tokens, np.array([[row[label] for label in labels] for row in scores]), labels)


def compare(found: Answers, expected: Answers) -> Agreement:
    """Compare text by text; labels that are others, or answers to other numbers of texts, agree on nothing."""
    count = len(expected.tokens)
    if (
        found.labels != expected.labels
        or found.values.shape != expected.values.shape
        or len(found.tokens) != count
        or not np.isfinite(found.values).all()
    ):
        return Agreement(count, 0.0, 0.0, None)
    same = [one == other for one, other in zip(found.tokens, expected.tokens, strict=True)]
    decided = [one.values.argmax(axis=1) if one.labels else nearest(one.values) for one in (found, expected)]
    return Agreement(
        texts=count,
        tokens=float(np.mean(same)),
        labels=float((decided[0] == decided[1]).mean()),
        difference=float(np.abs(found.values - expected.values).max()),
    )


def nearest(vectors: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each of several vectors ``[n, hidden]`` the number of the other one with the largest product, ``[n]``."""
    products = vectors @ vectors.T  # [n, n]
    np.fill_diagonal(products, -np.inf)
    result: NDArray[np.int64] = products.argmax(axis=1)
    return result
