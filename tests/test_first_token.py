"""The last block computed for the first token only gives the logits of the whole computation."""

import pytest
import torch

from lilliput import encoder
from lilliput.first_token import first_token_only

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")


def batch(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths)
    ids = torch.randint(5, 500, (len(lengths), width), generator=generator)
    mask = (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": torch.where(mask == 1, ids, 1), "attention_mask": mask}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_the_same(encoders, architecture, layers, attention):
    model = encoders.classifier(architecture, layers=layers)
    model.set_attn_implementation(attention)
    for inputs in (batch([7, 7]), batch([1]), batch([9, 2, 5])):
        expected = model(**inputs).logits
        with first_token_only(model):
            assert torch.allclose(model(**inputs).logits, expected, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_the_same(encoders, architecture):
    model, inputs = encoders.classifier(architecture), batch([9, 2, 5])

    def gradients():
        model.zero_grad()
        model(**inputs).logits.square().sum().backward()
        return [weights.grad.clone() for weights in model.parameters() if weights.grad is not None]

    expected = gradients()
    with first_token_only(model):
        for ours, theirs in zip(gradients(), expected, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_one_token_goes_through_the_last_feed_forward_network(encoders, architecture):
    model, seen = encoders.classifier(architecture), []
    for block in encoder.blocks_of(model):
        block.ffn_in.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    with first_token_only(model):
        model(**batch([6, 4]))
    assert seen == [6, 6, 1]
    seen.clear()
    model(**batch([6, 4]))
    assert seen == [6, 6, 6]  # and afterwards it is as it was


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_has_the_same_rates(encoders, architecture):
    """Of many passes the mean and the spread of the logits are those of the model's own block."""
    model, inputs = encoders.classifier(architecture, layers=1).train(), batch([4])
    many = {name: values.expand(4000, -1) for name, values in inputs.items()}
    torch.manual_seed(0)
    expected = model(**many).logits.detach()
    with first_token_only(model):
        found = model(**many).logits.detach()
    spread = expected.std(0)
    assert torch.all((found.mean(0) - expected.mean(0)).abs() < 0.1 * spread)
    assert torch.allclose(found.std(0), spread, rtol=0.08)
