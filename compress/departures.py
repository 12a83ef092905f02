"""Where a student departs from its teacher: how far on each input, and a table of the inputs where it is farthest.

References:
    Xu, Zhou, Ge, Xu, McAuley & Wei 2021, Beyond Preserved Accuracy: Evaluating Loyalty and Robustness of BERT
        Compression, on probability loyalty.
    Endres & Schindelin 2003, A New Metric for Probability Distributions: the square root of the divergence is a metric.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from lilliput.tasks.question_answering import f1
from lilliput.train.answers import Answers

ROWS = 200
"""Inputs of the table."""
COLUMNS = ("place", "text", "gold", "teacher", "student", "probabilities", "distance")
LEAST = 0.01
"""Labels that both models think less likely are left out of the table."""
LONGEST = 32_000
"""Characters of a cell; spreadsheets hold 32,767."""
TINY = np.finfo(np.float64).tiny

_FORMULA = tuple("=+-@＝＋－＠")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def distances(student: Answers, teacher: Answers) -> NDArray[np.float64]:
    """How far the student's answer to each input is from the teacher's, ``[rows]``; 0 where they are the same.

    Of probabilities the Jensen-Shannon distance; where each label has a probability of its own, the mean over labels of
    that between label and no label. Of tags the share of tokens on which they differ, of numbers (scores; the cosine of
    two embedded texts) the absolute difference, of answers in words 1 - F1 over words, of anything else 0 or 1.
    """
    ours, theirs = probabilities(student), probabilities(teacher)
    if ours is not None and theirs is not None:
        return jensen_shannon(ours, theirs) if student.one_a_row else _of_labels(ours, theirs)
    pairs = zip(student.predicted, teacher.predicted, strict=True)
    return np.array([_apart(one, other) for one, other in pairs], dtype=np.float64)


def probabilities(answers: Answers) -> NDArray[np.float64] | None:
    """The probability of every label, ``[rows, labels]``; None where the model gives none."""
    return None if any(row is None for row in answers.given) else np.array(answers.given, dtype=np.float64)


def jensen_shannon(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """``sqrt(KL(p || m) / 2 + KL(q || m) / 2)``, m = (p + q) / 2, in base 2: from 0 to 1, for p and q ``[..., k]``."""
    middle = np.maximum((p + q) / 2, TINY)
    divergence = (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=-1) / (2 * np.log(2))
    return np.sqrt(np.clip(divergence, 0, 1))


def table(student: Answers, teacher: Answers) -> str:
    """The ``ROWS`` inputs of greatest distance (see `distances`) as CSV, the farthest first; none of distance 0.

    ``place`` is file and line of an input; ``probabilities`` is JSON, ``{label: [teacher's, student's]}``. Cells are of
    one line, and none is taken for a formula by a spreadsheet (see `cell`).
    """
    split, file, apart = student.split, io.StringIO(), distances(student, teacher)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in np.argsort(-apart, kind="stable")[:ROWS].tolist():
        if apart[row] == 0:
            break
        answers = (student.gold[row], teacher.predicted[row], student.predicted[row])
        chances = _chances(student.names, teacher.given[row], student.given[row])
        place = split.places[row] if split.places else str(row)
        text = student.task.text_of(split.inputs[row])
        writer.writerow([cell(place), cell(text), *map(cell, answers), chances, round(float(apart[row]), 6)])
    return file.getvalue()


def cell(value: Any) -> str | float:
    """An answer or a text as a cell of a spreadsheet: of one line, and never a formula.

    What begins as a formula does, with ``=``, ``+``, ``-`` or ``@``, is preceded by an apostrophe, unless it is a plain
    number.
    """
    if isinstance(value, int | float):
        return round(float(value), 6)
    if isinstance(value, Mapping):  # an answer in words, as SQuAD has it
        value = " | ".join(value["text"])
    elif isinstance(value, list | tuple):
        value = ", ".join(value)
    bare = "".join(" " if unicodedata.category(one) == "Cc" else one for one in value or "")
    line = " ".join(bare.split())[:LONGEST]
    return f"'{line}" if line.startswith(_FORMULA) and not _NUMBER.fullmatch(line) else line


def _of_labels(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """``p``, ``q``: [rows, labels], each label a distribution of its own."""
    both = [np.stack([chances, 1 - chances], axis=-1) for chances in (p, q)]  # [rows, labels, 2]
    return jensen_shannon(*both).mean(axis=1)


def _apart(one: Any, other: Any) -> float:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return 1 - f1(" ".join(one["text"]), " ".join(other["text"]))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other) > 0:
        return sum(a != b for a, b in zip(one, other, strict=True)) / len(one)
    return float(one != other)


def _chances(names: Any, teacher: list[float] | None, student: list[float] | None) -> str:
    if teacher is None or student is None:
        return ""
    both = {
        name: [round(one, 4), round(other, 4)]
        for name, one, other in zip(names, teacher, student, strict=True)
        if max(one, other) >= LEAST
    }
    return json.dumps(both, ensure_ascii=False)
