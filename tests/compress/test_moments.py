"""Means and variances that are estimated without a text."""

import math

import pytest
import torch
from torch import nn

from lilliput import encoder
from lilliput.compress.moments import Moments, estimate

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")


def moments(mean, variance):
    return Moments(torch.tensor(mean, dtype=torch.float64), torch.tensor(variance, dtype=torch.float64))


def close(found, mean, variance):
    expected = moments(mean, variance)
    assert torch.allclose(found.mean, expected.mean, atol=1e-6)
    assert torch.allclose(found.variance, expected.variance, atol=1e-6)


def test_sums_and_linear_layers():
    close(moments([1.0], [2.0]) + moments([3.0], [0.5]), [4.0], [2.5])
    layer = nn.Linear(2, 1)
    layer.weight.data, layer.bias.data = torch.tensor([[2.0, -1.0]]), torch.tensor([0.5])
    close(moments([1.0, 3.0], [4.0, 9.0]).through(layer), [2.0 - 3.0 + 0.5], [4 * 4.0 + 9.0])


def test_normalisation():
    """Means 1 and 3, variances 2 and 4: the centre is 2, the mean square (1 + 2 + 9 + 4) / 2 = 8, s^2 = 8 - 4."""
    given = moments([1.0, 3.0], [2.0, 4.0])
    centre, scale = given.centre_and_scale()
    assert (centre.item(), scale.item()) == (2.0, 2.0)
    norm = nn.LayerNorm(2, eps=0.0)
    norm.weight.data, norm.bias.data = torch.tensor([1.0, 10.0]), torch.tensor([0.0, 7.0])
    close(given.normed(norm), [-0.5, 12.0], [0.5, 100.0])


def test_activations():
    """Of u normal with mean m and deviation s: u^2 has mean m^2 + s^2 and variance 4 m^2 s^2 + 2 s^4; GELU of a
    standard normal has the mean E[u Phi(u)] = 1 / (2 sqrt(pi)), by Stein's lemma."""
    close(moments([3.0, 0.5], [4.0, 0.0]).activated(torch.square), [13.0, 0.25], [4 * 9 * 4 + 2 * 16.0, 0.0])
    found = moments([0.0], [1.0]).activated(nn.functional.gelu)
    assert found.mean.item() == pytest.approx(1 / (2 * math.sqrt(math.pi)), abs=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_estimates_are_near_what_tokens_drawn_at_random_give(encoders, architecture):
    """Of one token, so that every head attends to one. Wide enough for sums of many variables to be near normal."""
    sizes = {"dim": 128, "n_heads": 4, "hidden_dim": 128}
    if architecture != "distilbert":
        sizes = {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 128}
    special = {"embedding_size": 64} if architecture == "electra" else {}
    model = encoders.classifier(architecture, layers=2, max_position_embeddings=3, **sizes, **special)
    for table in encoder.ends_of(model).tables[1:]:
        table.weight.zero_()  # one token has one position only
    found = estimate(model)
    read = {}
    for layer in found:
        layer.register_forward_hook(lambda layer, inputs, _: read.update({layer: inputs[0].flatten(0, -2)}))
    model(input_ids=torch.arange(512)[:, None])
    last = encoder.ends_of(model).features
    for layer, guess in found.items():
        if layer is last:
            continue  # RoBERTa and ELECTRA drop out and pick the first token before it
        values = read[layer].double()  # [512, n]
        assert values.shape[1] == len(guess.mean)
        explained = 1 - (values.mean(0) - guess.mean).square().mean() / values.mean(0).square().mean()
        assert explained > 0.8, layer
        assert values.var(0).mean().item() == pytest.approx(guess.variance.mean().item(), rel=0.3)


def test_everything_that_touches_the_stream_is_estimated(encoders):
    for architecture in ARCHITECTURES:
        model = encoders.classifier(architecture)
        ends, found = encoder.ends_of(model), estimate(model)
        inside = {layer for block in encoder.blocks_of(model) for layer in vars(block).values()}
        around = {ends.table_norm, ends.widening, ends.features} - {None}
        assert set(found) == inside | around
        assert all(one.mean.dtype == torch.float64 and bool((one.variance >= 0).all()) for one in found.values())
