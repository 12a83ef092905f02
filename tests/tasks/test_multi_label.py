"""Any number of labels: rows, fitted thresholds and figures by hand, and the answers of transformers' own pipeline."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score
from transformers import pipeline

from lilliput.errors import ConfigError
from lilliput.tasks import MALFORMED, NEVER_TRAINED, NO_LABEL, NO_TEXT, RowFault
from lilliput.tasks.multi_label import FEW, TASK, THRESHOLD, sigmoid

NAMES = ("funny", "long", "sad")
TEXTS = ["the film was great", "", "漢字 movie 😀 was awful from start to finish", "it"]


def logits(*probabilities):
    """Predictions that have these probabilities."""
    values = np.array(probabilities, dtype=np.float64)
    return list(np.log(values / (1 - values)).astype(np.float32))


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        (["sad", "funny"], ("funny", "sad")),
        ("sad,funny", ("funny", "sad")),
        ("sad; long | funny", ("funny", "long", "sad")),
        ("sad", ("sad",)),
        (["sad, or not"], ("sad, or not",)),
        (["sad", "sad"], ("sad",)),
        ("sad,,sad,", ("sad",)),
        ([3, "1", 1.0], ("1", "3")),
        ([], ()),
        ("", ()),
        (" ", ()),
    ],
)
def test_labels_are_a_list_or_a_string_of_them(rows, cell, labels):
    assert rows(TASK, {"text": "a joy", "labels": cell}) == ([("a joy", labels)], {})


def test_pairs_and_unlabelled_rows(rows):
    found, _ = rows(TASK, {"premise": "a", "hypothesis": "b", "labels": ["x"]})
    assert found == [(("a", "b"), ("x",))]
    assert rows(TASK, {"text": "a", "labels": ["x"]}, labelled=False) == ([("a", None)], {})


def test_a_missing_cell_is_no_empty_list(rows):
    given = [{"text": "a", "labels": ["x"]}, {"text": "b", "labels": None}, {"text": "c"}, {"text": "d", "labels": 3}]
    given += [{"text": "e", "labels": [None]}, {"text": "f", "labels": [["x"]]}, {"text": "", "labels": []}]
    found, rejected = rows(TASK, *given)
    assert found == [("a", ("x",))]
    assert rejected == {NO_LABEL: 3, MALFORMED: 2, NO_TEXT: 1}


def test_targets_are_a_number_a_label():
    assert TASK.label_names([("sad", "long"), (), ("funny",)]) == NAMES
    target = TASK.index(("sad", "funny"), NAMES)
    assert target == (1.0, 0.0, 1.0)
    assert TASK.shown(target, NAMES) == ["funny", "sad"] == TASK.counted(target, NAMES)
    assert TASK.index((), NAMES) == (0.0, 0.0, 0.0)
    with pytest.raises(RowFault, match=NEVER_TRAINED):
        TASK.index(("sad", "new"), NAMES)


# --- thresholds and figures ------------------------------------------------------------------------------------------


def test_a_threshold_has_the_highest_f1():
    """Ranked, the labels are 1 1 1 1 0 1 0 0: F1 is 8/9 after four and 10/11 after six, between 0.4 and 0.3."""
    chances = [0.9, 0.8, 0.7, 0.6, 0.55, 0.4, 0.3, 0.2]
    gold = [1, 1, 1, 1, 0, 1, 0, 0]
    assert sum(gold) == FEW
    found = TASK.fit(logits(*([c] for c in chances)), [(float(g),) for g in gold])
    assert found == {"thresholds": [pytest.approx(0.35, abs=1e-6)]}


def test_equal_probabilities_can_t_be_told_apart():
    """After the first 0.5 F1 would be 10/10, but the other 0.5 comes along: 10/11."""
    gold = [(1.0,)] * 5 + [(0.0,)] * 3
    found = TASK.fit(logits([0.9], [0.8], [0.7], [0.6], [0.5], [0.5], [0.2], [0.1]), gold)
    assert found["thresholds"] == [pytest.approx(0.35, abs=1e-6)]


def test_a_rare_label_takes_the_threshold_of_all():
    """Its only text is ranked first with 0.9 against 0.8: alone, its threshold would be 0.85."""
    common = [0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.1, 0.1]
    rare = [0.9, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    gold = [(1.0, float(i == 0), 0.0) if i < 5 else (0.0, 0.0, 0.0) for i in range(8)]
    found = TASK.fit(logits(*([c, r, 0.05] for c, r in zip(common, rare, strict=True))), gold)["thresholds"]
    # Together, ranked: six right ones and the wrong 0.8 are above 0.3, F1 12/13.
    assert found == [pytest.approx(0.3, abs=1e-6)] * 3


def test_without_any_label_in_validation_thresholds_are_a_half():
    assert TASK.fit(logits([0.9, 0.1], [0.8, 0.3]), [(0.0, 0.0)] * 2) == {"thresholds": [THRESHOLD] * 2}


def test_a_fitted_threshold_is_as_good_as_any():
    generator = np.random.default_rng(0)
    for _ in range(20):
        chances, gold = generator.uniform(0.01, 0.99, 40).round(2), (generator.random(40) < 0.4).astype(float)
        predictions, targets = logits(*chances[:, None]), [(one,) for one in gold]
        settings = TASK.fit(predictions, targets)
        best = TASK.metrics(predictions, targets, ["x"], settings)["macro_f1"]
        above = chances > np.arange(0, 1, 0.005)[:, None]  # [thresholds, texts]
        tried = 2 * (above * gold).sum(axis=1) / (above.sum(axis=1) + gold.sum())
        assert best == pytest.approx(tried.max())


def test_figures_are_those_of_scikit_learn():
    generator = np.random.default_rng(1)
    chances, gold = generator.uniform(0.01, 0.99, (30, 3)), (generator.random((30, 3)) < 0.3).astype(float)
    gold[:, 1] = 0  # occurs nowhere
    thresholds = [0.4, 0.5, 0.6]
    found = TASK.metrics(logits(*chances), [tuple(row) for row in gold], NAMES, {"thresholds": thresholds})
    decided = chances > thresholds
    assert found == {
        "micro_f1": pytest.approx(f1_score(gold, decided, average="micro")),
        "macro_f1": pytest.approx(f1_score(gold, decided, average="macro", zero_division=0)),
        "map": pytest.approx(average_precision_score(gold[:, [0, 2]], chances[:, [0, 2]], average="macro")),
        "subset_accuracy": pytest.approx((decided == gold).all(axis=1).mean()),
    }
    assert TASK.metric in found


def test_nothing_right_and_nothing_there_are_zero():
    found = TASK.metrics(logits([0.1, 0.1]), [(0.0, 0.0)], ["a", "b"], {})
    assert found == {"micro_f1": 0.0, "macro_f1": 0.0, "map": 0.0, "subset_accuracy": 1.0}


def test_a_record_has_what_is_decided_and_every_probability():
    (prediction,) = logits([0.7, 0.45, 0.2])
    found = TASK.record(prediction, NAMES, {"thresholds": [0.8, 0.4, 0.1]})
    assert found["prediction"] == ["long", "sad"]
    assert found["probabilities"] == pytest.approx([0.7, 0.45, 0.2], abs=1e-6)
    assert TASK.record(prediction, NAMES, {})["prediction"] == ["funny"]


def test_a_sigmoid_does_not_overflow():
    assert sigmoid(np.array([-1e4, 0.0, 1e4], dtype=np.float32)).tolist() == [0.0, 0.5, 1.0]


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
@pytest.mark.parametrize("top_k", [None, 1, 2])
def test_answers_are_those_of_the_pipeline(architecture, top_k, headed, asked):
    tokenizer, model = headed(architecture, TASK.head, NAMES)
    model.config.problem_type = TASK.problem
    found = asked(TASK, tokenizer, model, TEXTS, top_k=top_k)
    expected = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")(TEXTS, top_k=top_k)
    assert [[one["label"] for one in row] for row in found] == [[one["label"] for one in row] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert [one["score"] for one in row] == pytest.approx([one["score"] for one in other], abs=1e-6)


def test_what_the_model_decides_can_be_asked_for():
    (prediction,) = logits([0.7, 0.45, 0.2])

    def ask(thresholds, **options):
        settings = {"thresholds": thresholds}
        found = TASK.answer("x", prediction, NAMES, settings, tokenizer=None, above_threshold=True, **options)
        return [one["label"] for one in found]

    assert ask([0.8, 0.4, 0.1]) == ["long", "sad"]
    assert ask([0.1, 0.1, 0.1], top_k=2) == ["funny", "long"]
    assert ask([0.9, 0.9, 0.9]) == []


@pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": True}, {"threshold": 0.5}])
def test_wrong_options_are_named(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        TASK.answer("x", logits([0.5])[0], ["a"], {}, tokenizer=None, **options)
