"""The table of inputs on which a student departs from its teacher."""

import csv
import io
import json
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lilliput import tasks
from lilliput.compress import departures
from lilliput.train.answers import Answers
from lilliput.train.data import Split

NAMES = ("no", "yes")


def logits(*chances):
    """Two labels' logits by the probability of the second."""
    return [np.log(np.array([1 - p, p])).astype(np.float32) for p in chances]


def rows_of(text):
    header, *rows = csv.reader(io.StringIO(text))
    assert tuple(header) == departures.COLUMNS
    return [dict(zip(header, row, strict=True)) for row in rows]


def table(student, teacher, split, names=NAMES, task="classification"):
    return rows_of(departures.table(*(Answers(tasks.get(task), one, split, names, {}) for one in (student, teacher))))


def test_the_farthest_come_first():
    split = Split(["one", "two", "three", "four"], [0, 1, 1, 0], ["a.csv:2", "a.csv:3", "a.csv:4", "a.csv:5"])
    found = table(logits(0.6, 0.01, 0.3, 0.5), logits(0.5, 0.99, 0.3, 0.2), split)
    assert [row["text"] for row in found] == ["two", "four", "one"]  # the third is the same in both
    assert found[0] == {
        "place": "a.csv:3",
        "text": "two",
        "gold": "yes",
        "teacher": "yes",
        "student": "no",
        "probabilities": '{"no": [0.01, 0.99], "yes": [0.99, 0.01]}',
        "distance": found[0]["distance"],
    }
    # 0.01 and 0.99, middle 1/2: the divergence is 1 - H(0.01) = 1 - 0.080793, its root 0.95875.
    assert float(found[0]["distance"]) == pytest.approx(0.95875, abs=1e-5)
    distances = [float(row["distance"]) for row in found]
    assert distances == sorted(distances, reverse=True)


def test_there_are_200_of_many():
    split = Split([f"text {i}" for i in range(250)], [0] * 250)
    found = table(logits(*np.linspace(0.1, 0.9, 250)), logits(*[0.05] * 250), split)
    assert [row["text"] for row in found] == [f"text {i}" for i in range(249, 49, -1)]
    assert found[0]["place"] == "249"  # rows without a place have their number


def test_labels_that_nobody_thinks_likely_are_left_out():
    names = ("a", "b", "c")
    student, teacher = (
        [np.log(np.array(row)).astype(np.float32)] for row in ([0.9, 0.095, 0.005], [0.2, 0.796, 0.004])
    )
    (row,) = table(student, teacher, Split(["x"], [0]), names)
    assert json.loads(row["probabilities"]) == {"a": [0.2, 0.9], "b": [0.796, 0.095]}


def test_scores_and_several_labels_are_readable():
    (row,) = table([-3.5], [2.25], Split(["x"], [1.0]), ("score",), "regression")
    shown = {name: row[name] for name in ("gold", "teacher", "student", "probabilities", "distance")}
    assert shown == {"gold": "1.0", "teacher": "2.25", "student": "-3.5", "probabilities": "", "distance": "5.75"}
    student, teacher = [np.array([3, 3], np.float32)], [np.array([3, -3], np.float32)]
    (row,) = table(student, teacher, Split(["x"], [(0.0, 0.0)]), ("=a", "b"), "multi-label")
    assert (row["gold"], row["teacher"], row["student"]) == ("", "'=a", "'=a, b")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain, with a comma", "plain, with a comma"),
        ("=HYPERLINK(0)", "'=HYPERLINK(0)"),
        ("\t=1+1", "'=1+1"),
        ("\r\n @SUM(A1)", "'@SUM(A1)"),
        ("+1-800", "'+1-800"),
        ("- a list", "'- a list"),
        ("＝1", "'＝1"),
        ("-1", "-1"),
        ("+2.5", "+2.5"),
        ("-1\n+cmd", "'-1 +cmd"),
        ("two\nlines\u2028and\x0bmore\x00", "two lines and more"),
        (["B-X", "O"], "B-X, O"),
        ({"text": ["Paris", "in Paris"], "answer_start": [3, 0]}, "Paris | in Paris"),
        ({"text": [], "answer_start": []}, ""),
        (None, ""),
        (0.12345678, 0.123457),
    ],
)
def test_cells(value, shown):
    assert departures.cell(value) == shown


@settings(deadline=None)
@given(st.text())
@example("=1")
@example("-\u0661")
@example("\x1f-2+3")
@example("x" * 40_000)
def test_no_text_is_a_formula_or_has_lines(text):
    cell = departures.cell(text)
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow([cell, "next"])
    assert next(csv.reader(io.StringIO(file.getvalue()))) == [cell, "next"]
    assert len(cell.splitlines()) <= 1
    assert not any(unicodedata.category(one) == "Cc" for one in cell)
    assert len(cell) <= 32_767
    assert cell[:1] not in set("=@+-") or re.fullmatch(r"[+-][0-9.]+", cell)
