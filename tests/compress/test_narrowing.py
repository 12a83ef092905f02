"""Cutting encoders down: exact where what is cut off says nothing, the nearest otherwise."""

import pytest
import torch
from torch import nn

from lilliput import encoder
from lilliput.compress import narrowing
from lilliput.compress.moments import Moments
from lilliput.types import EncoderShape

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
INERT = torch.arange(32) % 2 == 1
IDS = torch.tensor([[2, 7, 30, 31, 32, 33, 34, 35, 3], [2, 40, 41, 42, 43, 3, 1, 1, 1]])
BATCH = {"input_ids": IDS, "attention_mask": (torch.arange(9) < torch.tensor([[9], [6]])).long()}


@pytest.fixture(params=ARCHITECTURES)
def teacher(request, encoders):
    """A random classifier of width 32 with 4 heads of 8, all of its biases random too."""
    sizes = {"dim": 32, "n_heads": 4, "hidden_dim": 48}
    if request.param != "distilbert":
        sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
    model = encoders.classifier(request.param, layers=2, **sizes)
    generator = torch.Generator().manual_seed(5)
    for name, weights in model.named_parameters():
        if name.endswith("bias"):
            weights.data = 0.3 * torch.randn(weights.shape, generator=generator)
    return model


def logits(model):
    with torch.no_grad():
        return model(**BATCH).logits


def centred(weights):
    """What is written to the stream: nothing to the inert dimensions, and to the others with mean 0."""
    weights = weights.masked_fill(INERT if weights.dim() == 1 else INERT[:, None], 0)
    return weights - weights.mean(0) * 2 * (~INERT if weights.dim() == 1 else ~INERT[:, None])


@torch.no_grad()
def make_inert(model):
    """Every second dimension of the stream is 0 throughout, and so are the weights of half of the head's features.

    LayerNorm over the 16 others equals LayerNorm over all 32 but for a factor, if their mean is 0 in each token.
    """
    ends, blocks = encoder.ends_of(model), encoder.blocks_of(model)
    norms = [norm for block in blocks for norm in (block.attention_norm, block.ffn_norm)]
    writers = [layer for block in blocks for layer in (block.output, block.ffn_out)]
    if ends.widening is None:
        norms.append(ends.table_norm)
        for table in ends.tables:
            table.weight.data = centred(table.weight.T).T
    else:
        writers.append(ends.widening)
    for gain, norm in enumerate(norms, start=1):
        norm.weight.data = torch.where(INERT, 0.0, 1 + gain / 10)
        norm.bias.data = centred(norm.bias)
    for layer in writers:
        layer.weight.data, layer.bias.data = centred(layer.weight), centred(layer.bias)
    ends.last.weight[:, :16] = 0


def narrowed(model, **changes):
    shape = {"layers": 2, "hidden": 32, "heads": 4, "ffn": 48, "vocabulary": 512} | changes
    return narrowing.narrow(model, EncoderShape(**shape)).eval()


@torch.no_grad()
def test_dimensions_and_heads_that_say_nothing_are_dropped_without_a_trace(teacher):
    make_inert(teacher)
    for block in encoder.blocks_of(teacher):
        block.output.weight[:, 8:24] = 0  # the second and third head
    before = logits(teacher)
    importance = narrowing.stream_importance(teacher)
    assert importance[INERT].eq(0).all()
    assert importance[~INERT].gt(0).all()
    student = narrowed(teacher, hidden=16, heads=2)
    assert encoder.shape_of(student) == EncoderShape(2, 16, 2, 48, 512)
    assert torch.allclose(logits(student), before, atol=1e-5)
    assert (before[0] - before[1]).abs().max() > 0.01


@torch.no_grad()
def test_heads_of_low_rank_are_made_smaller_without_a_trace(teacher):
    """Queries and values of 8 dimensions that lie in 4: with their biases, and with keys and outputs of any kind."""
    make_inert(teacher)
    generator = torch.Generator().manual_seed(9)
    for block in encoder.blocks_of(teacher):
        for layer in (block.query, block.value):
            directions = torch.randn(4, 8, 4, generator=generator)
            layer.weight.data = (directions @ torch.randn(4, 4, 32, generator=generator)).flatten(0, 1) / 4
            layer.bias.data = (directions @ torch.randn(4, 4, 1, generator=generator)).flatten() / 4
    before = logits(teacher)
    student = narrowed(teacher, hidden=16, heads=4)
    assert torch.allclose(logits(student), before, atol=1e-5)
    smaller = narrowed(student, hidden=12, heads=4)
    assert not torch.allclose(logits(smaller), before, atol=1e-3)  # 3 are too few


@torch.no_grad()
def test_neurons_that_say_nothing_are_dropped_without_a_trace(teacher):
    """12 that nobody reads, and 12 that are the same for every token: their part goes to the bias."""
    for block in encoder.blocks_of(teacher):
        block.ffn_out.weight[:, 5:17] = 0
        block.ffn_in.weight[30:42] = 0
    before = logits(teacher)
    student = narrowed(teacher, ffn=24)
    for block in encoder.blocks_of(student):
        assert block.ffn_in.weight.shape == (24, 32)
    assert torch.allclose(logits(student), before, atol=1e-5)
    assert not torch.allclose(logits(narrowed(student, ffn=23)), before, atol=1e-5)


@torch.no_grad()
def test_the_same_shape_changes_nothing(teacher):
    before = logits(teacher)
    assert torch.equal(logits(narrowed(teacher)), before)


def test_each_matrix_that_reads_the_stream_counts_the_same(teacher):
    readers = 2 * 4 + 1  # query, key, value and feed-forward of two blocks; and the head
    assert narrowing.stream_importance(teacher).sum().item() == pytest.approx(readers)
    before = narrowing.stream_importance(teacher)
    for block in encoder.blocks_of(teacher):
        for layer in (block.query, block.key, block.value, block.ffn_in):
            layer.weight.data *= 3
    assert torch.allclose(narrowing.stream_importance(teacher)[:4] > 0, before[:4] > 0)
    encoder.blocks_of(teacher)[0].attention_norm.weight.data[3] *= 2
    assert narrowing.stream_importance(teacher)[3] > before[3]


def test_a_head_counts_by_its_circuits():
    generator = torch.Generator().manual_seed(0)
    queries, keys, values, outputs = (torch.randn(3, 4, n, generator=generator).double() for n in (7, 6, 6, 6))
    queries[1] = 0  # attends to all tokens alike
    values[2] = 0
    found = narrowing.head_importance(queries, keys, values, outputs)
    for head in range(3):
        logit = torch.linalg.matrix_norm(queries[head].T @ keys[head]).square() / 4
        expected = torch.linalg.matrix_norm(outputs[head].T @ values[head]).square() * (1 + logit)
        assert found[head].item() == pytest.approx(expected.item())
    assert found[1] > 0
    assert found[2] == 0


@pytest.mark.parametrize("size", [1, 3, 5])
def test_factors_give_the_nearest_product_of_their_rank(size):
    """The squares of the singular values that are left out are the squared error (Eckart & Young)."""
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randn(2, 5, n, generator=generator).double() for n in (9, 8))
    a, b = narrowing.factor(left, right, size)
    assert a.shape == b.shape == (2, size, 5)
    error = left.mT @ right - (a @ left).mT @ (b @ right)
    left_out = torch.linalg.svdvals(left.mT @ right)[:, size:]
    assert torch.allclose(error.square().sum((1, 2)), left_out.square().sum(1))
    # Both sides carry the roots of the singular values.
    assert torch.allclose((a @ left).square().sum(2), (b @ right).square().sum(2))


def test_factors_of_nothing_are_nothing():
    left = torch.zeros(1, 4, 6, dtype=torch.float64)
    a, b = narrowing.factor(left, torch.ones_like(left), 2)
    assert torch.equal(a, torch.zeros(1, 2, 4, dtype=torch.float64))
    assert torch.equal(b, a)


def test_constants_that_are_cut_off_go_to_gains_and_biases():
    """Of 6 dimensions two are the constant 3 and four are +1 or -1, two of each in every token."""
    kept = torch.tensor([0, 1, 2, 3])
    signs = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1], [-1, 1, 1, -1]])
    values = torch.cat([signs, torch.full((3, 2), 3.0)], dim=1)
    moments = Moments(torch.tensor([0.0, 0, 0, 0, 3, 3]).double(), torch.tensor([1.0, 1, 1, 1, 0, 0]).double())
    norm, layer = nn.LayerNorm(6), nn.Linear(6, 2)
    norm.weight.data, norm.bias.data = torch.rand(6) + 0.5, torch.randn(6)
    with torch.no_grad():
        whole, read = norm(values), layer(values)
        narrowing.keep_normed(norm, kept, moments)
        narrowing.keep_inputs(layer, kept, moments.mean)
        assert norm.normalized_shape == (4,)
        assert (layer.in_features, layer.out_features) == (4, 2)
        assert torch.allclose(norm(values[:, kept]), whole[:, kept], atol=1e-4)
        assert torch.allclose(layer(values[:, kept]), read, atol=1e-6)


@torch.no_grad()
def test_a_word_head_stays_tied_to_the_tokens(encoders):
    from transformers import AutoModelForMaskedLM

    for architecture in ARCHITECTURES:
        model = AutoModelForMaskedLM.from_config(encoders.config(architecture, labels=None))
        bias = encoder.ends_of(model).last.bias
        bias.uniform_()
        before = bias.clone()
        student = narrowed(model, layers=3, hidden=12, heads=2, ffn=20)
        last = encoder.ends_of(student).last
        assert last.weight is encoder.word_embeddings_of(student).weight
        assert torch.equal(last.bias, before)
        # The features that are compared with the tokens lie in the dimensions that the tokens kept.
        assert encoder.ends_of(student).features.weight.shape == (8 if architecture == "electra" else 12, 12)


def test_the_plan_says_which_parts_are_kept(encoders):
    """Rows of the narrow model's matrices are rows of the wide one's, those that the plan names."""
    shape = EncoderShape(layers=2, hidden=16, heads=2, ffn=20, vocabulary=512)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        wide = encoders.classifier("bert", hidden_size=32, num_attention_heads=4, intermediate_size=48, layers=2)
    plan = narrowing.plan(encoder.keep_layers(wide, range(2)), shape)
    small = narrowing.narrow(encoder.keep_layers(wide, range(2)), shape)
    assert [len(plan.dimensions), *map(len, plan.heads), *map(len, plan.neurons)] == [16, 2, 2, 20, 20]
    dimensions = list(plan.dimensions)
    for number, (old, new) in enumerate(zip(encoder.blocks_of(wide), encoder.blocks_of(small), strict=True)):
        rows = [8 * head + i for head in plan.heads[number] for i in range(8)]
        assert torch.allclose(new.value.weight, old.value.weight[rows][:, dimensions])
        assert torch.allclose(new.ffn_in.weight, old.ffn_in.weight[list(plan.neurons[number])][:, dimensions])
