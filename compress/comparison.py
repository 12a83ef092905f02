"""Two models' answers to the same inputs, side by side: what each is worth, and how often they say the same.

References:
    Xu, Zhou, Ge, Xu, McAuley & Wei 2021, Beyond Preserved Accuracy: Evaluating Loyalty and Robustness of BERT
        Compression (EMNLP), on label loyalty and probability loyalty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput import statistics
from lilliput.compress import departures
from lilliput.statistics import Estimate
from lilliput.tasks.question_answering import normal_words
from lilliput.tasks.regression import correlation
from lilliput.train import slices
from lilliput.train.answers import MOST, Answers

Flags = NDArray[np.bool_]


def compared(student: Answers, teacher: Answers) -> dict[str, Any]:
    """How a student's answers compare with its teacher's. What a task does not have is None.

    Returns:
        Figures ``{"value", "ci"}``, ``ci`` being the 95% interval or None. ``student`` and ``teacher``: the metric of
        each; ``difference``: the student's minus the teacher's, paired; ``retained``: their ratio. ``agreement``, or
        label loyalty: the share of equal answers; of tags that of equal tags, of several labels that of equal decisions
        on whether an input has a label. ``probability_loyalty``: the mean of 1 - Jensen-Shannon distance.
        ``correlation``, of answers that are numbers: Spearman's, between student and teacher.

        ``flips`` of the teacher's answers in the student: ``right_to_wrong``, ``wrong_to_right`` and
        ``wrong_to_other_wrong``, each with its number ``n`` and, as a figure, its share of all (``of``) inputs or
        tokens (``unit``). ``mcnemar_p``: whether the first two differ in number by more than chance, over inputs.
    """
    found = Metric(student, teacher).figures(range(len(student.split)))
    units = _units(student, teacher)
    return {
        **{name: figure(estimate) for name, estimate in found.items()},
        "mcnemar_p": None if units is None or units.tokens else statistics.mcnemar(units.student, units.teacher),
        "agreement": figure(_agreement(student, teacher, units)),
        "probability_loyalty": figure(_probability_loyalty(student, teacher)),
        "correlation": figure(_correlation(student, teacher)),
        "flips": None if units is None else _flips(units),
    }


def figure(found: Estimate | None) -> dict[str, Any] | None:
    """An estimate as JSON has it; None where it is undefined."""
    if found is None or not math.isfinite(found.value):
        return None
    return {"value": found.value, "ci": slices.interval(found)}


# --- the metric -------------------------------------------------------------------------------------------------------


class Metric:
    """The metric of student and teacher on any rows, and how the two differ there."""

    def __init__(self, student: Answers, teacher: Answers) -> None:
        self.student, self.teacher = student, teacher
        self.falling = student.metric in student.task.falling
        self._known: dict[bytes, tuple[float, float]] = {}

    def figures(self, rows: Sequence[int]) -> dict[str, Estimate | None]:
        """``student``, ``teacher``, ``difference`` and ``retained``: with Wilson's interval and paired bootstraps for
        the share of right answers, else with the jackknife's.

        Nothing is retained of a metric that is not above 0, or that is better when smaller.
        """
        if self.student.one_a_row:
            ours, theirs = (_right(model)[list(rows)] for model in (self.student, self.teacher))
            return {
                "student": statistics.accuracy(ours),
                "teacher": statistics.accuracy(theirs),
                "difference": statistics.difference(ours, theirs),
                "retained": statistics.retained(ours, theirs),
            }
        has_ratio = not self.falling and self._values(rows)[1] > 0
        return {
            "student": self._estimate(lambda student, _: student, rows),
            "teacher": self._estimate(lambda _, teacher: teacher, rows),
            "difference": self._estimate(lambda student, teacher: student - teacher, rows),
            "retained": self._estimate(_ratio, rows) if has_ratio else None,
        }

    def _estimate(self, of: Callable[[float, float], float], rows: Sequence[int]) -> Estimate:
        return _jackknife(lambda some: of(*self._values(some)), rows)

    def _values(self, rows: Sequence[int]) -> tuple[float, float]:
        # The four figures leave out the same groups of rows, and one measurement may take seconds.
        key = np.asarray(rows).tobytes()
        if key not in self._known:
            self._known[key] = (self.student.value(rows), self.teacher.value(rows))
        return self._known[key]


def _ratio(student: float, teacher: float) -> float:
    return student / teacher if teacher > 0 else math.nan


# --- answers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Units:
    """What is right or wrong as a whole: the answer to an input, or the tag of a token.

    Attributes:
        student, teacher: [units], where each is right.
        same: [units], where both say the same.
        row: [units], the input that each belongs to.
        tokens: whether units are tokens.
    """

    student: Flags
    teacher: Flags
    same: Flags
    row: NDArray[np.int64]
    tokens: bool

    def share(self, flags: Flags) -> Estimate:
        """Share of units, with Wilson's interval; with the jackknife's over inputs for tokens, since those of one input
        are not independent."""
        if not self.tokens:
            return statistics.accuracy(flags)
        hits, sizes = np.bincount(self.row, flags), np.bincount(self.row)  # [rows]
        return _within_one(
            _jackknife(lambda rows: float(hits[list(rows)].sum() / sizes[list(rows)].sum()), range(len(sizes)))
        )


def _units(student: Answers, teacher: Answers) -> _Units | None:
    """None where answers are neither labels nor words."""
    if student.labels is not None and teacher.labels is not None:
        same = (student.labels[1] == teacher.labels[1]).all(axis=1)
        tokens = student.task.per_token
        row = np.repeat(np.arange(len(student.gold)), [len(tags) if tokens else 1 for tags in student.gold])
        return _Units(_right(student), _right(teacher), same, row, tokens)
    if all(isinstance(answer, Mapping) for answer in [*student.predicted, *teacher.predicted]):
        ours, theirs = ([normal_words(" ".join(one["text"])) for one in some.predicted] for some in (student, teacher))
        same = np.array([one == other for one, other in zip(ours, theirs, strict=True)])
        return _Units(_exact(student), _exact(teacher), same, np.arange(len(same)), False)
    return None


def _right(answers: Answers) -> Flags:
    """The inputs, or tokens, with exactly the right labels."""
    assert answers.labels is not None  # its answers are labels
    gold, found = answers.labels
    return (gold == found).all(axis=1)


def _exact(answers: Answers) -> Flags:
    """The answers in words that are exactly right."""
    task, names, settings = answers.task, answers.names, answers.settings
    pairs = zip(answers.predictions, answers.split.targets, strict=True)
    return np.array([task.metrics([one], [target], names, settings)["exact_match"] == 1 for one, target in pairs])


def _agreement(student: Answers, teacher: Answers, units: _Units | None) -> Estimate | None:
    if units is None:
        return None
    if student.labels is not None and teacher.labels is not None and not student.one_each:
        return _mean((student.labels[1] == teacher.labels[1]).mean(axis=1))
    return units.share(units.same)


def _probability_loyalty(student: Answers, teacher: Answers) -> Estimate | None:
    if any(departures.probabilities(one) is None for one in (student, teacher)):
        return None
    return _mean(1 - departures.distances(student, teacher))


def _correlation(student: Answers, teacher: Answers) -> Estimate | None:
    if not all(isinstance(answer, float) for answer in [*student.predicted, *teacher.predicted]):
        return None
    ours, theirs = np.array(student.predicted), np.array(teacher.predicted)
    return _jackknife(lambda rows: correlation(ours[list(rows)], theirs[list(rows)], ranks=True), range(len(ours)))


def _flips(units: _Units) -> dict[str, Any]:
    ours, theirs = units.student, units.teacher
    kinds = {
        "right_to_wrong": theirs & ~ours,
        "wrong_to_right": ~theirs & ours,
        "wrong_to_other_wrong": ~theirs & ~ours & ~units.same,
    }
    return {
        "unit": "token" if units.tokens else "input",
        "of": len(units.same),
        **{name: {"n": int(flags.sum()), **(figure(units.share(flags)) or {})} for name, flags in kinds.items()},
    }


# --- intervals --------------------------------------------------------------------------------------------------------


def _jackknife(measure: Callable[[Sequence[int]], float], rows: Sequence[int]) -> Estimate:
    """The jackknife's interval; none of very few or many rows."""
    if not 2 <= len(rows) <= MOST:
        return Estimate(measure(rows), math.nan, math.nan)
    return statistics.jackknife(measure, rows)


def _mean(shares: NDArray[np.float64]) -> Estimate:
    """Mean of shares, one an input."""
    if len(shares) < 2:
        return Estimate(float(shares.mean()), math.nan, math.nan)
    return _within_one(statistics.mean(shares))


def _within_one(share: Estimate) -> Estimate:
    return Estimate(share.value, float(np.clip(share.low, 0, 1)), float(np.clip(share.high, 0, 1)))
