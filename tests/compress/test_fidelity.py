"""A student beside its teacher, both of which choose a label: every figure by hand."""

import math

import numpy as np
import pytest
from scipy.spatial import distance

from lilliput import statistics, tasks
from lilliput.compress import departures, fidelity
from lilliput.compress.comparison import compared
from lilliput.compress.fidelity import Predictions
from lilliput.train.answers import Answers
from lilliput.train.data import Dataset, Split

NAMES = ("negative", "neutral", "positive")
FLIPS = ("right_to_wrong", "wrong_to_right", "wrong_to_other_wrong")


def sure(labels, count=3):
    """Logits of a model that is nearly sure of these labels."""
    return list((np.eye(count, dtype=np.float32) * 9)[np.asarray(labels)])


def chances(*rows):
    """Logits whose softmax is these rows."""
    with np.errstate(divide="ignore"):
        return list(np.maximum(np.log(np.array(rows)), -1e4).astype(np.float32))


def side_by_side(student, teacher, targets, names=NAMES):
    split = Split(["it was good"] * len(targets), targets)
    return [Answers(tasks.get("classification"), one, split, names, {}) for one in (student, teacher)]


@pytest.fixture
def write(tmp_path):
    """Writes what is found on a test split, which is also the validation split unless there is another.

    ``held_out``, and ``outside`` by name, are a split and what student and teacher say of it.
    """

    def write(student, teacher, test, *, held_out=None, outside=None, column=None, names=NAMES):
        validation, *said = held_out or (test, student, teacher)
        further = outside or {}
        models = [
            Predictions(one, said[number], {name: answers[number] for name, (_, *answers) in further.items()})
            for number, one in enumerate((student, teacher))
        ]
        splits = {name: split for name, (split, *_) in further.items()}
        return fidelity.write(
            tmp_path,
            tasks.get("classification"),
            Dataset("reviews", "classification", names, test, validation, test, [], splits, None, "f"),
            student=models[0],
            teacher=models[1],
            slice_column=column,
        )

    return write


# --- one label out of several ----------------------------------------------------------------------------------------

GOLD = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
TEACHER = [0, 0, 0, 0, 1, 1, 0, 2, 1, 1]  # 7 right
STUDENT = [0, 0, 1, 2, 1, 1, 1, 2, 0, 1]  # 6 right; loses the 3rd and 4th, wins the 7th, differs on the 9th too


def test_labels_by_hand():
    found = compared(*side_by_side(sure(STUDENT), sure(TEACHER), GOLD))
    assert found["student"]["value"] == 0.6
    assert found["teacher"]["value"] == 0.7
    assert found["difference"]["value"] == pytest.approx(-0.1)
    assert found["retained"]["value"] == pytest.approx(6 / 7)
    assert found["mcnemar_p"] == 1.0  # 1 against 2 is as even as 3 can be
    assert found["agreement"]["value"] == 0.6
    # Wilson of 6 in 10: (0.6 + 0.19207 ± 1.96 sqrt(0.024 + 0.0096036)) / 1.38415
    assert found["agreement"]["ci"] == pytest.approx([0.3127, 0.8318], abs=1e-4)
    flips = found["flips"]
    assert (flips["unit"], flips["of"]) == ("input", 10)
    counts = {name: flips[name]["n"] for name in FLIPS}
    assert counts == {"right_to_wrong": 2, "wrong_to_right": 1, "wrong_to_other_wrong": 1}
    assert flips["right_to_wrong"]["value"] == 0.2
    low, high = flips["right_to_wrong"]["ci"]
    assert low < 0.2 < high
    assert found["correlation"] is None


def test_intervals_are_paired():
    hits, teacher_hits = (np.array(one) == GOLD for one in (STUDENT, TEACHER))
    found = compared(*side_by_side(sure(STUDENT), sure(TEACHER), GOLD))
    difference = statistics.difference(hits, teacher_hits)
    kept = statistics.retained(hits, teacher_hits)
    assert found["difference"]["ci"] == [difference.low, difference.high]
    assert found["retained"]["ci"] == [kept.low, kept.high]


def test_mcnemar_of_flips_that_go_one_way():
    found = compared(*side_by_side(sure([1] * 5 + [0] * 3), sure([0] * 8), [0] * 8))
    assert found["mcnemar_p"] == pytest.approx(2 / 2**5)  # 5 of 5, on either side


def test_a_model_beside_itself():
    found = compared(*side_by_side(sure(STUDENT), sure(STUDENT), GOLD))
    assert found["difference"]["value"] == 0
    low, high = found["difference"]["ci"]
    assert -0.2 < low < 0 < high < 0.2  # few texts prove little
    assert found["retained"]["value"] == 1
    assert found["retained"]["ci"][0] < 1 < found["retained"]["ci"][1]
    assert found["probability_loyalty"] == {"value": 1.0, "ci": [1.0, 1.0]}
    assert found["agreement"]["value"] == 1.0
    assert [found["flips"][name]["n"] for name in FLIPS] == [0] * 3


def test_nothing_is_retained_of_a_teacher_that_is_never_right():
    assert compared(*side_by_side(sure([0, 1]), sure([1, 1]), [0, 0]))["retained"] is None


def test_one_input_has_figures_without_the_intervals_that_need_two():
    found = compared(*side_by_side(chances([1, 0]), chances([0.5, 0.5]), [0], names=("no", "yes")))
    assert found["probability_loyalty"] == {"value": pytest.approx(0.44207, abs=1e-5), "ci": None}


# --- probabilities ---------------------------------------------------------------------------------------------------


def test_jensen_shannon_of_known_distributions():
    # (1, 0) and (1/2, 1/2), middle (3/4, 1/4): log2(4/3) = 0.41504 and log2(2/3) / 2 + log2(2) / 2 = 0.20752,
    # half of each is 0.31128, whose root is 0.55793.
    p = np.array([[1, 0], [1, 0], [0.3, 0.7], [1, 0]], dtype=float)
    q = np.array([[0.5, 0.5], [0, 1], [0.3, 0.7], [1, 5e-324]])
    assert departures.jensen_shannon(p, q) == pytest.approx([0.55793, 1, 0, 0], abs=1e-5)


def test_jensen_shannon_is_scipy_s():
    rows = np.random.default_rng(0).dirichlet([0.3] * 5, size=(2, 50))
    expected = [distance.jensenshannon(p, q, base=2) for p, q in zip(*rows, strict=True)]
    assert departures.jensen_shannon(rows[0], rows[1]) == pytest.approx(expected)


def test_probability_loyalty_is_the_mean_of_1_minus_the_distance():
    student = chances([1, 0], [0, 1], [0.3, 0.7])
    teacher = chances([0.5, 0.5], [0, 1], [0.3, 0.7])
    found = compared(*side_by_side(student, teacher, [0, 1, 1], names=("no", "yes")))["probability_loyalty"]
    # 0.44207, 1, 1: mean 0.81402, deviation 0.32212, so ± 4.3027 * 0.32212 / sqrt(3) = 0.80021, cut at 1.
    assert found["value"] == pytest.approx(0.81402, abs=1e-5)
    assert found["ci"] == pytest.approx([0.01382, 1], abs=1e-4)


def test_calibration_before_and_after_the_temperature_of_validation(write):
    """On validation both are right in 8 of 10 with confidence 0.9; on the test the student is in 5 of 10 with 0.8."""
    names = ("no", "yes")
    split, held_out = Split(["x"] * 10, [0] * 5 + [1] * 5), Split(["x"] * 10, [0] * 8 + [1] * 2)
    student, teacher, validation = ([row] * 10 for row in ([0.8, 0.2], [0.5, 0.5], [0.9, 0.1]))
    said = chances(*validation)
    found = write(chances(*student), chances(*teacher), split, held_out=(held_out, said, said), names=names)
    # The odds of 0.9 are 9 and become those of 0.8, which are 4: 9^(1/T) = 4.
    heat = math.log(9) / math.log(4)
    after = 4 ** (1 / heat) / (1 + 4 ** (1 / heat))
    calibration = found["calibration"]
    assert calibration["student"] == {
        "ece": pytest.approx(0.3, abs=1e-6),
        "temperature": pytest.approx(heat, rel=1e-3),
        "ece_scaled": pytest.approx(after - 0.5, abs=1e-3),
    }
    assert calibration["teacher"]["ece"] == pytest.approx(0, abs=1e-6)  # one half, and half of them right


# --- parts and other domains -----------------------------------------------------------------------------------------


def test_slices_by_hand_the_worst_loss_first(write):
    """Of 80 texts the student loses 10 of the 20 of two words, and wins 5 of the 20 of three words."""
    words = [1, 2, 3, 4] * 20
    gold = [1] * 80
    student = [0 if count == 2 and number < 40 else 1 for number, count in enumerate(words)]
    teacher = [0 if count == 3 and number < 20 else 1 for number, count in enumerate(words)]
    column = ["forum" if count == 2 else "news" for count in words]
    column[0] = "letters"
    split = Split([" ".join(["word"] * count) for count in words], gold, slices=column)
    found = write(sure(student, 2), sure(teacher, 2), split, names=("no", "yes"), column="source")["slices"]
    parts = {(one["by"], one["value"]): one for one in found}
    measured = {
        key: (one["n"], one["student"]["value"], one["teacher"]["value"], pytest.approx(one["difference"]["value"]))
        for key, one in parts.items()
        if "difference" in one
    }
    assert measured == {
        ("length", "1 word"): (20, 1, 1, 0),
        ("length", "2 words"): (20, 0.5, 1, -0.5),
        ("length", "3 words"): (20, 1, 0.75, 0.25),
        ("length", "4 words"): (20, 1, 1, 0),
        ("label", "yes"): (80, 70 / 80, 75 / 80, -5 / 80),
        ("source", "news"): (59, 1, 54 / 59, 5 / 59),
        ("source", "forum"): (20, 0.5, 1, -0.5),
    }
    # Wilson's intervals of 10 and 20 of 20 are [0.2993, 0.7007] and [0.8389, 1]; one of the two never differs, so that
    # there is no correlation: -0.5 - sqrt(0.2007² + 0²) and -0.5 + sqrt(0.2007² + 0.1611²).
    assert parts["length", "2 words"]["difference"]["ci"] == pytest.approx([-0.7007, -0.2426], abs=1e-4)
    order = [one["difference"]["value"] for one in found if "difference" in one]
    assert order == sorted(order)
    assert found[-1] == {"by": "source", "value": "letters", "n": 1}


def test_other_domains(write):
    split = Split(["x"] * 10, GOLD)
    tweets = (Split(["t"] * 20, GOLD * 2), sure(STUDENT * 2), sure(TEACHER * 2))
    few = (Split(["p"] * 19, [0] * 19), [], [])
    found = write(sure(STUDENT), sure(TEACHER), split, outside={"tweets": tweets, "products": few})["out_of_domain"]
    assert found["products"] == {"n": 19}
    assert found["tweets"]["n"] == 20
    assert found["tweets"]["student"]["value"] == 0.6
    assert found["tweets"]["teacher"]["value"] == 0.7
    assert found["tweets"]["retained"]["value"] == pytest.approx(6 / 7)
    low, high = found["tweets"]["retained"]["ci"]
    assert low < 6 / 7 < high
    assert found["tweets"]["agreement"]["value"] == 0.6


def test_no_other_domain(write):
    assert write(sure(STUDENT), sure(TEACHER), Split(["x"] * 10, GOLD))["out_of_domain"] == {}


def test_predictions_must_be_of_the_inputs(write):
    split = Split(["x"] * 10, GOLD)
    with pytest.raises(ValueError, match="9 and 10 predictions of student and teacher for 10 inputs of test"):
        write(sure(STUDENT)[:9], sure(TEACHER), split)
    with pytest.raises(ValueError, match="0 and 0 predictions of student and teacher for 20 inputs of tweets"):
        write(sure(STUDENT), sure(TEACHER), split, outside={"tweets": (Split(["t"] * 20, GOLD * 2), [], [])})
