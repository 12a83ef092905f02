"""A model's outputs as rows, whatever the task: by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lilliput import tasks
from lilliput.compress import objectives, predictions
from lilliput.compress.predictions import IMPOSSIBLE, Rows, hard_loss, kind_of, rows, unknown
from lilliput.tasks import IGNORED

NAN = float("nan")


def test_every_task_has_its_kind():
    kinds = {name: kind_of(tasks.get(name)) for name in tasks.names() if tasks.get(name).command == "finetune"}
    assert kinds == {
        "classification": "classes",
        "relation-extraction": "classes",
        "multi-label": "labels",
        "regression": "score",
        "token-classification": "tokens",
        "question-answering": "span",
        "sentence-embedding": "vector",
    }


def test_what_stands_for_an_unknown_label():
    assert unknown("classes", 3, 5) == {"labels": -100}
    assert unknown("labels", 3, 5) == {"labels": [-100.0] * 3}
    assert math.isnan(unknown("score", 1, 5)["labels"])
    assert unknown("tokens", 3, 5) == {"labels": [-100] * 5}
    assert unknown("span", 2, 5) == {"start_positions": -100, "end_positions": -100}
    assert unknown("vector", 2, 5) == {}


@pytest.mark.parametrize(
    ("kind", "one", "other", "expected"),
    [
        ("classes", [1.0, 3.0], [5.0, 7.0], 0.0),  # one added to all says nothing
        ("classes", [1.0, 3.0], [0.0, 0.0], 1.0),
        ("tokens", [[1.0, 3.0], [2.0, 2.0]], [[0.0, 0.0], [9.0, 9.0]], 0.5),
        ("span", [[1.0, 2.0], [3.0, 2.0]], [[0.0, 7.0], [2.0, 7.0]], 0.0),  # a choice among tokens
        ("labels", [1.0, 3.0], [2.0, 4.0], 1.0),
        ("score", [2.0], [4.0], 4.0),
        ("vector", [3.0, 4.0], [6.0, 8.0], 0.0),
        ("vector", [1.0, 0.0], [0.0, 2.0], 1.0),
        ("vector", [0.0, 0.0], [0.0, 2.0], 0.5),
    ],
)
def test_distances_by_hand(kind, one, other, expected):
    one, other = (np.array(output, dtype=np.float32) for output in (one, other))
    assert predictions.distance(kind, one, other) == pytest.approx(expected)


# --- one out of several ----------------------------------------------------------------------------------------------

MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])


def test_classes_stay_as_they_are_in_float32():
    student, teacher = torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16), torch.tensor([[0.0, 3.0]])
    found = rows("classes", student, teacher, {"attention_mask": MASK[:1], "labels": torch.tensor([1])})
    assert found.student.dtype == torch.float32
    assert found.student.tolist() == [[1, 2]]
    assert found.teacher.tolist() == [[0, 3]]
    assert found.labels.tolist() == [1]
    assert found.valid is None


def test_the_loss_with_classes_is_over_those_that_are_known():
    student = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    losses = [math.log(2), math.log1p(math.exp(2)), math.log1p(math.exp(-1))]  # of the labels 0, 1 and 1

    def loss(*labels):
        return hard_loss("classes", Rows(student, student, torch.tensor(labels)))

    assert loss(0, 1, 1).item() == pytest.approx(sum(losses) / 3)
    assert loss(IGNORED, 1, 1).item() == pytest.approx(sum(losses[1:]) / 2)
    assert loss(IGNORED, IGNORED, IGNORED) is None
    assert hard_loss("classes", Rows(student, student)) is None


# --- several of several ----------------------------------------------------------------------------------------------


def test_each_of_several_labels_is_a_choice_of_its_own():
    student, teacher = torch.tensor([[1.0, -2.0], [0.5, 3.0]]), torch.tensor([[0.0, 4.0], [1.0, 1.0]])
    labels = torch.tensor([[1.0, 0.0], [-100.0, -100.0]])
    found = rows("labels", student, teacher, {"attention_mask": MASK, "labels": labels})
    assert found.student.tolist() == [[1, 0], [-2, 0], [0.5, 0], [3, 0]]
    assert found.teacher.tolist() == [[0, 0], [4, 0], [1, 0], [1, 0]]
    assert found.labels.tolist() == [0, 1, IGNORED, IGNORED]  # there, not there, unknown
    expected = F.binary_cross_entropy_with_logits(student[:1], labels[:1])
    assert hard_loss("labels", found).item() == pytest.approx(expected.item())


def test_several_labels_lose_what_binary_cross_entropy_loses():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(4, 3, generator=generator) for _ in range(2))
    labels = torch.randint(2, (4, 3), generator=generator).float()
    found = rows("labels", student, teacher, {"attention_mask": torch.ones(4, 2), "labels": labels})
    expected = F.binary_cross_entropy_with_logits(student, labels)
    assert hard_loss("labels", found).item() == pytest.approx(expected.item(), rel=1e-6)
    # Soft targets: the same with the teacher's probabilities, less their entropy.
    chances = teacher.sigmoid()
    soft = F.binary_cross_entropy_with_logits(student, chances) - F.binary_cross_entropy(chances, chances)
    loss = objectives.get("soft-targets").loss(found.student, found.teacher, temperature=1.0)
    assert loss.item() == pytest.approx(soft.item(), rel=1e-5)


def test_several_labels_without_any_known():
    batch = {"attention_mask": MASK[:1], "labels": torch.tensor([unknown("labels", 2, 3)["labels"]])}
    assert hard_loss("labels", rows("labels", torch.ones(1, 2), torch.ones(1, 2), batch)) is None
    assert rows("labels", torch.ones(1, 2), torch.ones(1, 2), {"attention_mask": MASK[:1]}).labels is None


# --- a score ---------------------------------------------------------------------------------------------------------


def test_scores_are_in_units_of_their_deviation():
    batch = {"attention_mask": MASK, "labels": torch.tensor([4.0, NAN])}
    found = rows("score", torch.tensor([[3.0], [7.0]]), torch.tensor([[1.0], [5.0]]), batch, mean=3.0, deviation=2.0)
    assert found.student.tolist() == [[0], [2]]
    assert found.teacher.tolist() == [[-1], [1]]
    assert found.labels[0].item() == 0.5
    assert hard_loss("score", found).item() == pytest.approx(0.25)  # (0 - 0.5)^2; the other score is unknown
    batch["labels"] = torch.tensor([NAN, NAN])
    assert hard_loss("score", rows("score", torch.ones(2, 1), torch.ones(2, 1), batch)) is None


def test_an_unknown_score_has_no_gradient():
    student = torch.tensor([[3.0], [7.0]], requires_grad=True)
    batch = {"attention_mask": MASK, "labels": torch.tensor([4.0, NAN])}
    hard_loss("score", rows("score", student, torch.zeros(2, 1), batch)).backward()
    assert student.grad.tolist() == [[-2.0], [0.0]]  # 2 (3 - 4)


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_tokens_are_rows_without_padding():
    student = torch.arange(12.0).reshape(2, 3, 2)
    labels = torch.tensor([[IGNORED, 1, IGNORED], [0, IGNORED, IGNORED]])
    found = rows("tokens", student, -student, {"attention_mask": MASK, "labels": labels})
    assert found.student.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]  # [10, 11] is padding
    assert found.teacher.tolist() == (-found.student).tolist()
    assert found.labels.tolist() == [IGNORED, 1, IGNORED, 0, IGNORED]
    # Logits differ by 1: label 1 is the likelier one, label 0 the other.
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(1))) / 2
    assert hard_loss("tokens", found).item() == pytest.approx(expected)
    assert rows("tokens", student, student, {"attention_mask": MASK}).labels is None


# --- spans -----------------------------------------------------------------------------------------------------------


def test_starts_and_ends_are_rows_over_the_tokens():
    student = torch.tensor([[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]], [[7.0, 9.0], [8.0, 10.0], [99.0, 99.0]]])
    batch = {"attention_mask": MASK, "start_positions": torch.tensor([2, 0]), "end_positions": torch.tensor([1, -100])}
    found = rows("span", student, -student, batch)
    assert found.student.tolist() == [[1, 2, 3], [7, 8, IMPOSSIBLE], [4, 5, 6], [9, 10, IMPOSSIBLE]]
    assert found.teacher[1].tolist() == [-7, -8, IMPOSSIBLE]
    assert found.labels.tolist() == [2, 0, 1, -100]
    assert found.valid.tolist() == [[True] * 3, [True, True, False]] * 2
    expected = F.cross_entropy(torch.tensor([[1.0, 2, 3], [4, 5, 6]]), torch.tensor([2, 1]), reduction="sum")
    expected = expected + F.cross_entropy(torch.tensor([[7.0, 8]]), torch.tensor([0]))
    assert hard_loss("span", found).item() == pytest.approx(expected.item() / 3)


def test_spans_without_answers_known():
    batch = {
        "attention_mask": MASK,
        "start_positions": torch.tensor([-100] * 2),
        "end_positions": torch.tensor([-100] * 2),
    }
    assert hard_loss("span", rows("span", torch.ones(2, 3, 2), torch.ones(2, 3, 2), batch)) is None
    assert rows("span", torch.ones(2, 3, 2), torch.ones(2, 3, 2), {"attention_mask": MASK}).labels is None


@pytest.mark.parametrize("name", ["logit-mse", "soft-targets", "decoupled"])
def test_padding_in_a_span_contributes_nothing(name):
    """A batch with a padded text loses what its texts lose alone, and padding has no gradient."""
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(2, 3, 2, generator=generator) for _ in range(2))
    student.requires_grad_()

    def loss(some, width):
        mask = MASK[some, :width]
        found = rows("span", student[some, :width], teacher[some, :width], {"attention_mask": mask})
        return objectives.get(name).loss(found.student, found.teacher, temperature=2.0, valid=found.valid)

    whole = loss(slice(0, 2), 3)
    alone = [loss(slice(0, 1), 3).item(), loss(slice(1, 2), 2).item()]
    weights = (3, 2) if name == "logit-mse" else (1, 1)  # a mean over entries, or over rows
    expected = sum(w * one for w, one in zip(weights, alone, strict=True)) / sum(weights)
    assert whole.item() == pytest.approx(expected, rel=1e-5)
    whole.backward()
    assert student.grad[1, 2].tolist() == [0, 0]
    assert (student.grad[1, 1] != 0).all()


# --- vectors ---------------------------------------------------------------------------------------------------------


def test_vectors_stay_as_they_are_and_have_no_labels():
    found = rows("vector", torch.ones(2, 4), torch.zeros(2, 4), {"attention_mask": MASK})
    assert found.student.shape == found.teacher.shape == (2, 4)
    assert hard_loss("vector", found) is None


def test_what_says_nothing_of_a_score_is_constant_there():
    for name in predictions.NEED_SEVERAL:
        student = torch.tensor([[3.0], [7.0]], requires_grad=True)
        objectives.get(name).loss(student, torch.tensor([[1.0], [9.0]]), temperature=1.0).backward()
        assert student.grad.abs().max() < 1e-6
