"""Evidence, against one text at a time with masks put in by hand."""

import copy
import functools

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from lilliput import encoder
from lilliput.architectures.pruned import MODELS
from lilliput.compress.evidence import Evidence
from lilliput.compress.mask_gradients import gradients_of
from lilliput.errors import ConfigError
from lilliput.tasks import IGNORED

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
HEADS = {
    "classes": AutoModelForSequenceClassification,
    "labels": AutoModelForSequenceClassification,
    "score": AutoModelForSequenceClassification,
    "tokens": AutoModelForTokenClassification,
    "span": AutoModelForQuestionAnswering,
    "vector": AutoModel,
}
LENGTHS = (7, 4, 2)


@pytest.fixture
def make(encoders):
    """Random models of two layers, by architecture and kind of outputs; with ``blocks``, of those shapes."""

    def model(architecture, kind="classes", blocks=None):
        changes = {"labels": ("a",)} if kind == "score" else {}
        changes |= {"problem_type": "multi_label_classification"} if kind == "labels" else {}
        config = encoders.config(architecture, layers=len(blocks or "12"), **changes)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            plain = HEADS[kind].from_config(config).eval()
            if blocks is None:
                return plain
            own = MODELS[type(plain)]
            sizes = {"block_heads": [b[0] for b in blocks], "block_ffn": [b[1] for b in blocks], "head_size": 8}
            kept = {key: value for key, value in config.to_dict().items() if key != "model_type"}
            return own(own.config_class(**{**kept, **sizes})).eval()

    return model


def batch_of(lengths=LENGTHS, kind=None, seed=0, width=None):
    """Texts of these lengths, with labels of the kind."""
    generator = torch.Generator().manual_seed(seed)
    width = width or max(lengths)
    mask = (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).long()
    ids = torch.where(mask == 1, torch.randint(5, 500, mask.shape, generator=generator), 1)
    labels = {
        "classes": {"labels": torch.arange(len(lengths)) % 2},
        "labels": {"labels": torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])[: len(lengths)]},
        "score": {"labels": torch.tensor([0.5, -2.0, 1.0])[: len(lengths)]},
        "tokens": {"labels": torch.where(mask == 1, ids % 2, IGNORED)},
        "span": {"start_positions": torch.tensor([1, 0, 1])[: len(lengths)], "end_positions": torch.tensor([4, 2, 1])},
    }.get(kind, {})
    return {"input_ids": ids, "attention_mask": mask, **labels}


def alone(batch, number):
    """One text without its padding."""
    length = int(batch["attention_mask"][number].sum())
    wide = batch["input_ids"].shape
    return {
        name: values[number : number + 1, :length] if values.shape == wide else values[number : number + 1]
        for name, values in batch.items()
    }


def by_hand(model, inputs_and_labels, factor=1):
    """By masks of ones and autograd, for the model's own loss times ``factor``: gradients of the masks of heads, of
    neurons and of dimensions, inputs of the layers that write to the stream, and gradients of their outputs."""
    blocks, shapes = encoder.blocks_of(model), encoder.block_shapes_of(model)
    heads = [torch.ones(shape.heads, requires_grad=True) for shape in shapes]
    neurons = [torch.ones(shape.ffn, requires_grad=True) for shape in shapes]
    stream = torch.ones(len(blocks[0].ffn_norm.weight), requires_grad=True)
    inputs, outputs, hooks = {}, {}, []

    def masked(mask, layer, given):
        inputs[layer] = given[0].detach()
        return (given[0] * mask.repeat_interleave(given[0].shape[-1] // max(len(mask), 1)),)

    def keep(layer, _, output):
        outputs[layer] = output if output.requires_grad else output.requires_grad_()
        return outputs[layer]

    for block, head, neuron in zip(blocks, heads, neurons, strict=True):
        for layer, mask in ((block.output, head), (block.ffn_out, neuron)):
            hooks.append(layer.register_forward_pre_hook(functools.partial(masked, mask)))
            hooks.append(layer.register_forward_hook(keep))
    norms = [norm for block in blocks for norm in (block.attention_norm, block.ffn_norm)]
    for module in (encoder.embeddings_of(model), *norms):
        hooks.append(module.register_forward_hook(lambda _, __, output: output * stream))
    loss = factor * model(**inputs_and_labels).loss
    layers = list(outputs)
    found = torch.autograd.grad(
        loss, [*heads, *neurons, stream, *outputs.values()], allow_unused=True, materialize_grads=True
    )
    for hook in hooks:
        hook.remove()
    count = len(blocks)
    felt = dict(zip(layers, found[2 * count + 1 :], strict=True))
    return found[:count], found[count : 2 * count], found[2 * count], inputs, felt


def near(one, other):
    return torch.allclose(one, other, atol=1e-5 * max(1, other.abs().max().item() if other.numel() else 1), rtol=1e-4)


@pytest.mark.parametrize("kind", ["classes", "labels", "score", "tokens", "span"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_with_labels_are_those_of_one_text_at_a_time(make, architecture, kind):
    model, batch = make(architecture, kind), batch_of(kind=kind)
    found = gradients_of(model, kind, batch)
    assert found.texts == 3
    for number in range(3):
        factor = 0.5 if kind == "score" else 1  # transformers does not halve the squared error
        heads, neurons, stream, *_ = by_hand(model, alone(batch, number), factor)
        for block in range(2):
            assert heads[block].abs().max() > 1e-4
            assert near(found.heads[block][0, number], heads[block])
            assert near(found.neurons[block][0, number], neurons[block])
        assert near(found.dimensions[0, number], stream)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_blocks_of_different_shapes(make, architecture):
    model = make(architecture, blocks=[(2, 24), (0, 5), (1, 0), (3, 7)])
    batch = batch_of(kind="classes")
    found = gradients_of(model, "classes", batch)
    assert [g.shape[-1] for g in found.heads] == [2, 0, 1, 3]
    assert [g.shape[-1] for g in found.neurons] == [24, 5, 0, 7]
    for number in range(3):
        heads, neurons, stream, *_ = by_hand(model, alone(batch, number))
        assert all(near(found.heads[block][0, number], heads[block]) for block in range(4))
        assert all(near(found.neurons[block][0, number], neurons[block]) for block in range(4))
        assert near(found.dimensions[0, number], stream)


def test_without_labels_the_rows_add_up_to_the_expectation_over_the_models_answers(make):
    model, batch = make("bert"), batch_of()
    found = gradients_of(model, "classes", batch)
    for number in range(3):
        text = alone(batch, number)
        chances = model(**text).logits[0].softmax(-1).detach()
        expected = torch.zeros(24, 24)
        for label, chance in enumerate(chances):
            neurons = by_hand(model, {**text, "labels": torch.tensor([label])})[1]
            expected += chance * torch.outer(neurons[0], neurons[0])
        rows = found.neurons[0][:, number]
        assert expected.abs().max() > 1e-6
        assert torch.allclose(rows.T @ rows, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("kind", ["classes", "tokens", "span", "vector"])
def test_padding_is_exactly_nothing(make, kind):
    model, batch = make("bert", kind), batch_of()
    found = gradients_of(model, kind, batch)
    changed = {**batch, "input_ids": torch.where(batch["attention_mask"] == 1, batch["input_ids"], 77)}
    other = gradients_of(model, kind, changed)
    longer = gradients_of(model, kind, {name: nn.functional.pad(values, (0, 5)) for name, values in batch.items()})
    for block in range(2):
        assert torch.equal(found.heads[block], other.heads[block])
        assert torch.equal(found.neurons[block], other.neurons[block])
        assert near(found.neurons[block], longer.neurons[block])
        for layer in (found.attention[block], found.ffn[block]):
            assert not layer.weights[batch["attention_mask"] == 0].any()
            assert layer.weights[batch["attention_mask"] == 1].any()
    assert torch.equal(found.dimensions, other.dimensions)


def test_moments_are_means_over_texts_of_all_batches(make):
    model = make("roberta")
    batches = [batch_of(kind="classes"), batch_of((5, 3), kind="classes", seed=1)]
    evidence = Evidence(model, "classes", batches)
    texts = [alone(batch, number) for batch in batches for number in range(len(batch["input_ids"]))]
    rows = [by_hand(model, text)[:3] for text in texts]
    for block in range(2):
        for moments, found in (
            (evidence.masks.heads[block], torch.stack([row[0][block] for row in rows])),
            (evidence.masks.neurons[block], torch.stack([row[1][block] for row in rows])),
        ):
            assert near(moments.size, found.abs().mean(0))
            assert near(moments.square, found.square().mean(0))
        assert near(
            evidence.masks.head_fishers[block], sum(torch.outer(row[0][block], row[0][block]) for row in rows) / 5
        )
        assert near(evidence.neuron_fishers[block], sum(torch.outer(row[1][block], row[1][block]) for row in rows) / 5)
    assert near(evidence.masks.dimension_fisher, sum(torch.outer(row[2], row[2]) for row in rows) / 5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_moments_of_layers_equal_a_loop_over_tokens(make, architecture):
    model = make(architecture)
    batches = [batch_of(kind="classes"), batch_of((5, 3), kind="classes", seed=1)]
    evidence = Evidence(model, "classes", batches)
    texts = [alone(batch, number) for batch in batches for number in range(len(batch["input_ids"]))]
    parts = [by_hand(model, text)[3:] for text in texts]
    blocks = encoder.blocks_of(model)
    pairs = [(b.output, found) for b, found in zip(blocks, evidence.attention, strict=True)]
    pairs += [(b.ffn_out, found) for b, found in zip(blocks, evidence.ffn, strict=True)]
    for layer, found in pairs:
        tokens = [(x, g) for inputs, felt in parts for x, g in zip(inputs[layer][0], felt[layer][0], strict=True)]
        weight = sum(g @ g for _, g in tokens)
        mean = sum((g @ g) * x for x, g in tokens) / weight
        covariance = sum((g @ g) * torch.outer(x - mean, x - mean) for x, g in tokens) / weight
        assert near(found.mean, mean)
        assert near(found.covariance, covariance)
        fisher = sum(torch.outer(g, g) for _, g in tokens) / len(texts)
        assert torch.allclose(found.output_fisher, fisher, rtol=1e-3, atol=1e-4 * fisher.abs().max().item())


def test_a_classifier_feels_only_the_first_token_of_its_last_block(make):
    found = gradients_of(make("bert"), "classes", batch_of())
    for layer in (found.attention[-1], found.ffn[-1]):
        assert (layer.weights > 0).sum(1).tolist() == [1, 1, 1]
        assert layer.weights[:, 0].all()
    assert (found.ffn[0].weights > 0).sum(1).tolist() == list(LENGTHS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_half_the_fisher_information_is_the_divergence_that_a_small_change_makes(make, architecture):
    """Neuron i and head h a little weaker: ``KL(p, p') = e^2/2 F_ii``, the mean over texts."""
    model, batch, share = make(architecture), batch_of(), 1e-3
    masks = Evidence(model, "classes", [batch]).masks
    model = copy.deepcopy(model).double()
    block = encoder.blocks_of(model)[0]
    for layer, channels, moments in (
        (block.ffn_out, slice(5, 6), masks.neurons[0].square[5]),
        (block.output, slice(8, 16), masks.heads[0].square[1]),
    ):
        with torch.no_grad():
            before = model(**batch).logits.log_softmax(-1)
            layer.weight[:, channels] *= 1 - share
            after = model(**batch).logits.log_softmax(-1)
        divergence = (before.exp() * (before - after)).sum(-1).mean()
        assert divergence.item() / share**2 == pytest.approx(moments.item() / 2, rel=0.02)


def test_all_that_is_asked_for_together_is_one_pass(make):
    passes = []

    class Batches:
        def __iter__(self):
            passes.append(1)
            return iter([batch_of()])

    evidence = Evidence(make("bert"), "classes", Batches())
    assert not passes
    evidence.gather("masks", "layers")
    assert evidence.masks is evidence.masks
    assert len(evidence.attention) == len(evidence.ffn) == 2
    assert len(passes) == 1
    assert evidence.neuron_fishers[0].shape == (24, 24)
    assert len(passes) == 2


def test_the_model_stays_as_it_is(make):
    model = make("electra").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for weight in model.parameters():
        weight.requires_grad_(False)
    with torch.no_grad():
        found = Evidence(model, "classes", [batch_of()]).masks
    assert found.neurons[0].square.min() > 0
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None and not weight.requires_grad for weight in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_no_texts_are_an_error(make):
    with pytest.raises(ConfigError, match="no text to calibrate on"):
        _ = Evidence(make("bert"), "classes", []).masks
