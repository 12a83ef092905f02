"""Parts of a test set on which a model may be worse than on the whole: by length, by label, by a column of the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput.statistics import Estimate
from lilliput.tasks import Task
from lilliput.train.answers import Labels
from lilliput.train.data import Split

FEWEST = 20
"""Rows that a slice needs: the figure of fewer says next to nothing."""
MOST = 200
"""Values of a column that become slices, the most frequent ones."""
WORST = 8


@dataclass(frozen=True)
class Group:
    """Rows that have something in common: ``value`` of ``by``."""

    by: str
    value: str
    rows: NDArray[np.int64]


def groups(
    task: Task, split: Split, labels: Labels | None, names: Sequence[str], column: str | None
) -> Iterator[Group]:
    """Every group of a split that has rows.

    Args:
        labels: [rows, labels], the labels of each row; None where targets are no labels.
        column: the name of the column that ``split.slices`` came from.
    """
    words = np.array([len(task.text_of(item).split()) for item in split.inputs])  # [rows]
    quartile = np.searchsorted(np.quantile(words, (0.25, 0.5, 0.75)), words, side="left")  # [rows] from 0 to 3
    for number in np.unique(quartile).tolist():
        rows = np.flatnonzero(quartile == number)
        low, high = int(words[rows].min()), int(words[rows].max())
        span = f"{low} to {high} words" if low < high else "1 word" if high == 1 else f"{high} words"
        yield Group("length", span, rows)
    if labels is not None:
        for number, name in enumerate(names):
            if labels[:, number].any():
                yield Group("label", name, np.flatnonzero(labels[:, number]))
    if column is not None:
        values, which, counts = np.unique(np.array(split.slices), return_inverse=True, return_counts=True)
        for number in np.argsort(-counts, kind="stable")[:MOST].tolist():
            yield Group(column, str(values[number]), np.flatnonzero(which == number))


def measured(
    found: Iterable[Group], measure: Callable[[Sequence[int]], Estimate], whole: float, falling: bool
) -> list[dict[str, Any]]:
    """Each group with its figures, the one furthest below the whole first.

    ``below`` is by how much the metric is worse than on all rows. Groups of fewer than ``FEWEST`` rows, or of rows that
    leave the metric undefined, are named without figures, at the end.

    Args:
        measure: gives the metric on the rows of these numbers.
        whole: the metric on all rows.
        falling: whether smaller is better.
    """
    known: list[tuple[float, dict[str, Any]]] = []
    few: list[dict[str, Any]] = []
    for group in found:
        about = {"by": group.by, "value": group.value, "n": len(group.rows)}
        estimate = measure(group.rows.tolist()) if len(group.rows) >= FEWEST else None
        if estimate is None or not math.isfinite(estimate.value):
            few.append(about)
            continue
        below = estimate.value - whole if falling else whole - estimate.value
        known.append((below, {**about, "score": estimate.value, "ci": interval(estimate), "below": below}))
    return [one for _, one in sorted(known, key=lambda pair: -pair[0])] + few


def worst(slices: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of enough rows that are below the whole, the worst first."""
    return [one for one in slices if one.get("below", 0.0) > 0][:WORST]


def interval(estimate: Estimate) -> list[float] | None:
    """The interval as JSON has it; None where it is undefined."""
    bounds = [estimate.low, estimate.high]
    return bounds if all(map(math.isfinite, bounds)) else None
