"""How faithful a student is to its teacher: not only how often it is right, but how often it says the same.

Two models of one accuracy can be right on different inputs. Where one takes the other's place, an app's answers change
though its accuracy stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lilliput.compress import departures
from lilliput.compress.comparison import Metric, compared, figure
from lilliput.runs import write_text
from lilliput.tasks import Task
from lilliput.train import calibration, slices
from lilliput.train.answers import Answers
from lilliput.train.data import Dataset, Split
from lilliput.train.slices import FEWEST

DEPARTURES = "departures.csv"

Pair = tuple[Answers, Answers]
"""A student's answers and its teacher's, to the same inputs."""


@dataclass(frozen=True)
class Predictions:
    """What a model says of a data set: predictions as `Task.predict` makes them, one an input, in their order.

    Its outputs must be in the order of the data's labels.

    Attributes:
        out_of_domain: by the name of the test set.
        settings: what the task fitted on validation for this model, such as thresholds.
    """

    test: Sequence[Any]
    validation: Sequence[Any]
    out_of_domain: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def write(
    folder: Path,
    task: Task,
    dataset: Dataset,
    *,
    student: Predictions,
    teacher: Predictions,
    slice_column: str | None = None,
) -> dict[str, Any]:
    """Compare a student with its teacher on the test sets, and write ``departures.csv`` (see `departures.table`).

    Args:
        folder: the stage's.
        slice_column: the name of the column that the data's slices come from.

    Returns:
        ``n``, ``metric`` (its name) and what `compared` finds on the test split; the ``calibration`` of both models,
        where a label is one out of several; ``slices``, those first on which the student loses most against the
        teacher; ``out_of_domain``, by name: ``n`` and what `compared` finds, of fewer than 20 inputs ``n`` alone.

    Raises:
        ValueError: there are not as many predictions as inputs.
    """

    def pair(split: Split, what: str, *said: Sequence[Any]) -> Pair:
        if any(len(one) != len(split) for one in said):
            counts = " and ".join(str(len(one)) for one in said)
            raise ValueError(f"{counts} predictions of student and teacher for {len(split)} inputs of {what}")
        ours, theirs = (
            Answers(task, one, split, dataset.label_names, model.settings)
            for one, model in zip(said, (student, teacher), strict=True)
        )
        return ours, theirs

    test = pair(dataset.test, "test", student.test, teacher.test)
    held_out = pair(dataset.validation, "validation", student.validation, teacher.validation)
    outside: dict[str, dict[str, Any]] = {}
    for name, split in dataset.out_of_domain.items():
        outside[name] = {"n": len(split)}
        if len(split) >= FEWEST:
            said = (student.out_of_domain.get(name, ()), teacher.out_of_domain.get(name, ()))
            outside[name] |= compared(*pair(split, name, *said))
    write_text(folder / DEPARTURES, departures.table(*test))
    return {
        "n": len(dataset.test),
        "metric": test[0].metric,
        **compared(*test),
        "calibration": _calibrations(test, held_out),
        "slices": _slices(test, slice_column),
        "out_of_domain": outside,
    }


def _slices(pair: Pair, column: str | None) -> list[dict[str, Any]]:
    """Parts of the test split with the metric of both models, those first on which the student loses most.

    Parts of fewer than ``FEWEST`` rows, or that leave the metric undefined, are named without figures, at the end. The
    intervals are each part's own: of twenty parts on which the models do not differ, one misses 0 by chance.
    """
    student, metric = pair[0], Metric(*pair)
    known: list[tuple[float, dict[str, Any]]] = []
    few: list[dict[str, Any]] = []
    for group in slices.groups(student.task, student.split, student.row_labels, student.names, column):
        about: dict[str, Any] = {"by": group.by, "value": group.value, "n": len(group.rows)}
        found = metric.figures(group.rows.tolist()) if len(group.rows) >= FEWEST else {}
        difference = found.get("difference")
        if difference is None or not math.isfinite(difference.value):
            few.append(about)
            continue
        about |= {name: figure(found[name]) for name in ("student", "teacher", "difference")}
        known.append((-difference.value if metric.falling else difference.value, about))
    return [one for _, one in sorted(known, key=lambda part: part[0])] + few


def _calibrations(pair: Pair, held_out: Pair) -> dict[str, Any] | None:
    """Of both models the expected calibration error, and that after the temperature which validation chooses.

    It has no interval: chance alone raises a sum of absolute gaps, and a bootstrap's resamples raise it once more.
    """
    found = {}
    for name, answers, validation in zip(("student", "teacher"), pair, held_out, strict=True):
        if answers.probabilities is None or validation.probabilities is None:
            return None
        figures = calibration.figures(
            answers.probabilities,
            np.array(answers.split.targets),
            (validation.probabilities, np.array(validation.split.targets)),
        )
        found[name] = {key: figures[key] for key in ("ece", "temperature", "ece_scaled")}
    return found
