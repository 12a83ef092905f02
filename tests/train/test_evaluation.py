"""The evaluation of a model: figures against hand-made and independent ones, parts, and the page."""

import json
import math
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from lilliput import statistics, tasks
from lilliput.runs import append_log, write_json
from lilliput.train import calibration, evaluation, slices
from lilliput.train.data import Dataset, Split
from lilliput.train.evaluation_page import Scale

NAMES = ("negative", "neutral", "positive")


def logits(rows, count=3, sure=2.0, seed=0):
    """Random logits of width ``count`` and their gold labels, most of which they find."""
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, count, rows)
    values = generator.normal(size=(rows, count)).astype(np.float32)
    values[np.arange(rows), gold] += sure
    return list(values), gold.tolist()


def data_set(test, validation=None, names=NAMES, task="classification"):
    return Dataset("reviews", task, names, test, validation or test, test, [], {}, None, "f")


@pytest.fixture
def evaluate(tmp_path):
    def evaluate(predictions, split, names=NAMES, task="classification", column=None, settings=None, validation=None):
        held_out, held_out_split = validation or (predictions, split)
        return evaluation.write(
            tmp_path,
            tasks.get(task),
            predictions,
            data_set(split, held_out_split, names, task),
            settings or {},
            validation=held_out,
            slice_column=column,
        )

    return evaluate


def texts(words):
    return [" ".join(["word"] * count) for count in words]


# --- one label out of several ----------------------------------------------------------------------------------------


def test_labels_and_confusion_are_scikit_learn_s(evaluate):
    predictions, gold = logits(200)
    found = evaluate(predictions, Split(texts(range(1, 201)), gold))
    answers = np.stack(predictions).argmax(axis=1)
    assert found["confusion"]["matrix"] == confusion_matrix(gold, answers).tolist()
    expected = np.array(precision_recall_fscore_support(gold, answers)).T
    table = [[row[name] for name in ("precision", "recall", "f1", "support")] for row in found["labels"]]
    assert np.array(table) == pytest.approx(expected)
    assert [row["label"] for row in found["labels"]] == list(NAMES)
    assert found["score"] == pytest.approx((answers == gold).mean())
    interval = statistics.accuracy(answers == gold)
    assert found["ci"] == [interval.low, interval.high]


def test_one_label_out_of_several_is_measured_by_accuracy_whatever_chose_the_weights(evaluate):
    """Macro F1, which relation extraction is after, is no more than 1 / labels on the rows of one label."""
    predictions, gold = logits(90)
    found = evaluate(predictions, Split(texts([3] * 90), gold), task="relation-extraction")
    hits = np.stack(predictions).argmax(axis=1) == gold
    assert (found["metric"], found["score"]) == ("accuracy", pytest.approx(hits.mean()))
    for part in (one for one in found["slices"] if one["by"] == "label"):
        assert part["score"] == pytest.approx(hits[np.array(gold) == NAMES.index(part["value"])].mean())


def test_confusions_by_hand():
    """Gold a a a b b, predicted a b b b a: a is taken for b twice, b for a once."""
    found = evaluation.confusion(np.array([0, 0, 0, 1, 1]), np.array([0, 1, 1, 1, 0]), ("a", "b"))
    assert found == {
        "most": [{"gold": "a", "predicted": "b", "n": 2}, {"gold": "b", "predicted": "a", "n": 1}],
        "matrix": [[1, 2], [1, 1]],
    }
    many = evaluation.confusion(np.arange(31), np.roll(np.arange(31), 1), [str(i) for i in range(31)])
    assert many["matrix"] is None
    assert len(many["most"]) == 20


def test_every_prediction_is_kept_with_its_place(evaluate, tmp_path):
    predictions, gold = logits(3)
    evaluate(predictions, Split(["a", "b", "c"], gold, ["x.csv:2", "x.csv:3", "x.csv:7"]))
    table = pyarrow.parquet.read_table(tmp_path / "predictions.parquet").to_pydict()
    assert table["id"] == ["x.csv:2", "x.csv:3", "x.csv:7"]
    assert table["gold"] == [NAMES[label] for label in gold]
    assert table["prediction"] == [NAMES[values.argmax()] for values in predictions]
    for row, values in zip(table["probabilities"], predictions, strict=True):
        assert row == pytest.approx(np.exp(values) / np.exp(values).sum(), rel=1e-5)


def test_the_result_is_json(evaluate, tmp_path):
    predictions, gold = logits(60)
    found = evaluate(predictions, Split(texts(range(1, 61)), gold, slices=["web", ""] * 30), column="source")
    write_json(tmp_path / "r.json", found)
    assert json.loads((tmp_path / "r.json").read_text()) == found


# --- calibration -----------------------------------------------------------------------------------------------------


def test_the_temperature_undoes_logits_that_were_multiplied():
    """Labels drawn from softmax(z) fit temperature 1; a model that says softmax(3 z) is too sure by a factor of 3."""
    generator = np.random.default_rng(0)
    z = generator.normal(size=(20_000, 3)) * 1.5
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    gold = (p.cumsum(axis=1) > generator.random((len(p), 1))).argmax(axis=1)
    too_sure = np.exp(3 * z) / np.exp(3 * z).sum(axis=1, keepdims=True)
    assert calibration.temperature(p, gold) == pytest.approx(1, abs=0.05)
    assert calibration.temperature(too_sure, gold) == pytest.approx(3, abs=0.15)
    assert calibration.scaled(too_sure, 3.0) == pytest.approx(p)
    found = calibration.figures(too_sure, gold, (too_sure, gold))
    assert found["ece"] > 0.1
    assert found["ece_scaled"] < 0.02
    # The bins and the figure are two ways to the same sum.
    for name, bins in (("ece", "bins"), ("ece_scaled", "bins_scaled")):
        gaps = [one["n"] * abs(one["accuracy"] - one["confidence"]) for one in found[bins]]
        assert sum(gaps) / len(gold) == pytest.approx(found[name])
        assert sum(one["n"] for one in found[bins]) == len(gold)


def test_probabilities_of_0_and_answers_that_are_all_right_have_a_temperature():
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert calibration.COLDEST <= calibration.temperature(sure, np.array([0, 1])) <= calibration.HOTTEST
    assert calibration.temperature(sure, np.array([1, 0])) == pytest.approx(calibration.HOTTEST, rel=0.01)


def test_the_temperature_is_fitted_on_validation(evaluate):
    test, validation = logits(100, seed=1), logits(300, sure=4.0, seed=2)
    found = evaluate(
        test[0],
        Split(texts(range(1, 101)), test[1]),
        validation=([3 * one for one in validation[0]], Split(texts([3] * 300), validation[1])),
    )
    expected = np.stack([3 * one for one in validation[0]]).astype(np.float64)
    expected = np.exp(expected - expected.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    assert found["calibration"]["temperature"] == pytest.approx(calibration.temperature(expected, validation[1]))


# --- slices ----------------------------------------------------------------------------------------------------------


def test_slices_by_hand(evaluate):
    """80 texts of 1 to 4 words, 20 of each; every text of 4 words and 5 of those of 2 are wrong."""
    words = [1, 2, 3, 4] * 20
    wrong = [count == 4 or (count == 2 and number < 20) for number, count in enumerate(words)]
    predictions = [np.array([2.0, 0.0] if miss else [0.0, 2.0], np.float32) for miss in wrong]
    column = ["forum" if count == 4 else "news" for count in words]
    column[0] = "letters"
    split = Split(texts(words), [1] * 80, slices=column)
    found = evaluate(predictions, split, names=("no", "yes"), column="source")
    assert found["score"] == pytest.approx(55 / 80)
    parts = {(one["by"], one["value"]): one for one in found["slices"]}
    expected = {
        ("length", "1 word"): (20, 1.0),
        ("length", "2 words"): (20, 0.75),
        ("length", "3 words"): (20, 1.0),
        ("length", "4 words"): (20, 0.0),
        ("label", "yes"): (80, 55 / 80),
        ("source", "news"): (59, 54 / 59),
        ("source", "forum"): (20, 0.0),
    }
    assert {key: (one["n"], pytest.approx(one["score"])) for key, one in parts.items() if "score" in one} == expected
    assert parts["source", "letters"] == {"by": "source", "value": "letters", "n": 1}  # too few to tell
    four = parts["length", "4 words"]
    assert four["below"] == pytest.approx(55 / 80)
    assert four["ci"] == [pytest.approx(0), pytest.approx(1.96**2 / (20 + 1.96**2), abs=1e-4)]  # Wilson of 0 in 20
    assert [(one["by"], one["value"]) for one in found["worst"]] == [("length", "4 words"), ("source", "forum")]


def test_a_falling_metric_is_worse_where_it_is_larger():
    groups = [slices.Group("length", str(n), np.full(20, n)) for n in range(3)]

    def measure(rows):
        return statistics.Estimate(float(rows[0]), math.nan, math.nan)

    parts = slices.measured(groups, measure, whole=1.0, falling=True)
    assert [(one["value"], one["below"], one["ci"]) for one in parts] == [
        ("2", 1, None),
        ("1", 0, None),
        ("0", -1, None),
    ]
    assert [one["value"] for one in slices.worst(parts)] == ["2"]
    assert slices.measured(groups, measure, whole=1.0, falling=False)[0]["value"] == "0"


def test_of_many_values_the_most_frequent_are_slices():
    task = tasks.get("classification")
    split = Split(["x"] * 1000, [0] * 1000, slices=[str(i % 400) for i in range(600)] + ["often"] * 400)
    found = [group for group in slices.groups(task, split, None, (), "user") if group.by == "user"]
    assert len(found) == slices.MOST
    assert (found[0].value, len(found[0].rows)) == ("often", 400)


# --- other tasks -----------------------------------------------------------------------------------------------------


def test_several_labels_have_a_table_and_no_confusion(evaluate):
    names = ("art", "law", "war")
    generator = np.random.default_rng(0)
    gold = (generator.random((60, 3)) < 0.4).astype(float)
    predictions = list((gold * 4 - 2 + generator.normal(size=gold.shape) * 1.5).astype(np.float32))
    found = evaluate(predictions, Split(texts([1, 5] * 30), gold.tolist()), names, "multi-label")
    answers = np.stack(predictions) > 0
    expected = np.array(precision_recall_fscore_support(gold, answers)).T
    table = [[row[name] for name in ("precision", "recall", "f1", "support")] for row in found["labels"]]
    assert np.array(table) == pytest.approx(expected)
    assert "confusion" not in found
    assert "calibration" not in found
    assert found["metric"] == "micro_f1"
    assert {one["value"] for one in found["slices"] if one["by"] == "label"} == set(names)
    low, high = found["ci"]
    assert low < found["score"] < high


def test_scores_have_slices_by_length_only(evaluate, tmp_path):
    generator = np.random.default_rng(0)
    gold = generator.normal(size=80)
    predictions = (gold + generator.normal(size=80) * 0.3).tolist()
    found = evaluate(predictions, Split(texts([2, 9] * 40), gold.tolist()), ("score",), "regression")
    assert found.keys() == {"n", "metric", "score", "ci", "worst", "slices"}
    assert {one["value"] for one in found["slices"]} == {"2 words", "9 words"}
    assert pyarrow.parquet.read_table(tmp_path / "predictions.parquet")["prediction"].to_pylist() == predictions


def test_tags_are_counted_word_by_word():
    names = ("B-PER", "I-PER", "O")
    gold = [["B-PER", "I-PER", "O"], ["O", "O"], ["B-PER"]]
    found = [["B-PER", "O", "O"], ["O", "B-PER"], ["B-PER"]]

    class Tags(type(tasks.get("classification"))):
        per_token = True
        metric = "share"

        def shown(self, target, names):
            return [names[i] for i in target]

        def record(self, prediction, names, settings):
            return {"prediction": prediction, "probabilities": None}

        def metrics(self, predictions, targets, names, settings):
            return {"share": 0.5}

    from lilliput.train.answers import Answers

    split = Split(texts([3, 2, 1]), [[names.index(tag) for tag in row] for row in gold])
    answers = Answers(Tags(), found, split, names, {})
    one, other = answers.labels
    assert answers.one_each
    assert evaluation.confusion(one.argmax(1), other.argmax(1), names)["matrix"] == [[2, 0, 0], [0, 0, 1], [1, 0, 2]]
    assert answers.row_labels is None
    assert answers.probabilities is None


# --- the page --------------------------------------------------------------------------------------------------------


class Seen(HTMLParser):
    """The elements of a page, with what they would load or run, and whether they are closed in order."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.all, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.all.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.all.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page_of(folder):
    seen = Seen()
    seen.feed((folder / "evaluation.html").read_text(encoding="utf-8"))
    assert seen.open == []
    return seen


@pytest.mark.parametrize("count", [2, 40])
def test_the_page_is_whole_offline_and_escapes_what_the_data_say(evaluate, tmp_path, count):
    names = tuple(f"<script>{number}" for number in range(count))
    for step in (25, 50, 75):
        append_log(tmp_path / "log.jsonl", "train", step=step, loss=1 / step)
    for epoch in (1, 2):
        append_log(
            tmp_path / "log.jsonl", "validation", step=epoch * 40, epoch=epoch, accuracy=0.5 + epoch / 10, score=1
        )
    predictions, gold = logits(400, count, sure=1.0)
    split = Split(texts(range(1, 401)), gold, slices=["<img src=x>", "news"] * 200)
    found = evaluate(predictions, split, names, column="source")
    seen = page_of(tmp_path)
    assert not {tag for tag, _ in seen.all} & {"script", "img", "iframe", "object"}
    assert all(not value.startswith(("http", "//")) for _, given in seen.all for value in given.values() if value)
    text = " ".join(" ".join(seen.text).split())
    assert f"accuracy {found['score']:.3f}" in text
    for heading in ("Where it is worse", "Labels", "Confusion", "Reliability", "Training"):
        assert heading in text
    assert "<script>1" in text
    assert ("There are too many labels for a matrix" in text) == (count == 40)
    dots = [given for tag, given in seen.all if tag == "circle"]
    assert len(dots) >= len(found["calibration"]["bins"]) + len(found["worst"]) + 5


def test_the_page_does_without_what_a_task_or_a_short_training_lacks(evaluate, tmp_path):
    generator = np.random.default_rng(0)
    gold = generator.normal(size=40)
    evaluate(gold.tolist(), Split(texts([2] * 40), gold.tolist()), ("score",), "regression")
    text = " ".join(page_of(tmp_path).text)
    assert "No part of at least 20 rows is worse than the whole." in text
    assert not {"Labels", "Confusion", "Reliability", "Training"} & set(text.split())


def test_ticks_are_round():
    assert Scale(0, 1, 0, 100).ticks == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert Scale(0.83, 0.91, 0, 100).ticks == [0.84, 0.86, 0.88, 0.9]
    assert Scale(25, 600, 0, 100).ticks == [100, 200, 300, 400, 500, 600]
    assert Scale(3, 3, 0, 100).ticks == [3]
    assert Scale(2, 4, 10, 30)(3) == 20
