"""Which of the teacher's blocks the student's blocks learn from."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st

from lilliput.compress.mapping import LearnedMapping, evenly_spaced, layer_mapping
from lilliput.errors import ConfigError


@pytest.mark.parametrize(
    ("student", "teacher", "layers"),
    [
        (1, 1, (0,)),
        (1, 6, (3,)),
        (2, 6, (1, 4)),
        (3, 6, (1, 3, 5)),
        (2, 12, (3, 9)),
        (3, 12, (2, 6, 10)),
        (4, 12, (1, 4, 7, 10)),
        (6, 6, (0, 1, 2, 3, 4, 5)),
        (5, 6, (0, 1, 3, 4, 5)),
    ],
)
def test_evenly_spaced(student, teacher, layers):
    assert evenly_spaced(student, teacher) == layers
    assert layer_mapping("uniform", student, teacher) == layers
    assert layer_mapping("learned", student, teacher) == layers


@pytest.mark.parametrize(
    ("spec", "student", "teacher", "layers"),
    [
        ("skip", 1, 1, (0,)),
        ("skip", 2, 6, (2, 5)),
        ("skip", 3, 6, (1, 3, 5)),
        ("skip", 4, 12, (2, 5, 8, 11)),  # TinyBERT: g(m) = 3m, counted from 1
        ("skip", 6, 12, (1, 3, 5, 7, 9, 11)),
        ("skip", 4, 6, (1, 2, 4, 5)),
        ("last", 2, 6, (4, 5)),
        ("last", 6, 12, (6, 7, 8, 9, 10, 11)),
        ("last", 6, 6, (0, 1, 2, 3, 4, 5)),
        ("1,4", 2, 6, (1, 4)),
        ("4, 1", 2, 6, (4, 1)),
        ("0,0,5", 3, 6, (0, 0, 5)),
        ("3", 1, 6, (3,)),
    ],
)
def test_mappings(spec, student, teacher, layers):
    assert layer_mapping(spec, student, teacher) == layers


@given(student=st.integers(1, 24), more=st.integers(0, 24))
def test_named_mappings_rise_and_exist(student, more):
    teacher = student + more
    for spec in ("uniform", "skip", "last"):
        layers = layer_mapping(spec, student, teacher)
        assert len(set(layers)) == student
        assert list(layers) == sorted(layers)
        assert 0 <= layers[0] <= layers[-1] < teacher
        assert spec == "uniform" or layers[-1] == teacher - 1


def test_a_student_with_more_layers_than_its_teacher():
    assert layer_mapping("uniform", 4, 2) == (0, 0, 1, 1)
    assert layer_mapping("skip", 4, 2) == (0, 0, 1, 1)
    with pytest.raises(ConfigError) as caught:
        layer_mapping("last", 4, 2)
    assert str(caught.value) == "--mapping last: the student has 4 layers, the teacher 2"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("1", "must name 2 layers, one for each of the student's"),
        ("1,2,3", "must name 2 layers, one for each of the student's"),
        ("1,6", "the teacher's layers are numbered 0 to 5"),
    ],
)
def test_numbers_that_do_not_fit(spec, message):
    with pytest.raises(ConfigError) as caught:
        layer_mapping(spec, 2, 6)
    assert str(caught.value) == f"--mapping {spec}: {message}"


@pytest.mark.parametrize("spec", ["", "middle", "Uniform", "1,", "-1,2", "1;2", "1.5,2", "²,1"])
def test_unknown_mappings(spec):
    with pytest.raises(ConfigError) as caught:
        layer_mapping(spec, 2, 6)
    assert str(caught.value) == (
        f"--mapping {spec}: unknown; known are uniform, skip, last, learned, "
        "or numbers of the teacher's layers, as in 1,4"
    )


# Learned


def numpy_weights(losses, places, tau):
    rows = []
    for row, place in zip(losses, places, strict=True):
        raw = [math.exp(-abs(j - place) - loss / (tau * np.mean(row))) for j, loss in enumerate(row)]
        rows.append([value / sum(raw) for value in raw])
    return np.array(rows)


def test_a_learned_mapping_begins_near_the_uniform_one():
    mapping = LearnedMapping(2, 6)
    weights = mapping.weights()
    assert weights.argmax(dim=1).tolist() == [1, 4]
    # Block 1 is the nearest: distances 1, 0, 1, 2, 3, 4.
    total = 1 + 2 * math.exp(-1) + math.exp(-2) + math.exp(-3) + math.exp(-4)
    assert weights[0, 1].item() == pytest.approx(1 / total, rel=1e-6)
    assert weights[0, 3].item() == pytest.approx(math.exp(-2) / total, rel=1e-6)
    assert torch.allclose(weights.sum(dim=1), torch.ones(2))
    assert list(mapping.parameters()) == []


def test_the_loss_is_the_weighted_mean_and_the_weights_follow_the_losses():
    losses = np.random.default_rng(0).uniform(0.1, 2, size=(3, 6))
    mapping = LearnedMapping(3, 6, relative_temperature=0.7)
    given_losses = torch.tensor(losses, dtype=torch.float32, requires_grad=True)
    loss = mapping(given_losses)
    weights = numpy_weights(losses, (1, 3, 5), 0.7)
    assert mapping.weights().numpy() == pytest.approx(weights, rel=1e-5)
    assert loss.item() == pytest.approx((weights * losses).sum(axis=1).mean(), rel=1e-5)
    loss.backward()
    assert given_losses.grad.numpy() == pytest.approx(weights / 3, rel=1e-5)  # nothing flows through the weights


def test_the_weights_solve_the_regularised_problem():
    losses = np.array([[0.2, 1.0, 0.5, 2.0]])
    mapping, tau = LearnedMapping(1, 4), 0.5
    mapping(torch.tensor(losses, dtype=torch.float32))
    prior = np.exp([-2.0, -1.0, 0.0, -1.0])
    prior /= prior.sum()

    def cost(free):
        weights = np.exp(free) / np.exp(free).sum()
        return weights @ (losses[0] / losses.mean()) + tau * (weights * np.log(weights / prior)).sum()

    best = scipy.optimize.minimize(cost, np.zeros(4), tol=1e-12).x
    assert mapping.weights()[0].numpy() == pytest.approx(np.exp(best) / np.exp(best).sum(), abs=1e-4)


def test_an_easy_block_draws_its_neighbours_and_not_the_whole_student():
    mapping = LearnedMapping(3, 12)
    losses = torch.ones(3, 12)
    losses[:, 3] = 0.2
    mapping(losses)
    assert mapping.weights().argmax(dim=1).tolist() == [3, 6, 10]  # the first was at 2
    assert mapping.weights()[2, 3].item() < 0.01


def test_the_weights_do_not_depend_on_the_scale_of_the_losses():
    losses = torch.rand(2, 6, generator=torch.Generator().manual_seed(0))
    first, second = LearnedMapping(2, 6), LearnedMapping(2, 6)
    assert second(1000 * losses).item() == pytest.approx(1000 * first(losses).item(), rel=1e-5)
    assert torch.allclose(first.weights(), second.weights(), rtol=1e-4)


def test_the_losses_are_averaged_over_batches_in_training_only():
    mapping = LearnedMapping(1, 2)
    for losses in ([[1.0, 2.0]], [[3.0, 0.0]], [[2.0, 4.0]]):
        mapping(torch.tensor(losses))
    assert mapping.mean_losses.tolist()[0] == pytest.approx([2.0, 2.0])
    mapping.eval()
    mapping(torch.tensor([[100.0, 0.0]]))
    assert mapping.mean_losses.tolist()[0] == pytest.approx([2.0, 2.0])
    mapping.train()
    for _ in range(100):
        mapping(torch.tensor([[2.0, 2.0]]))
    mapping(torch.tensor([[12.0, 2.0]]))
    assert mapping.mean_losses.tolist()[0] == pytest.approx([2.1, 2.0])  # by then a hundredth of the difference


def test_a_batch_that_is_not_finite_leaves_no_trace():
    mapping = LearnedMapping(1, 2)
    for losses in ([[math.inf, 1.0]], [[1.0, 3.0]], [[math.nan, 1.0]]):
        value = mapping(torch.tensor(losses))
    assert not torch.isfinite(value)
    assert mapping.mean_losses.tolist() == [[1.0, 3.0]]
    assert mapping.batches.item() == 1


def test_no_loss_at_all_is_no_loss():
    mapping = LearnedMapping(2, 3)
    before = mapping.weights()
    assert mapping(torch.zeros(2, 3)).item() == 0
    assert torch.equal(mapping.weights(), before)


def test_a_saved_mapping_goes_on_where_it_was():
    losses = torch.rand(4, 2, 6, generator=torch.Generator().manual_seed(1))
    whole, first = LearnedMapping(2, 6), LearnedMapping(2, 6)
    for batch in losses:
        whole(batch)
    for batch in losses[:2]:
        first(batch)
    second = LearnedMapping(2, 6)
    second.load_state_dict(first.state_dict())
    for batch in losses[2:]:
        second(batch)
    assert torch.equal(second.weights(), whole.weights())
