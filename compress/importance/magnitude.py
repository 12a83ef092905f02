"""The squared weights of a structure, without any text.

Equation:
    loss(S) = sum_{i in S} sum of w^2 over the linear layers' weights that make or read structure i: rows of queries,
    keys and values and columns of the output for a head, rows of the first and columns of the second feed-forward
    layer for a neuron; for a dimension, of every layer that reads or writes the residual stream, from the widening of
    narrow embeddings to the head. Biases, norms and tables do not count.

Torch-Pruning computes it: its dependency graph says which rows and columns belong together.

Reference: Li et al. 2017, Pruning filters for efficient ConvNets (with absolute values); Fang et al. 2023, DepGraph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from lilliput.compress.evidence import Evidence
from lilliput.compress.importance import Ranking, Rankings
from lilliput.train.evaluate import array_of


def rank(evidence: Evidence) -> Rankings:
    """Rankings by squared weights."""
    with _graph_of(evidence.model) as graph:
        score = tp.importance.GroupMagnitudeImportance(2, "sum", None, target_types=[nn.Linear])

        def scores(layer: nn.Module, place: Callable[..., Any], count: int) -> Tensor:
            """Of each of the ``count`` channels that ``layer`` reads or writes, ``[count]``."""
            if not count:
                return torch.zeros(0)
            found: Tensor = score(graph.get_pruning_group(layer, place, list(range(count))))
            return found

        heads, neurons = [], []
        for block, shape in zip(evidence.blocks, evidence.shapes, strict=True):
            channels = scores(block.output, tp.prune_linear_in_channels, block.output.in_features)
            heads.append(Ranking.additive(channels.view(shape.heads, -1).sum(1) if shape.heads else channels))
            neurons.append(Ranking.additive(scores(block.ffn_out, tp.prune_linear_in_channels, shape.ffn)))
        norm = evidence.blocks[0].attention_norm
        dimensions = Ranking.additive(scores(norm, tp.prune_layernorm_out_channels, len(norm.weight)))
    return Rankings(tuple(heads), tuple(neurons), dimensions)


@contextmanager
def _graph_of(model: Any) -> Iterator[Any]:
    """Torch-Pruning's dependency graph, which it reads off the autograd graph of one pass; frozen weights are not in
    that, so they are not frozen here."""
    frozen = [weight for weight in model.parameters() if not weight.requires_grad]
    was_training = model.training
    tokens = torch.zeros(1, 2, dtype=torch.int64, device=model.device)
    mask = torch.ones_like(tokens)
    inputs = {"input_ids": tokens, "attention_mask": mask}
    try:
        for weight in frozen:
            weight.requires_grad_()
        with torch.enable_grad():
            yield tp.DependencyGraph().build_dependency(
                model, inputs, output_transform=lambda found: array_of(found, mask), verbose=False
            )
    finally:
        model.train(was_training)
        for weight in frozen:
            weight.requires_grad_(False)
