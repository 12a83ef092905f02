"""Losses against PyTorch's and scikit-learn's, and by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from transformers.modeling_outputs import SequenceClassifierOutput

from lilliput import tasks
from lilliput.errors import ConfigError
from lilliput.tasks import IGNORED
from lilliput.train import losses
from lilliput.train.data import Split
from lilliput.train.loop import label_loss
from lilliput.train.losses import RDrop, WeightedCrossEntropy, balanced


class Says(torch.nn.Module):
    """A model that always gives these logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, **batch):
        return SequenceClassifierOutput(logits=self.logits)


def test_weights_are_scikit_learn_s_and_by_hand():
    """Of 4 rows 3 have label 0: weights 4 / (2 * 3) and 4 / (2 * 1)."""
    assert balanced([0, 0, 1, 0], 2) == (4 / 6, 2.0)
    labels = np.random.default_rng(0).integers(0, 5, 100)
    assert balanced(labels.tolist(), 5) == pytest.approx(
        compute_class_weight("balanced", classes=np.arange(5), y=labels)
    )


def test_ignored_labels_do_not_count_and_missing_ones_weigh_1():
    assert balanced([0, IGNORED, 0, 1, IGNORED], 3) == (3 / 6, 1.0, 1.0)


def test_weighted_cross_entropy_by_hand():
    """softmax([0, ln 3]) = (1/4, 3/4): losses ln 4 with weight 3 and ln 4/3 with weight 1, over their sum 4."""
    model = Says([[0.0, math.log(3)], [0.0, math.log(3)]])
    loss = WeightedCrossEntropy((3.0, 1.0))(model, {"labels": torch.tensor([0, 1])})
    assert loss.item() == pytest.approx((3 * math.log(4) + math.log(4 / 3)) / 4)
    loss.backward()
    assert torch.isfinite(model.logits.grad).all()


def test_weighted_cross_entropy_of_tokens_leaves_out_the_ignored():
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[IGNORED, 1, 3], [0, IGNORED, IGNORED]])
    weights = (0.5, 1.0, 2.0, 4.0)
    found = WeightedCrossEntropy(weights)(Says(logits.tolist()), {"labels": labels})
    terms = [(1, logits[0, 1]), (3, logits[0, 2]), (0, logits[1, 0])]
    expected = sum(-weights[label] * z.log_softmax(-1)[label] for label, z in terms) / sum(weights[i] for i, _ in terms)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_equal_weights_give_plain_cross_entropy():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 1, 1])
    found = WeightedCrossEntropy((2.0, 2.0, 2.0))(Says(logits.tolist()), {"labels": labels})
    assert found.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())


# --- which loss a task has -------------------------------------------------------------------------------------------


def test_the_head_s_own_loss_is_taken_unless_weights_are_asked_for():
    task, train = tasks.get("classification"), Split(["a", "b", "c", "d"], [0, 0, 0, 1])
    assert losses.of(task, train, ("no", "yes"), "none") is label_loss
    assert losses.of(task, train, ("no", "yes"), "balanced") == WeightedCrossEntropy((4 / 6, 2.0))
    assert losses.of(task, train, ("no", "yes"), "none", 2.0) == RDrop(2.0)
    assert losses.of(task, train, ("no", "yes"), "balanced", 2.0) == RDrop(2.0, (4 / 6, 2.0))


@pytest.mark.parametrize(("task", "target"), [("multi-label", [1.0, 0.0]), ("regression", 0.5)])
def test_weights_are_refused_where_a_label_is_not_one_out_of_several(task, target):
    train = Split(["a", "b"], [target, target])
    message = f"--class-weights balanced: works where a label is one out of several, which {task} is not"
    with pytest.raises(ConfigError, match=message):
        losses.of(tasks.get(task), train, ("a", "b"), "balanced")
    with pytest.raises(ConfigError, match=r"--consistency 1.0: works where"):
        losses.of(tasks.get(task), train, ("a", "b"), "none", 1.0)
