"""What one accuracy hides: every hit, how sure the model was, and parts of the test set."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput import statistics, tasks
from lilliput.statistics import Estimate
from lilliput.train import slices
from lilliput.train.data import Split


def packed(hits: NDArray[np.bool_]) -> str:
    """One bit a text, the first one highest, as base64: of 3,000 texts 500 characters."""
    return base64.b64encode(np.packbits(hits).tobytes()).decode("ascii")


def unpacked(text: str, count: int) -> NDArray[np.bool_]:
    """The hits [count] again.

    Raises:
        ValueError: it is not the packed form of so many.
    """
    raw = base64.b64decode(text, validate=True)
    if len(raw) != -(-count // 8):
        raise ValueError(f"{len(raw)} bytes can't be the hits of {count} texts")
    return np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=count).astype(bool)


def digest(texts: Sequence[str]) -> str:
    """SHA-256 of the texts in their order: two reports with the same one answered the same items."""
    found = hashlib.sha256()
    for text in texts:
        found.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return found.hexdigest()


def sliced(
    hits: NDArray[np.bool_],
    gold: NDArray[np.int64],
    texts: Sequence[str],
    names: Sequence[str],
    column: tuple[str, Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """Accuracy by quartile of length, by label, and by the values of a column of the data, the worst first.

    Args:
        hits: [n] whether each text was labelled correctly.
        gold: [n] label indices.
        names: of the labels.
        column: its name, and its value for each text.
    """
    split = Split(inputs=list(texts), targets=gold.tolist(), slices=list(column[1]) if column else [])
    labels = np.eye(len(names), dtype=bool)[gold]  # [n, labels]
    groups = slices.groups(tasks.get("classification"), split, labels, names, column[0] if column else None)

    def measure(rows: Sequence[int]) -> Estimate:
        return statistics.accuracy(hits[list(rows)])

    return slices.measured(groups, measure, float(hits.mean()), falling=False)
