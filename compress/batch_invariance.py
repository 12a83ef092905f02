"""Whether a text's answer depends on the texts that are read with it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from lilliput.runtime import Model
from lilliput.tasks import softmax

TEXTS = 2000
"""That are answered alone and in batches, at most."""

BATCHES = 8
"""Different batches that each text is read in."""

LARGEST = 32
"""Texts of a batch, which has one at least."""

ALLOWED = 0.01
"""Difference of a probability."""


@dataclass(frozen=True)
class Invariance:
    """Answers alone against answers among batch mates, of ``texts`` texts in ``batches`` batches each.

    Attributes:
        flips: answers whose largest output is another one.
        difference: the largest difference of a probability (softmax over the last axis).
    """

    texts: int
    batches: int
    flips: int
    difference: float

    def fault(self) -> str | None:
        """Why answers can't be given in batches; None where they can."""
        if self.flips or not self.difference <= ALLOWED:
            return (
                f"flips {self.flips} of {self.texts * self.batches} answers in batches and moves probabilities by "
                f"{self.difference:.4f}, of {ALLOWED} allowed"
            )
        return None


def measure(model: Model, windows: Sequence[Encoding], seed: int = 0) -> Invariance:
    """Read every window alone, and then in `BATCHES` batches with others that are drawn at random."""
    chosen = list(windows)
    draw = random.Random(seed)
    draw.shuffle(chosen)
    chosen = chosen[:TEXTS]
    alone = [array for (array,) in model.outputs([[window] for window in chosen])]
    flips, difference = 0, 0.0
    for _ in range(BATCHES):
        order = list(range(len(chosen)))
        draw.shuffle(order)
        while order:
            size = draw.randint(1, LARGEST)
            batch, order = order[:size], order[size:]
            for place, found in zip(batch, model.together([chosen[i] for i in batch]), strict=True):
                moved, far = _compare(alone[place], found)
                flips, difference = flips + moved, max(difference, far)
    return Invariance(len(chosen), BATCHES, flips, difference)


def _compare(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[int, float]:
    moved = bool((one.argmax(axis=-1) != other.argmax(axis=-1)).any())
    return int(moved), float(np.abs(softmax(one) - softmax(other)).max())
