"""A student beside its teacher on other tasks than classification: by hand, and every task from answers to files."""

import json
import math

import numpy as np
import pytest
from scipy.spatial import distance

from lilliput import statistics, tasks
from lilliput.compress import departures, fidelity
from lilliput.compress.comparison import compared
from lilliput.runs import write_json
from lilliput.tasks.question_answering import Reading
from lilliput.tasks.sentence_embedding import Embedded
from lilliput.tasks.token_classification import Tagging
from lilliput.train.answers import Answers
from lilliput.train.data import Dataset, Split

NAMES = ("negative", "neutral", "positive")
FLIPS = ("right_to_wrong", "wrong_to_right", "wrong_to_other_wrong")


def side_by_side(student, teacher, targets, names, task, inputs=None):
    split = Split(inputs or ["it was good"] * len(targets), targets)
    return [Answers(tasks.get(task), one, split, names, {}) for one in (student, teacher)]


def yes_no(*rows):
    """Logits of several labels, each there or not."""
    return list((np.array(rows, dtype=np.float32) * 2 - 1) * 3)


def test_several_labels_by_hand():
    gold = [(1.0, 0.0), (1.0, 1.0), (0.0, 0.0)]
    student, teacher = yes_no([1, 0], [1, 0], [0, 1]), yes_no([1, 0], [1, 1], [0, 0])
    found = compared(*side_by_side(student, teacher, gold, ("a", "b"), "multi-label"))
    assert found["agreement"]["value"] == pytest.approx(4 / 6)  # of the decisions
    flips = found["flips"]
    assert (flips["of"], flips["right_to_wrong"]["n"], flips["wrong_to_right"]["n"]) == (3, 2, 0)
    assert found["mcnemar_p"] == 0.5
    assert found["student"]["value"] == pytest.approx(4 / 6)  # 2 hits among 3 labels given and 3 gold
    assert found["teacher"]["value"] == 1
    assert found["difference"]["value"] == pytest.approx(-2 / 6)
    assert found["retained"]["value"] == pytest.approx(4 / 6)
    # Two of six labels have probability σ(3) in the one and 1 - σ(3) in the other model.
    likely = 1 / (1 + math.exp(-3))
    apart = distance.jensenshannon([likely, 1 - likely], [1 - likely, likely], base=2)
    assert found["probability_loyalty"]["value"] == pytest.approx(1 - apart / 3)


def tagged(*rows):
    """What a model says that gives these labels to the words, one a token."""
    return [
        Tagging(" ".join("w" * len(row)), ("w",) * len(row), np.zeros((len(row), 2), int), logits, np.arange(len(row)))
        for row in rows
        for logits in [np.eye(3, dtype=np.float32)[list(row)]]
    ]


def test_tags_by_hand():
    gold, teacher, student = [(0, 1, 0), (1,)], tagged((0, 1, 2), (1,)), tagged((0, 0, 1), (1,))
    pair = side_by_side(student, teacher, gold, ("A", "B", "C"), "token-classification", [("w",) * 3, ("w",)])
    found = compared(*pair)
    assert found["agreement"]["value"] == 0.5
    flips = found["flips"]
    assert (flips["unit"], flips["of"]) == ("token", 4)
    counts = [flips[name]["n"] for name in FLIPS]
    assert counts == [1, 0, 1]
    assert found["mcnemar_p"] is None
    assert found["probability_loyalty"] is None
    assert (found["student"]["value"], found["teacher"]["value"]) == (0.5, 0.75)
    assert departures.distances(*pair) == pytest.approx([2 / 3, 0])


def test_the_interval_of_tags_is_over_inputs():
    """Each input of four tokens is right throughout or wrong throughout: as uncertain as one token each."""
    gold = [(0,) * 4] * 30
    student, teacher = tagged(*[(i % 3 // 2,) * 4 for i in range(30)]), tagged(*gold)
    found = compared(*side_by_side(student, teacher, gold, ("A", "B", "C"), "token-classification"))["agreement"]
    alone = statistics.mean([float(i % 3 != 2) for i in range(30)])
    low, high = found["ci"]
    assert found["value"] == pytest.approx(2 / 3)
    assert high - low == pytest.approx(alone.high - alone.low, rel=0.25)


def answer(context, said):
    place = context.find(said)
    return Reading(context, (), (place, place + len(said)) if said else None, 1.0, 0.0)


def test_answers_in_words_by_hand():
    context = "the red fox is in Paris"
    gold = [((0, "the red fox"),), ((18, "Paris"),), (), ((18, "Paris"),)]
    teacher = [answer(context, said) for said in ("red fox", "Paris", "", "fox")]
    student = [answer(context, said) for said in ("the red fox", "in Paris", "fox", "red")]
    pair = side_by_side(student, teacher, gold, ("start", "end"), "question-answering", [("who?", context)] * 4)
    found = compared(*pair)
    assert found["agreement"]["value"] == 0.25  # the first, but for the article
    flips = found["flips"]
    counts = [flips[name]["n"] for name in FLIPS]
    assert counts == [2, 0, 1]
    assert found["mcnemar_p"] == 0.5
    # "in Paris" and "Paris" share 1 word of 3: F1 2/3.
    assert departures.distances(*pair) == pytest.approx([0, 1 / 3, 1, 1])
    assert found["teacher"]["value"] == 0.75
    assert found["student"]["value"] == pytest.approx((1 + 2 / 3) / 4)


def test_scores_by_hand():
    gold = [1.0, 2.0, 3.0, 4.0]
    student, teacher = [2.0, 1.0, 3.0, 4.0], [1.5, 2.5, 3.5, 4.5]
    pair = side_by_side(student, teacher, gold, ("score",), "regression")
    found = compared(*pair)
    assert departures.distances(*pair) == pytest.approx([0.5, 1.5, 0.5, 0.5])
    assert found["correlation"]["value"] == pytest.approx(0.8)  # 1 - 6 Σd² / (n (n² - 1)), Σd² = 2
    assert found["student"]["value"] == pytest.approx(0.8)
    assert found["teacher"]["value"] == pytest.approx(1)
    assert found["agreement"] is found["flips"] is found["mcnemar_p"] is found["probability_loyalty"] is None


def test_nothing_is_retained_of_a_correlation_that_is_not_above_0():
    gold = [1.0, 2.0, 3.0, 4.0]
    found = compared(*side_by_side(gold, gold[::-1], gold, ("score",), "regression"))
    assert found["retained"] is None
    assert found["difference"]["value"] == pytest.approx(2)


def embedded(angles):
    """Two texts, and vectors at these angles to each other."""
    return [
        Embedded((f"a{i}", f"b{i}"), np.array([[1, 0], [math.cos(angle), math.sin(angle)]], dtype=np.float32))
        for i, angle in enumerate(angles)
    ]


def test_embeddings_are_apart_by_the_cosines_of_their_texts():
    student, teacher = embedded([0, math.pi / 2]), embedded([math.pi / 3, math.pi / 2])
    pair = side_by_side(student, teacher, [5.0, 1.0], (), "sentence-embedding", [("a0", "b0"), ("a1", "b1")])
    assert departures.distances(*pair) == pytest.approx([0.5, 0], abs=1e-6)
    assert compared(*pair)["correlation"]["value"] == pytest.approx(1)


def random_task(name, n=44):
    """Inputs, targets, label names and two models' predictions for a task."""
    draw = np.random.default_rng(3)
    inputs, labels = [f"text {'word ' * (i % 4)}" for i in range(n)], draw.integers(0, 3, n).tolist()
    if name in ("classification", "relation-extraction"):
        return inputs, labels, NAMES, *(list(draw.normal(size=(n, 3)).astype(np.float32)) for _ in "st")
    if name == "multi-label":
        gold = [tuple(row) for row in (draw.random((n, 3)) < 0.5).astype(float).tolist()]
        return inputs, gold, NAMES, *(list(draw.normal(size=(n, 3)).astype(np.float32)) for _ in "st")
    if name == "regression":
        return inputs, draw.normal(size=n).tolist(), ("score",), *(draw.normal(size=n).tolist() for _ in "st")
    if name == "token-classification":
        gold, *said = (list(zip(*draw.integers(0, 3, (4, n)).tolist(), strict=True)) for _ in "gst")
        return [("w",) * 4] * n, gold, ("B-X", "I-X", "O"), *(tagged(*rows) for rows in said)
    if name == "question-answering":
        words = ["red fox", "fox", "Paris", ""]
        context = "a red fox in Paris"
        gold = [((context.find(word), word),) if word else () for word in (words * n)[:n]]
        said = ([answer(context, words[i]) for i in draw.integers(0, 4, n)] for _ in "st")
        return [("who?", context)] * n, gold, ("start", "end"), *said
    assert name.startswith("sentence-embedding")
    gold = [None] * n if name.endswith("pairs") else draw.normal(size=n).tolist()
    return [(f"a{i}", f"b{i}") for i in range(n)], gold, (), *(embedded(draw.random(n) * 3) for _ in "st")


TASKS = [*(name for name in tasks.names() if tasks.get(name).command == "finetune"), "sentence-embedding of pairs"]


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_its_figures(name, tmp_path):
    inputs, gold, names, *said = random_task(name)
    split, task = Split(inputs, gold, slices=["even", "odd"] * 22), name.split(" ")[0]
    student, teacher = (fidelity.Predictions(one, one, {"other": one}) for one in said)
    found = fidelity.write(
        tmp_path,
        tasks.get(task),
        Dataset("made up", task, names, split, split, split, [], {"other": split}, None, "f"),
        student=student,
        teacher=teacher,
        slice_column="source",
    )
    write_json(tmp_path / "r.json", found)  # which takes no NaN
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == found
    assert {path.name for path in tmp_path.iterdir()} == {"departures.csv", "r.json"}
    metric = "accuracy" if task == "relation-extraction" else tasks.get(task).metric
    assert (found["n"], found["metric"]) == (44, metric)
    for which in ("student", "teacher", "difference"):
        low, high = found[which]["ci"]
        assert low <= found[which]["value"] <= high
    assert {one["value"] for one in found["slices"] if one["by"] == "source"} == {"even", "odd"}
    same = {key: found[key] for key in found.keys() & found["out_of_domain"]["other"].keys()}
    assert found["out_of_domain"]["other"] == same
    numbers, chosen = {"regression", "sentence-embedding"}, {"classification", "relation-extraction"}
    assert (found["agreement"] is None) == (found["flips"] is None) == (task in numbers)
    assert (found["correlation"] is None) == (task not in numbers)
    assert (found["probability_loyalty"] is None) == (task not in {*chosen, "multi-label"})
    assert (found["calibration"] is None) == (task not in chosen)
    assert len((tmp_path / "departures.csv").read_text(encoding="utf-8").splitlines()) > 20
