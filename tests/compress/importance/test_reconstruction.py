"""The optimal brain surgeon, against least squares solved afresh for each set that is removed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput import encoder
from lilliput.compress.evidence import Evidence
from lilliput.compress.importance import reconstruction
from lilliput.compress.importance.reconstruction import DAMPING, rank_heads, rank_neurons


def problem(count, outputs, rank, seed):
    """Weights ``[outputs, count]``, a Gram matrix of what they read, and a Fisher matrix of that rank."""
    generator = torch.Generator().manual_seed(seed)
    weight, read, felt = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((outputs, count), (3 * count, count), (rank, outputs))
    )
    gram = read.T @ read / len(read) + 0.1 * torch.ones(count, count)
    return weight, gram, felt.T @ felt


def least_loss(weight, gram, fisher, gone):
    """``1/2 tr(F dW G dW^T)`` of ``W' = W G_:K (G_KK)^-1``, which is 0 outside K."""
    kept = [i for i in range(weight.shape[1]) if i not in gone]
    change = weight.clone()
    if kept:
        change[:, kept] -= weight @ gram[:, kept] @ torch.linalg.inv(gram[kept][:, kept])
    return float((fisher @ change @ gram @ change.T).trace() / 2)


def greedy_by_hand(weight, gram, fisher, groups):
    order, losses = [], [0.0]
    while len(order) < len(groups):
        gone = [i for group in order for i in groups[group]]
        options = {
            group: least_loss(weight, gram, fisher, [*gone, *groups[group]])
            for group in range(len(groups))
            if group not in order
        }
        order.append(min(options, key=options.get))
        losses.append(options[order[-1]])
    return order, losses


def factor(fisher, weight):
    values, vectors = torch.linalg.eigh(fisher)
    return (vectors * values.clamp_min(0).sqrt()).T @ weight


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_neurons_go_as_least_squares_says(count, outputs, rank, seed, block):
    weight, gram, fisher = problem(count, outputs, rank, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconstruction, "BLOCK", block)
        found = rank_neurons(factor(fisher, weight), torch.linalg.inv(gram))
    order, losses = greedy_by_hand(weight, gram, fisher, [[i] for i in range(count)])
    assert list(found.order) == order
    assert list(found.loss) == pytest.approx(losses, rel=1e-6, abs=1e-9)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_heads_go_as_least_squares_says(heads, size, outputs, seed):
    weight, gram, fisher = problem(heads * size, outputs, outputs, seed)
    found = rank_heads(factor(fisher, weight), torch.linalg.inv(gram), heads)
    groups = [list(range(head * size, (head + 1) * size)) for head in range(heads)]
    order, losses = greedy_by_hand(weight, gram, fisher, groups)
    assert list(found.order) == order
    assert list(found.loss) == pytest.approx(losses, rel=1e-6, abs=1e-9)


def test_a_copy_goes_for_nothing_and_then_its_twin_matters():
    """Neuron 2 is neuron 0 once more, but for noise; neuron 1 is small."""
    generator = torch.Generator().manual_seed(0)
    read = torch.randn(500, 3, generator=generator, dtype=torch.float64)
    read[:, 2] = read[:, 0] + 1e-4 * read[:, 2]
    gram, weight = read.T @ read / 500, torch.tensor([[3.0, 0.1, 3.0]], dtype=torch.float64)
    found = rank_neurons(weight, torch.linalg.inv(gram))
    assert found.order[0] in (0, 2)
    assert found.order[1] == 1
    assert found.loss[1] < 1e-6
    assert found.loss[3] == pytest.approx(float(weight @ gram @ weight.T / 2), rel=1e-6)


def batches():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 300, (16, 9), generator=generator)
    return [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}]


def test_a_model_is_ranked_by_its_moments(encoders):
    evidence = Evidence(encoders.classifier("bert", layers=2), "classes", batches())
    found = reconstruction.rank(evidence)
    for number, block in enumerate(encoder.blocks_of(evidence.model)):
        for layer, moments, ranking, size in (
            (block.output, evidence.attention[number], found.heads[number], 8),
            (block.ffn_out, evidence.ffn[number], found.neurons[number], 1),
        ):
            gram = moments.covariance.double()
            gram = gram + DAMPING * gram.diagonal().mean() * torch.eye(len(gram))
            for count in (1, len(ranking.order) // 2, len(ranking.order)):
                gone = [i for s in ranking.order[:count] for i in range(s * size, (s + 1) * size)]
                expected = least_loss(layer.weight.detach().double(), gram, moments.output_fisher.double(), gone)
                assert ranking.loss[count] == pytest.approx(expected, rel=1e-4)


def test_what_is_never_felt_costs_nothing():
    """A model that is sure of everything, and layers that read only zeros."""
    found = rank_neurons(torch.zeros(0, 3, dtype=torch.float64), torch.eye(3, dtype=torch.float64))
    assert found.loss == (0, 0, 0, 0)
    assert sorted(found.order) == [0, 1, 2]


def test_a_model_that_feels_nothing_is_ranked(encoders):
    model = encoders.classifier("bert", layers=2)
    with torch.no_grad():
        model.classifier.weight.zero_()
    found = reconstruction.rank(Evidence(model, "classes", batches()))
    assert all(set(ranking.loss) == {0} for ranking in (*found.heads, *found.neurons, found.dimensions))
