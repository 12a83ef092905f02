"""R-Drop by hand."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from lilliput.tasks import IGNORED
from lilliput.train.losses import RDrop


def model_with(*passes):
    """A model whose first and second half of a doubled batch get these logits."""
    return lambda **batch: SimpleNamespace(logits=torch.cat([torch.tensor(one) for one in passes]))


def batch(labels):
    labels = torch.tensor(labels)
    return {"labels": labels, "input_ids": torch.zeros(len(labels), 2, dtype=torch.long)}


def test_two_passes_by_hand():
    # p = (3/4, 1/4), q = (1/2, 1/2), label 0.
    loss = RDrop(2.0)(model_with([[math.log(3), 0.0]], [[0.0, 0.0]]), batch([0]))
    hard = (math.log(4 / 3) + math.log(2)) / 2
    apart = 3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2) + 1 / 2 * math.log(2 / 3) + 1 / 2 * math.log(2)
    assert loss.item() == pytest.approx(hard + 2.0 / 2 * apart, abs=1e-6)


def test_equal_passes_leave_the_cross_entropy():
    logits = torch.randn(5, 3).tolist()
    labels = [0, 1, 2, 0, 1]
    expected = F.cross_entropy(torch.tensor(logits), torch.tensor(labels))
    assert RDrop(7.0)(model_with(logits, logits), batch(labels)).item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_symmetric_divergence_is_that_of_torch():
    one, two = torch.randn(4, 3), torch.randn(4, 3)
    p, q = one.log_softmax(-1), two.log_softmax(-1)
    both = sum(F.kl_div(a, b, log_target=True, reduction="batchmean") for a, b in ((p, q), (q, p)))
    labels = torch.tensor([0, 1, 2, 2])
    hard = (F.cross_entropy(one, labels) + F.cross_entropy(two, labels)) / 2
    found = RDrop(3.0)(model_with(one.tolist(), two.tolist()), batch(labels.tolist()))
    assert found.item() == pytest.approx((hard + 1.5 * both).item(), abs=1e-5)


def test_tokens_without_a_label_count_for_nothing():
    one, two = torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    labels = [[IGNORED, 2, IGNORED]]
    alone = RDrop(1.0)(model_with(one[:, 1].tolist(), two[:, 1].tolist()), batch([2]))
    assert RDrop(1.0)(model_with(one.tolist(), two.tolist()), batch(labels)).item() == pytest.approx(alone.item())
