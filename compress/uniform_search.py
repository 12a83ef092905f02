"""Plans whose blocks all have the same shape, so that plain transformers loads the model: depth, width, neurons.

There are few such shapes, so all of them are listed; those that just fit into a budget are compared by measuring,
because an estimate that is good for a few heads is poor for half of the residual stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from lilliput.compress.layer_removal import LayerRemoval
from lilliput.compress.search import DROPPED, Candidate, levels
from lilliput.types import BlockShape

if TYPE_CHECKING:
    from lilliput.compress.cost import Cost
    from lilliput.compress.importance import Rankings


def uniform(
    rankings: Rankings, removal: LayerRemoval, head_size: int, cost_at: Callable[[int], Cost], step: int
) -> list[Candidate]:
    """Every uniform shape: ``n`` blocks of ``h`` heads and ``f`` neurons, ``h * head_size`` dimensions wide.

    Equation:
        loss = removal.divergence[L - n] + sum_{l kept} (loss of heads + loss of neurons) + loss of dimensions,

    which is a sum of like things where the rankings estimate what ``removal`` measured. Which n blocks stay is what
    ``removal`` found.

    Args:
        cost_at: the costs of a model whose residual stream has the given number of dimensions.
        step: numbers of neurons are multiples of this, or all that the kept blocks have in common.
    """
    head_losses = [np.asarray(ranking.loss, np.float64) for ranking in rankings.heads]
    neuron_losses = [np.asarray(ranking.loss, np.float64) for ranking in rankings.neurons]
    dimension_loss = np.asarray(rankings.dimensions.loss, np.float64)
    count, width = len(head_losses), len(dimension_loss) - 1
    found = []
    for layers in range(1, count + 1):
        kept = removal.kept(layers)
        most_heads = min(*(len(head_losses[layer]) - 1 for layer in kept), width // head_size)
        most_neurons = min(len(neuron_losses[layer]) - 1 for layer in kept)
        for heads in range(1, most_heads + 1):
            hidden = heads * head_size
            base = removal.divergence[count - layers] + dimension_loss[width - hidden]
            base += sum(losses[len(losses) - 1 - heads] for losses in (head_losses[layer] for layer in kept))
            cost = cost_at(hidden)
            for neurons in levels(most_neurons, step)[1:]:
                loss = base + sum(n[len(n) - 1 - neurons] for n in (neuron_losses[layer] for layer in kept))
                shape = BlockShape(heads, neurons)
                blocks = tuple(shape if layer in kept else DROPPED for layer in range(count))
                total = cost.total([shape] * layers)
                found.append(Candidate(blocks, None if hidden == width else hidden, float(loss), total))
    return found


def largest_within(candidates: Iterable[Candidate], budget: float) -> list[Candidate]:
    """Uniform candidates that cost at most ``budget`` and are nowhere smaller than another one that does too.

    The least estimated loss comes first.
    """
    fitting = {shape_of(one): one for one in candidates if one.cost <= budget}
    largest: dict[tuple[int, int], int] = {}  # the most neurons that each depth and width has room for
    for layers, heads, neurons in fitting:
        largest[layers, heads] = max(neurons, largest.get((layers, heads), 0))
    kept = [
        fitting[layers, heads, neurons]
        for (layers, heads), neurons in largest.items()
        if not any(
            n >= layers and h >= heads and f >= neurons and (n, h) != (layers, heads) for (n, h), f in largest.items()
        )
    ]
    return sorted(kept, key=lambda one: (one.loss, one.cost, shape_of(one)))


def shape_of(candidate: Candidate) -> tuple[int, int, int]:
    """Blocks, heads and neurons of a uniform candidate."""
    kept = [block for block in candidate.blocks if block != DROPPED]
    return len(kept), kept[0].heads, kept[0].ffn
