"""The texts that gates read: what a compressed model must answer as the model that it is made of."""

from __future__ import annotations

import itertools
import random
from typing import Any

from lilliput.train.data import Dataset


def gate_inputs(dataset: Dataset, transfer: int, seed: int, longest: int) -> list[Any]:
    """What the parity gates read: all validation inputs and a sample of the transfer texts; never a test text.

    Where inputs are single texts, also texts of 1, 2, ... ``longest`` words, so that there are windows of every length.
    """
    draw = random.Random(seed)
    sample = draw.sample(dataset.transfer, min(transfer, len(dataset.transfer)))
    real = [*dataset.validation.inputs, *sample]
    if not all(isinstance(item, str) for item in real):
        return real
    words = itertools.cycle(" ".join(draw.sample(real, len(real))).split() or ["a"])
    return [*real, *(" ".join(itertools.islice(words, count)) for count in range(1, longest + 1))]
