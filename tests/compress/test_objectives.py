"""The losses against values worked out by hand, against numpy and scipy, and against numerical gradients."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from lilliput.compress import objectives
from lilliput.errors import ConfigError

NAMES = ("logit-mse", "soft-targets")


def tensors(*shape, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=shape), generator.normal(size=shape)


def test_the_objectives_there_are():
    assert objectives.names() == NAMES


def test_an_unknown_objective_is_refused_with_those_there_are():
    with pytest.raises(ConfigError) as caught:
        objectives.get("mse")
    assert str(caught.value) == "--objective mse: unknown; known are logit-mse, soft-targets"
    for name in ("", "logit_mse", "__init__", "../evil", "Logit-MSE"):
        with pytest.raises(ConfigError, match="unknown; known are logit-mse, soft-targets"):
            objectives.get(name)


def test_logit_mse_by_hand():
    loss = objectives.get("logit-mse")
    student, teacher = torch.tensor([[1.0, -1.0], [0.0, 3.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    # Squared differences 1, 4, 0, 4 of 4 entries.
    assert loss(student, teacher, 1.0).item() == 2.25
    assert loss(student, teacher, 5.0).item() == 2.25  # the temperature is not used


def test_soft_targets_by_hand():
    loss = objectives.get("soft-targets")
    # Teacher's probabilities 3/4 and 1/4, the student's 1/2 and 1/2:
    # KL = 3/4 log(3/4 / 1/2) + 1/4 log(1/4 / 1/2) = 3/4 log 3 - log 2.
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    expected = 0.75 * math.log(3) - math.log(2)
    assert loss(student, teacher, 1.0).item() == pytest.approx(expected, rel=1e-6)
    # Logits twice as large at temperature 2 are the same probabilities; the factor is 2^2.
    assert loss(2 * student, 2 * teacher, 2.0).item() == pytest.approx(4 * expected, rel=1e-6)
    # The mean over a batch whose second text matches is half.
    batch = torch.cat([student, teacher]), torch.cat([teacher, teacher])
    assert loss(*batch, 1.0).item() == pytest.approx(expected / 2, rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 2), (5, 3), (32, 7)])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_against_numpy_and_scipy(shape, temperature):
    student, teacher = tensors(*shape)
    given = torch.tensor(student), torch.tensor(teacher), temperature
    assert objectives.get("logit-mse")(*given).item() == pytest.approx(np.square(student - teacher).mean(), rel=1e-12)
    softened = (
        scipy.special.softmax(teacher / temperature, axis=1),
        scipy.special.softmax(student / temperature, axis=1),
    )
    divergence = scipy.stats.entropy(*softened, axis=1).mean() * temperature**2
    assert objectives.get("soft-targets")(*given).item() == pytest.approx(divergence, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_gradients_are_those_of_finite_differences(name, temperature):
    student, teacher = (torch.tensor(values) for values in tensors(4, 3))
    student.requires_grad_()
    loss = objectives.get(name)
    assert torch.autograd.gradcheck(lambda logits: loss(logits, teacher, temperature), (student,))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_student_that_equals_its_teacher_has_no_loss_and_no_gradient(name, temperature):
    teacher = torch.tensor(tensors(6, 3)[0], dtype=torch.float32)
    student = teacher.clone().requires_grad_()
    loss = objectives.get(name)(student, teacher, temperature)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.grad.abs().max().item() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_a_scalar_that_is_never_negative(name):
    for seed in range(20):
        student, teacher = (torch.tensor(values) for values in tensors(8, 3, seed=seed))
        value = objectives.get(name)(student, teacher, 2.0)
        assert value.shape == ()
        assert value.item() > 0


def test_at_high_temperature_soft_targets_become_the_squared_difference_of_the_logits():
    """For logits of zero mean, T^2 KL goes to 1 / (2 C) sum (z_s - z_t)^2, half the MSE (Hinton et al. 2015, 2.1)."""
    student, teacher = (torch.tensor(v - v.mean(axis=1, keepdims=True)) for v in tensors(16, 3))
    squared = objectives.get("logit-mse")(student, teacher, 1.0).item()
    distance = [abs(objectives.get("soft-targets")(student, teacher, t).item() - squared / 2) for t in (1.0, 10.0, 1e3)]
    assert distance[2] < 1e-3 * squared
    assert distance[2] < distance[1] < distance[0]


def test_soft_targets_do_not_see_a_constant_added_to_the_logits_of_a_text():
    student, teacher = (torch.tensor(values) for values in tensors(5, 3))
    loss = objectives.get("soft-targets")
    shift = torch.arange(5.0, dtype=torch.float64)[:, None]
    assert loss(student + shift, teacher - 2 * shift, 1.5).item() == pytest.approx(
        loss(student, teacher, 1.5).item(), rel=1e-12
    )


@pytest.mark.parametrize("name", NAMES)
def test_large_logits_stay_finite(name):
    student = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = objectives.get(name)(student, torch.tensor([[-1e4, 1e4]]), 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()
