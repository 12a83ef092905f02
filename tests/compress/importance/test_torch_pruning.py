"""Torch-Pruning's importance classes, where they say the same as ours."""

import pytest
import torch
import torch_pruning as tp
from torch import nn

from lilliput import encoder
from lilliput.compress.evidence import Evidence
from lilliput.compress.importance import Ranking, magnitude, taylor

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")


def text(labels=None):
    ids = torch.tensor([[2, 17, 40, 33, 120, 3]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **({} if labels is None else {"labels": labels})}


def same(ranking, scores):
    expected = Ranking.additive(scores)
    assert ranking.order == expected.order
    assert ranking.loss == pytest.approx(expected.loss, rel=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_magnitudes_are_the_squared_weights_of_rows_and_columns(encoders, architecture):
    """Torch-Pruning computes ours; here they are added up by hand."""
    model = encoders.classifier(architecture, layers=2).train()
    for weight in model.parameters():
        weight.requires_grad_(False)
    found = magnitude.rank(Evidence(model, "classes", []))
    blocks, ends = encoder.blocks_of(model), encoder.ends_of(model)
    stream = torch.zeros(16)
    for number, block in enumerate(blocks):
        made = sum(layer.weight.square().sum(1) for layer in (block.query, block.key, block.value))
        channels = made + block.output.weight.square().sum(0)
        same(found.heads[number], channels.view(2, 8).sum(1))
        same(found.neurons[number], block.ffn_in.weight.square().sum(1) + block.ffn_out.weight.square().sum(0))
        for reader in (block.query, block.key, block.value, block.ffn_in):
            stream += reader.weight.square().sum(0)
        stream += block.output.weight.square().sum(1) + block.ffn_out.weight.square().sum(1)
    head = ends.features or ends.last
    stream += head.weight.square().sum(0)
    if ends.widening is not None:
        stream += ends.widening.weight.square().sum(1)
    same(found.dimensions, stream)
    assert model.training
    assert not any(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_taylor_of_one_text_is_torch_prunings_of_the_layer_that_reads(encoders, architecture):
    """``sum_j W_ji dL/dW_ji = dL/dm_i`` for a mask on input i: GroupTaylorImportance with multivariable=True, of the
    first layer of a group that begins at the layer that reads. Its other layers' products are those of what comes
    before the activation, which no mask has."""
    model, batch = encoders.classifier(architecture, layers=2), text(torch.tensor([1]))
    found = taylor.rank(Evidence(model, "classes", [batch]))
    model(**batch).loss.backward()
    graph = tp.DependencyGraph().build_dependency(model, text(), output_transform=lambda output: output.logits)
    score = tp.importance.GroupTaylorImportance("first", None, multivariable=True, target_types=[nn.Linear])
    for number, block in enumerate(encoder.blocks_of(model)):
        group = graph.get_pruning_group(block.ffn_out, tp.prune_linear_in_channels, list(range(24)))
        same(found.neurons[number], score(group))
