"""Pruned encoders corrected by least squares, against solutions by NumPy and functions that are known."""

import copy

import numpy as np
import pytest
import torch
import transformers

from lilliput import encoder
from lilliput.compress.least_squares import RIDGES, HeldOutSums, Sums
from lilliput.compress.reconstruct import reconstruct
from lilliput.compress.surgery import prune
from lilliput.types import PrunePlan

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
TINY_RIDGE = (1e-9,)


def build(encoders, architecture, head="AutoModelForSequenceClassification", layers=3, seed=0):
    """A random model of blocks of 2 heads and 24 neurons; no weight is zero or one."""
    model = getattr(transformers, head).from_config(encoders.config(architecture, layers=layers)).eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.3, generator=draw)
        for norm in [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]:
            norm.weight += 1
    return model


def batches(count=48, size=24, seed=1, padding=1):
    """Texts of 3 to 12 tokens."""
    draw = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count // size):
        lengths = torch.randint(3, 13, (size, 1), generator=draw)
        mask = (torch.arange(12) < lengths).long()
        ids = torch.randint(5, 500, (size, 12), generator=draw)
        found.append({"input_ids": torch.where(mask == 1, ids, padding), "attention_mask": mask})
    return found


@torch.no_grad()
def answers(model, texts):
    """All that the model computes, at tokens that are not padding."""
    rows = []
    for text in texts:
        for part in model(**text).to_tuple():
            tokens = part.ndim > 1 and part.shape[1] == text["input_ids"].shape[1]
            rows.append(part[text["attention_mask"].bool()] if tokens else part)
    return rows


def distance(model, other, texts):
    """The root of the mean square of the differences."""
    pairs = zip(answers(model, texts), answers(other, texts), strict=True)
    squares = torch.cat([(ours - theirs).square().flatten() for ours, theirs in pairs])
    return squares.mean().sqrt().item()


def whole(model):
    return PrunePlan.whole(encoder.block_shapes_of(model))


def with_neurons(plan, block, neurons):
    return PrunePlan(plan.heads, (*plan.neurons[:block], tuple(neurons), *plan.neurons[block + 1 :]))


SOME = PrunePlan(heads=((0, 1), (1,), (0, 1)), neurons=(tuple(range(12)), tuple(range(3, 24)), tuple(range(0, 24, 2))))
PLANS = {
    "unequal": SOME,
    "neurons": PrunePlan(((0, 1),) * 3, (tuple(range(12)),) * 3),
    "no heads, no neurons": PrunePlan(((), (0, 1), (1,)), (SOME.neurons[0], (), SOME.neurons[2])),
    "first block gone": PrunePlan(((), *SOME.heads[1:]), ((), *SOME.neurons[1:])),
    "block between gone": PrunePlan(((0, 1), (), (0, 1)), (tuple(range(24)), (), tuple(range(24)))),
    "last block gone": PrunePlan((*SOME.heads[:2], ()), (*SOME.neurons[:2], ())),
    "narrow, uniform": PrunePlan(((1,),) * 3, (tuple(range(20)),) * 3, tuple(range(1, 16, 2))),
    "narrow": PrunePlan(SOME.heads, SOME.neurons, tuple(range(12))),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_function_stays_where_nothing_goes(encoders, architecture):
    model, texts = build(encoders, architecture), batches()
    before = copy.deepcopy(model.state_dict())
    found = reconstruct(model, whole(model), texts)
    assert type(found) is type(model)
    assert distance(model, found, texts) < 1e-6
    everything = PrunePlan(whole(model).heads, whole(model).neurons, tuple(range(16)))
    assert distance(model, reconstruct(model, everything, texts), texts) < 1e-5  # every step is taken
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_answers_are_nearer_than_those_of_the_sliced_model(encoders, architecture, plan):
    if architecture == "electra" and plan.dimensions is not None and len(plan.dimensions) == 8:
        pytest.skip("as wide as its embeddings")
    model, texts = build(encoders, architecture), batches()
    found = reconstruct(model, plan, texts)
    assert encoder.block_shapes_of(found) == plan.shapes
    assert distance(model, found, texts) < 0.9 * distance(model, prune(model, plan), texts)
    assert not found.training


@pytest.mark.parametrize(
    "head", ["AutoModel", "AutoModelForTokenClassification", "AutoModelForQuestionAnswering", "AutoModelForMaskedLM"]
)
@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_every_head(encoders, architecture, head):
    model, texts = build(encoders, architecture, head, layers=3), batches()
    for plan in (PLANS["unequal"], PLANS["narrow"]):
        if head == "AutoModel" and plan.dimensions is not None:
            continue  # its answers are the stream itself
        assert distance(model, reconstruct(model, plan, texts), texts) < distance(model, prune(model, plan), texts)


def test_a_narrow_stream_is_nearer_to_the_dimensions_that_stay(encoders):
    model, texts, plan = build(encoders, "bert", "AutoModel"), batches(), PLANS["narrow"]

    @torch.no_grad()
    def error(smaller):
        pairs = [(model(**text)[0][..., : len(plan.dimensions)], smaller(**text)[0], text) for text in texts]
        return sum((a - b)[text["attention_mask"].bool()].square().sum().item() for a, b, text in pairs)

    assert error(reconstruct(model, plan, texts)) < 0.8 * error(prune(model, plan))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_neuron_that_others_can_replace_leaves_no_trace(encoders, architecture):
    """Neuron 5 of block 1 is neuron 3 again, and those of block 2 that go are neuron 0 times a constant of 1."""
    model, texts = build(encoders, architecture), batches()
    blocks = encoder.blocks_of(model)
    with torch.no_grad():
        blocks[1].ffn_in.weight[5], blocks[1].ffn_in.bias[5] = blocks[1].ffn_in.weight[3], blocks[1].ffn_in.bias[3]
        for copied in (7, 8):
            blocks[2].ffn_in.weight[copied] = blocks[2].ffn_in.weight[0]
            blocks[2].ffn_in.bias[copied] = blocks[2].ffn_in.bias[0]
    plan = with_neurons(whole(model), 1, sorted(set(range(24)) - {5}))
    plan = with_neurons(plan, 2, sorted(set(range(24)) - {7, 8}))
    assert distance(model, prune(model, plan), texts) > 0.05
    assert distance(model, reconstruct(model, plan, texts, TINY_RIDGE), texts) < 1e-3
    unseen = batches(seed=7)
    assert distance(model, reconstruct(model, plan, texts, TINY_RIDGE), unseen) < 1e-2


def test_a_head_that_another_one_can_replace_leaves_no_trace(encoders):
    model, texts = build(encoders, "bert"), batches()
    block = encoder.blocks_of(model)[1]
    with torch.no_grad():
        for layer in (block.query, block.key, block.value):
            layer.weight[8:], layer.bias[8:] = layer.weight[:8], layer.bias[:8]
    plan = PrunePlan(((0, 1), (0,), (0, 1)), whole(model).neurons)
    assert distance(model, prune(model, plan), texts) > 0.05
    assert distance(model, reconstruct(model, plan, texts, TINY_RIDGE), texts) < 1e-3


@torch.no_grad()
def test_a_single_block_is_solved_as_numpy_solves_it(encoders):
    """Of a token classifier of one block, ffn_out and head alone: with all heads, attention is not changed."""
    model, texts = build(encoders, "bert", "AutoModelForTokenClassification", layers=1), batches()
    block, neurons = encoder.blocks_of(model)[0], list(range(0, 24, 2))
    read, sums = [], []
    hooks = [
        block.ffn_out.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0])),
        block.ffn_norm.register_forward_pre_hook(lambda _, inputs: sums.append(inputs[0])),
        block.ffn_in.register_forward_pre_hook(lambda _, inputs: sums.append(-inputs[0])),  # the stream that is added
    ]
    for text in texts:
        model(**text)
    for hook in hooks:
        hook.remove()
    real = np.concatenate([text["attention_mask"].bool().flatten().numpy() for text in texts])
    features = torch.cat(read).flatten(0, 1).double().numpy()[real][:, neurons]
    streams, totals = (torch.cat(sums[start::2]).flatten(0, 1).double().numpy()[real] for start in (0, 1))
    targets = totals + streams
    ridge = 0.03
    weight, bias = ridge_by_lstsq(features, targets, block.ffn_out.weight[:, neurons].T.double().numpy(), ridge)
    found = encoder.blocks_of(reconstruct(model, with_neurons(whole(model), 0, neurons), texts, (ridge,)))[0]
    np.testing.assert_allclose(found.ffn_out.weight.T.numpy(), weight, atol=1e-4)
    np.testing.assert_allclose(found.ffn_out.bias.numpy(), bias, atol=1e-4)
    assert torch.equal(found.output.weight, block.output.weight)


def ridge_by_lstsq(features, targets, start, ridge):
    """``argmin |Y - X W - b|^2 + ridge tr(cov X) / n |W - start|^2`` from one stacked matrix: rows of the penalty below
    those of the data, a column of ones for the bias beside them."""
    count, n = features.shape
    strength = ridge * np.square(features - features.mean(0)).sum() / n
    stacked = np.block([[features, np.ones((count, 1))], [np.sqrt(strength) * np.eye(n), np.zeros((n, 1))]])
    solution = np.linalg.lstsq(stacked, np.concatenate([targets, np.sqrt(strength) * start]), rcond=None)[0]
    return solution[:-1], solution[-1]


def test_padding_contributes_nothing(encoders):
    """Other tokens behind a mask, and more of them, give the same model."""
    model, texts = build(encoders, "bert", "AutoModelForTokenClassification"), batches()
    expected = reconstruct(model, SOME, texts)
    wider = [
        {
            "input_ids": torch.nn.functional.pad(
                torch.where(t["attention_mask"] == 1, t["input_ids"], 9), (0, 4), value=4
            ),
            "attention_mask": torch.nn.functional.pad(t["attention_mask"], (0, 4)),
            "labels": torch.zeros(24),
        }
        for t in texts
    ]
    found = reconstruct(model, SOME, wider)
    for name, weight in expected.state_dict().items():
        assert torch.allclose(found.state_dict()[name], weight, atol=1e-3), name


def test_batches_do_not_matter_and_may_come_once(encoders):
    model, texts = build(encoders, "distilbert"), batches()
    smaller = [{name: part[i : i + 8] for name, part in text.items()} for text in texts for i in range(0, 24, 8)]
    expected, found = reconstruct(model, SOME, texts), reconstruct(model, SOME, iter(smaller))
    for name, weight in expected.state_dict().items():
        assert torch.allclose(found.state_dict()[name], weight, atol=1e-3), name


def test_a_pruned_model_can_be_pruned_again(encoders):
    model, texts = build(encoders, "roberta"), batches()
    once = reconstruct(model, SOME, texts)
    again = PrunePlan(((1,), (0,), ()), (tuple(range(6)), tuple(range(5)), ()))
    twice = reconstruct(once, again, texts)
    assert encoder.block_shapes_of(twice) == again.shapes
    assert distance(once, twice, texts) < distance(once, prune(once, again), texts)


def test_modes_stay(encoders):
    model = build(encoders, "bert").train()
    assert reconstruct(model, SOME, batches(8)).training
    assert model.training


# -- the sums


def random_rows(count, n, outputs, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, n, generator=draw, dtype=torch.float64) + 1,
        torch.randn(count, outputs, generator=draw, dtype=torch.float64),
        torch.rand(count, generator=draw, dtype=torch.float64),
    )


def test_weighted_rows_are_solved_as_numpy_solves_them():
    features, residuals, weights = random_rows(30, 4, 3)
    sums = Sums(4, 3)
    for start in range(0, 30, 10):
        sums.add(*(part[start : start + 10] for part in (features, residuals, weights)))
    found = sums.correction(0.0)
    root = weights.sqrt()[:, None].numpy()
    stacked = np.concatenate([features.numpy(), np.ones((30, 1))], axis=1)
    expected = np.linalg.lstsq(root * stacked, root * residuals.numpy(), rcond=None)[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)
    assert sums.error(found) == pytest.approx(np.square(root * (residuals.numpy() - stacked @ expected)).sum())


def test_without_inputs_or_rows_only_the_bias_can_change():
    residuals = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    empty = Sums(0, 2)
    empty.add(torch.zeros(2, 0), residuals, torch.tensor([1.0, 3.0]))
    assert torch.allclose(empty.correction(0.1), torch.tensor([[2.5, 5.0]], dtype=torch.float64))
    constant = Sums(1, 2)
    constant.add(torch.ones(2, 1), residuals, torch.ones(2))
    assert torch.equal(constant.correction(0.1), torch.tensor([[0.0, 0.0], [2.0, 4.0]], dtype=torch.float64))
    assert torch.equal(Sums(1, 2).correction(0.1), torch.zeros(2, 2, dtype=torch.float64))


@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_the_strength_is_chosen_on_texts_that_were_held_out(noise):
    """What follows from the features is taken whole; what does not is left alone."""
    features, residuals, _ = random_rows(120, 20, 2)
    mixing = torch.full((20, 2), 0.5, dtype=torch.float64)
    targets = features @ mixing + noise * residuals
    sums, weights = HeldOutSums(20, 2), torch.ones(60, 2, dtype=torch.float64)
    sums.add(features.view(60, 2, 20), targets.view(60, 2, 2), weights)
    tried = {ridge: sums.held.error(sums.fitted.correction(ridge)) for ridge in (*RIDGES, float("inf"))}
    best = min(tried, key=tried.get)
    assert best == (min(RIDGES) if noise == 0 else float("inf"))
    everything = Sums(20, 2)
    everything.add(features, targets, torch.ones(120, dtype=torch.float64))
    assert torch.allclose(sums.correction(RIDGES), everything.correction(best))


def test_every_fifth_text_is_held_out_whatever_the_batches():
    features, residuals, _ = random_rows(10, 2, 1)
    held = Sums(2, 1)
    held.add(features[[4, 9]], residuals[[4, 9]], torch.ones(2, dtype=torch.float64))
    for size in (1, 3, 10):
        sums = HeldOutSums(2, 1)
        for start in range(0, 10, size):
            part = slice(start, start + size)
            sums.add(features[part][:, None], residuals[part][:, None], torch.ones_like(residuals[part]))
        assert torch.allclose(sums.held.gram, held.gram)
