"""A Lilliput bundle, answered as an app answers with it: ``lilliput.load`` and a call.

Options: ``bundle`` (folder), ``precision``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput.benchmarks.peers import option
from lilliput.runtime import Model
from lilliput.runtime import load as load_bundle


class BundlePeer:
    """The public call of the runtime, with the scores put back into the order of the labels."""

    def __init__(self, one: Model, many: Model) -> None:
        self._one, self._many = one, many
        self.labels = list(one.labels)
        self.parameters: int | None = one.manifest.parameters
        self.bytes: int | None = one.opened_bytes
        self._place = {label: index for index, label in enumerate(self.labels)}

    def one(self, text: str) -> NDArray[np.float64]:
        """Probabilities [labels] of one text."""
        return self._row(self._one(text, top_k=None))

    def batch(self, texts: list[str]) -> NDArray[np.float64]:
        """Probabilities [n, labels]; the runtime answers several texts at a time where it may use several cores."""
        return np.stack([self._row(answer) for answer in self._many(texts, top_k=None)])

    def _row(self, answer: list[dict[str, Any]]) -> NDArray[np.float64]:
        row = np.empty(len(self._place))
        for choice in answer:
            row[self._place[choice["label"]]] = choice["score"]
        return row


def load(options: Mapping[str, Any], threads: int) -> BundlePeer:
    """Open the bundle: all ``threads`` for a single text, one text a thread for a list."""
    folder, precision = option(options, "bundle", "bundle"), options.get("precision")
    one = load_bundle(folder, precision=precision, threads=threads, workers=1)
    many = one if threads == 1 else load_bundle(folder, precision=precision, threads=1, workers=threads)
    return BundlePeer(one, many)
