"""SQuAD's figures by hand, and the threshold above which a question has no answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilliput.tasks.question_answering import TASK, Reading, exact_match, f1, normal_words

SPAN_LABELS = ("start", "end")


def reading(answer, margin=1.0):
    """A prediction of ``answer``, ``margin`` better than none."""
    return Reading(answer, (), (0, len(answer)) if answer else None, margin, 0.0)


def gold(*answers):
    return tuple((0, answer) for answer in answers)


def test_normal_forms():
    assert normal_words("The  U.S.A.'s 2nd 'anthem' — an apple-pie!") == ["usas", "2nd", "anthem", "—", "applepie"]
    assert normal_words("THE, a. an") == []
    assert normal_words("theatre andean") == ["theatre", "andean"]


@pytest.mark.parametrize(
    ("found", "right", "exact", "overlap"),
    [
        ("the Eiffel Tower", "Eiffel tower.", 1, 1),
        ("Eiffel Tower in Paris", "Eiffel Tower", 0, 2 * (2 / 4) * 1 / (2 / 4 + 1)),
        ("Paris", "Eiffel Tower", 0, 0),
        ("to be or not to be", "to be to", 0, 2 * (3 / 6) * 1 / (3 / 6 + 1)),
        ("", "", 1, 1),
        ("the", "", 1, 1),
        ("", "Paris", 0, 0),
    ],
)
def test_exact_match_and_f1_by_hand(found, right, exact, overlap):
    assert exact_match(found, right) == exact
    assert f1(found, right) == pytest.approx(overlap)


def test_the_best_gold_answer_counts():
    scores = TASK.metrics(
        [reading("in Paris"), reading("1889")], [gold("Paris, France", "in Paris"), gold("May 1889")], SPAN_LABELS, {}
    )
    assert scores == {"f1": pytest.approx((1 + 2 / 3) / 2), "exact_match": 0.5}


def test_questions_with_and_without_an_answer_are_told_apart():
    predictions = [reading("Paris"), reading("1889"), reading(""), reading("Rome", -1.0)]
    targets = [gold("Paris"), gold("May 1889"), gold(), gold()]
    scores = TASK.metrics(predictions, targets, SPAN_LABELS, {"null_threshold": 0.5})
    assert scores == {
        "f1": pytest.approx((1 + 2 / 3 + 1 + 1) / 4),
        "exact_match": 0.75,
        "answerable_f1": pytest.approx((1 + 2 / 3) / 2),
        "answerable_exact_match": 0.5,
        "unanswerable_accuracy": 1.0,
    }
    assert TASK.metrics(predictions, targets, SPAN_LABELS, {})["unanswerable_accuracy"] == 0.5


def test_the_threshold_is_fitted_for_the_best_f1():
    # null - score:          -3 right      -2 wrong      -1 half right   1 nothing there   2 right
    predictions = [reading("a b", 3), reading("x", 2), reading("c d", 1), reading("y", -1), reading("z", -2)]
    targets = [gold("b"), gold("w"), gold("c"), gold(), gold("z")]
    # Answering the first k: sums of F1 1, 2 - (k = 1), 2, 2 + 2/3, 1 + 2/3, 2 + 2/3. The first best one is k = 3.
    assert TASK.fit(predictions, targets) == {"null_threshold": 0.0}
    assert TASK.fit(predictions[:3], targets[:3]) == {}
    assert TASK.fit([reading("a", 2)], [gold()]) == {"null_threshold": -3.0}
    assert TASK.fit([reading("b", -4), reading("")], [gold("b"), gold()]) == {"null_threshold": 5.0}


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_no_other_threshold_is_better(items):
    predictions = [reading("a b" if right else "c", margin) for margin, _, right in items]
    targets = [gold("a b") if answerable else gold() for _, answerable, _ in items]
    found = TASK.fit(predictions, targets)

    def score(threshold):
        return TASK.metrics(predictions, targets, SPAN_LABELS, {"null_threshold": threshold})["f1"]

    if found:
        assert score(found["null_threshold"]) == pytest.approx(max(map(score, np.arange(-6, 6, 0.5))))
    else:
        assert all(targets)


def test_records_hold_the_answer():
    found = TASK.record(reading("Paris"), SPAN_LABELS, {})
    assert found == {"prediction": {"text": ["Paris"], "answer_start": [0]}, "probabilities": None}
    none = TASK.record(reading("Paris", -1), SPAN_LABELS, {"null_threshold": 0.0})
    assert none["prediction"] == {"text": [], "answer_start": []}
