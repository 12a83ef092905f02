import math

import numpy as np
import pytest

from lilliput import tasks
from lilliput.errors import BundleError, ConfigError
from lilliput.tasks.classification import TASK

LABELS = ("red", "green", "blue")


def logits(*rows):
    return np.array(rows, dtype=np.float32)


def answers(rows, labels, top_k):
    return [TASK.answer("", row, labels, {}, top_k=top_k) for row in rows]


def test_scores_are_softmax_probabilities():
    # exp(0) : exp(ln 2) : exp(ln 5) = 1 : 2 : 5
    (answer,) = answers(logits([0, math.log(2), math.log(5)]), LABELS, None)
    assert [item["label"] for item in answer] == ["blue", "green", "red"]
    assert [item["score"] for item in answer] == pytest.approx([5 / 8, 2 / 8, 1 / 8], abs=1e-6)


def test_top_1_is_one_answer_a_text_in_order():
    found = answers(logits([0, math.log(2), math.log(5)], [math.log(2), 0, 0]), LABELS, 1)
    assert [answer["label"] for answer in found] == ["blue", "red"]
    assert [answer["score"] for answer in found] == pytest.approx([5 / 8, 2 / 4], abs=1e-6)
    assert type(found[0]["score"]) is float


def test_top_1_is_the_first_of_all_labels_to_the_bit():
    rows = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    first = [answer[0] for answer in answers(rows, LABELS, None)]
    assert answers(rows, LABELS, 1) == first


def test_top_k_cuts_and_never_invents_labels():
    rows = logits([3, 2, 1])
    assert [len(answers(rows, LABELS, k)[0]) for k in (2, 3, 9)] == [2, 3, 3]


def test_ties_keep_the_order_of_the_labels():
    assert answers(logits([1, 1, 1]), LABELS, 1) == [{"label": "red", "score": pytest.approx(1 / 3)}]
    (answer,) = answers(logits([0, 1, 1]), LABELS, None)
    assert [item["label"] for item in answer] == ["green", "blue", "red"]


def test_huge_logits_do_not_overflow():
    assert answers(logits([1e38, 0, -1e38]), LABELS, 1) == [{"label": "red", "score": 1.0}]


@pytest.mark.parametrize("top_k", [0, -1, True, 1.0, "2"])
def test_wrong_top_k_is_named(top_k):
    with pytest.raises(ConfigError, match="top_k"):
        answers(logits([1, 2, 3]), LABELS, top_k)


def test_one_label_is_no_classification():
    with pytest.raises(BundleError, match="at least 2"):
        TASK.check_labels(("only",))
    TASK.check_labels(("no", "yes"))


def test_the_table_knows_its_files():
    assert "classification" in tasks.names()
    assert tasks.get("classification") is TASK
    assert (TASK.name, TASK.metric) == ("classification", "accuracy")


@pytest.mark.parametrize("name", ["", "nope", "__init__", "classification.py", "../errors", "Classification"])
def test_an_unknown_task_lists_the_known(name):
    with pytest.raises(ConfigError, match=r"known: .*classification"):
        tasks.get(name)
