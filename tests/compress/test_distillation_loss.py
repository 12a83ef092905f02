"""The sum that a step minimises, by hand: two objectives with weights and a temperature, mixed with the labels."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from lilliput.compress.distillation_loss import DistillationLoss
from lilliput.compress.stages import stages
from lilliput.config import DistillConfig

OURS = [[1.0, 0.0], [0.0, 2.0]]
THEIRS = [[2.0, 0.0], [0.0, 0.0]]
MSE = (1 + 0 + 0 + 4) / 4


class Says(nn.Module):
    """Answers any batch with the same logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))
        self.device = torch.device("cpu")

    def forward(self, **batch):
        return SequenceClassifierOutput(logits=self.logits)


def teacher(logits):
    return SimpleNamespace(model=Says(logits), tokenizer=SimpleNamespace(model_input_names=["input_ids"]))


def loss_of(tmp_path, teachers=(), weights=(), **settings):
    (stage,) = stages(DistillConfig(teacher="t", out=tmp_path, **settings))
    return DistillationLoss(stage, "classes", Says(OURS), teachers, weights)


def batch(**more):
    ids = torch.ones(2, 3, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": ids.clone(), **more}


def kl(p, q):
    """Of two pairs of logits."""
    p, q = (1 / (1 + math.exp(b - a)) for a, b in (p, q))
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


SOFT = 4 * (kl((1, 0), (0.5, 0)) + kl((0, 0), (0, 1))) / 2
"""With T = 2."""
HARD = math.log(1 + math.exp(-1))
"""Of the first text, whose label is 0; the second one has none."""


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_objectives_and_labels_are_weighted(tmp_path, weight):
    objective = ("logit-mse=0.5", "soft-targets=3")
    loss = loss_of(tmp_path, objective=objective, temperature=2.0, hard_label_weight=weight)
    labels = torch.tensor([0, -100])
    found = loss(Says(OURS), batch(labels=labels, teacher=torch.tensor(THEIRS)))
    assert found.item() == pytest.approx((1 - weight) * (0.5 * MSE + 3 * SOFT) + weight * HARD, rel=1e-5)


def test_a_batch_without_labels_has_the_objectives_alone(tmp_path):
    loss = loss_of(tmp_path, hard_label_weight=0.25)
    unlabelled = batch(labels=torch.tensor([-100, -100]), teacher=torch.tensor(THEIRS))
    assert loss(Says(OURS), unlabelled).item() == pytest.approx(MSE)


def test_teachers_that_are_asked_now_count_by_their_weights(tmp_path):
    """A quarter of (6, 0), (0, 0) and three quarters of (2/3, 0), (0, 0) are (2, 0), (0, 0)."""
    several = [teacher([[6.0, 0.0], [0.0, 0.0]]), teacher([[2 / 3, 0.0], [0.0, 0.0]])]
    loss = loss_of(tmp_path, several, (0.25, 0.75))
    assert loss(Says(OURS), batch()).item() == pytest.approx(MSE)


def test_the_student_alone_has_a_gradient(tmp_path):
    one, student = teacher(THEIRS), Says(OURS)
    loss_of(tmp_path, [one], (1.0,))(student, batch()).backward()
    assert torch.allclose(student.logits.grad, 2 * (torch.tensor(OURS) - torch.tensor(THEIRS)) / 4)
    assert one.model.logits.grad is None
