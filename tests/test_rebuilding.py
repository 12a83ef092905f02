"""Models whose parts were cut, in fresh ones that plain transformers can load."""

import pytest
import torch

from lilliput import encoder, rebuilding
from lilliput.types import BlockShape, EncoderShape

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")


@pytest.fixture(params=ARCHITECTURES)
def model(request, encoders):
    return encoders.classifier(request.param, layers=3)


def inputs():
    """Two texts of 9 and 6 tokens; the second is padded with 1, RoBERTa's padding."""
    ids = torch.tensor([[2, 7, 30, 31, 32, 33, 34, 35, 3], [2, 40, 41, 42, 43, 3, 1, 1, 1]])
    return {"input_ids": ids, "attention_mask": (torch.arange(9) < torch.tensor([[9], [6]])).long()}


@torch.no_grad()
def test_a_rebuilt_model_has_the_weights_that_were_cut(model):
    """Half of the feed-forward neurons are cut off by hand, and the configuration knows nothing of it."""
    for block in encoder.blocks_of(model):
        block.ffn_out.weight[:, 12:] = 0
    expected = model(**inputs()).logits
    for block in encoder.blocks_of(model):
        block.ffn_in.weight, block.ffn_in.bias, block.ffn_out.weight = (
            torch.nn.Parameter(weights.clone())
            for weights in (block.ffn_in.weight[:12], block.ffn_in.bias[:12], block.ffn_out.weight[:, :12])
        )
    shape = EncoderShape(layers=3, hidden=16, heads=2, ffn=12, vocabulary=512)
    state = torch.random.get_rng_state()
    rebuilt = rebuilding.rebuild(model, shape)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert encoder.shape_of(rebuilt) == shape
    assert encoder.shape_of(model).ffn == 24
    assert not rebuilt.training
    assert torch.allclose(rebuilt(**inputs()).logits, expected, atol=1e-6)


@torch.no_grad()
def test_blocks_of_unequal_shapes_have_the_weights_that_were_cut(model):
    """Of block 1 all feed-forward neurons are cut off by hand; then the model is made plain again."""
    shapes = [BlockShape(2, 24), BlockShape(2, 0), BlockShape(2, 24)]
    block = encoder.blocks_of(model)[1]
    block.ffn_out.weight[:] = 0
    expected = model(**inputs()).logits
    full = {name: getattr(block, name).weight.clone() for name in ("ffn_in", "ffn_out")}
    for name, weight in (("ffn_in", full["ffn_in"][:0]), ("ffn_out", full["ffn_out"][:, :0])):
        getattr(block, name).weight = torch.nn.Parameter(weight)
    block.ffn_in.bias = torch.nn.Parameter(block.ffn_in.bias[:0])
    rebuilt = rebuilding.rebuild_blocks(model, 16, shapes)
    assert encoder.block_shapes_of(rebuilt) == tuple(shapes)
    assert type(rebuilt).__name__ == f"Lilliput{type(model).__name__}"
    assert torch.allclose(rebuilt(**inputs()).logits, expected, atol=1e-6)
    block = encoder.blocks_of(rebuilt)[1]
    block.ffn_in.weight, block.ffn_out.weight = (torch.nn.Parameter(full[name]) for name in ("ffn_in", "ffn_out"))
    block.ffn_in.bias = torch.nn.Parameter(torch.zeros(24))
    plain = rebuilding.rebuild(rebuilt, EncoderShape(3, 16, 2, 24, 512))
    assert type(plain) is type(model)
    assert torch.allclose(plain(**inputs()).logits, expected, atol=1e-6)
