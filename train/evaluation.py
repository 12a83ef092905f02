"""What an evaluation leaves on disk: every prediction, the figures that one number hides, and a page of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from lilliput import processes
from lilliput.runs import write_text
from lilliput.tasks import Task
from lilliput.train import calibration, evaluation_page, slices
from lilliput.train.answers import Answers, Labels
from lilliput.train.data import Dataset

PREDICTIONS = "predictions.parquet"
PAGE = "evaluation.html"
WIDEST = 30
"""Labels of the largest confusion matrix that is written out; of more, only the most frequent confusions are."""
CONFUSIONS = 20


def write(
    folder: Path,
    task: Task,
    predictions: Sequence[Any],
    dataset: Dataset,
    settings: Mapping[str, Any],
    *,
    validation: Sequence[Any],
    slice_column: str | None = None,
) -> dict[str, Any]:
    """Write ``predictions.parquet`` (id, gold, prediction, probabilities) and ``evaluation.html``; what they show.

    Args:
        folder: the stage's, with its ``log.jsonl``.
        predictions: of ``task``, on the inputs of the test split, in their order.
        settings: what the task fitted on validation.
        validation: predictions on the validation split, on which the temperature is fitted.
        slice_column: the name of the column that the data's slices come from.

    Returns:
        ``metric`` (its name), ``score`` with its 95% interval ``ci``, ``slices`` and the ``worst`` of them; where
        answers are labels, ``labels`` with precision, recall, F1 and support; where a label is one out of several, the
        ``confusion``; where it has a probability, the ``calibration``.
    """
    split, names = dataset.test, dataset.label_names
    answers = Answers(task, predictions, split, names, settings)
    if processes.is_main():
        pyarrow.parquet.write_table(answers.table(), folder / PREDICTIONS)
    figures: dict[str, Any] = {"n": len(split), **_sliced(answers, slice_column)}
    if answers.labels is not None:
        gold, found = answers.labels
        figures["labels"] = per_label(gold, found, names)
        if answers.one_each:
            figures["confusion"] = confusion(gold.argmax(axis=1), found.argmax(axis=1), names)
    if answers.probabilities is not None:
        held_out = Answers(task, validation, dataset.validation, names, settings).probabilities
        assert held_out is not None  # of the same task
        figures["calibration"] = calibration.figures(
            answers.probabilities, np.array(split.targets), (held_out, np.array(dataset.validation.targets))
        )
    write_text(folder / PAGE, evaluation_page.render(figures, dataset, folder / "log.jsonl"))
    return figures


def _sliced(answers: Answers, column: str | None) -> dict[str, Any]:
    """The metric on the whole and on its parts."""
    task, split = answers.task, answers.split
    whole = answers.measure(range(len(split)))
    groups = slices.groups(task, split, answers.row_labels, answers.names, column)
    parts = slices.measured(groups, answers.measure, whole.value, answers.metric in task.falling)
    return {
        "metric": answers.metric,
        "score": whole.value,
        "ci": slices.interval(whole),
        "worst": slices.worst(parts),
        "slices": parts,
    }


def per_label(gold: Labels, found: Labels, names: Sequence[str]) -> list[dict[str, Any]]:
    """Of each label: precision TP / (TP + FP), recall TP / (TP + FN), their harmonic mean F1 = 2 TP / (2 TP + FP + FN),
    and support TP + FN. What has no denominator is 0."""
    both, support, given = (gold & found).sum(axis=0), gold.sum(axis=0), found.sum(axis=0)  # [labels]
    return [
        {
            "label": name,
            "precision": float(both[i] / max(given[i], 1)),
            "recall": float(both[i] / max(support[i], 1)),
            "f1": float(2 * both[i] / max(given[i] + support[i], 1)),
            "support": int(support[i]),
        }
        for i, name in enumerate(names)
    ]


def confusion(gold: NDArray[np.int64], found: NDArray[np.int64], names: Sequence[str]) -> dict[str, Any]:
    """How often each label was taken for each other one.

    Returns:
        ``most``: pairs of different labels, the most frequent first; ``matrix``: counts [gold, predicted] in the order
        of the labels, None where there are too many of them.
    """
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (gold, found), 1)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    most = [{"gold": names[i], "predicted": names[j], "n": int(wrong[i, j])} for i, j in pairs if wrong[i, j]]
    return {"most": most, "matrix": counts.tolist() if len(names) <= WIDEST else None}
