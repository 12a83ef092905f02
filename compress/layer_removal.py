"""Which blocks of an encoder can go as a whole, found by measuring.

What a block does for the answers depends on which others are there, and no sum of single estimates tells it. So blocks
go one at a time, each time the one without which the answers change least.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from lilliput.types import PrunePlan


@dataclass(frozen=True)
class LayerRemoval:
    """In which order blocks go, and what that does.

    Attributes:
        order: ``[L]``, the first to go first; the last one always stays.
        divergence: ``[L]``; ``divergence[k]`` was measured with the first k of ``order`` gone, and ``divergence[0]``
            is 0.
    """

    order: tuple[int, ...]
    divergence: tuple[float, ...]

    def kept(self, count: int) -> tuple[int, ...]:
        """The ``count`` blocks that stay longest, rising."""
        return tuple(sorted(self.order[len(self.order) - count :]))


def greedy_removal(whole: PrunePlan, evaluate: Callable[[PrunePlan], float]) -> LayerRemoval:
    """Remove blocks one by one until a single one is left: of L blocks, ``L (L + 1) / 2 - 1`` evaluations.

    Of equal blocks the first goes first.

    Args:
        whole: the plan that keeps everything.
        evaluate: how far the answers of a plan's model are from those of the unpruned one, measured on texts.
    """
    left, divergence = list(whole.layers), [0.0]
    order: list[int] = []
    while len(left) > 1:
        found = {layer: evaluate(without(whole, [*order, layer])) for layer in left}
        chosen = min(left, key=lambda layer: (found[layer], layer))
        left.remove(chosen)
        order.append(chosen)
        divergence.append(found[chosen])
    return LayerRemoval(tuple(order + left), tuple(divergence))


def without(plan: PrunePlan, layers: Collection[int]) -> PrunePlan:
    """``plan`` with the given blocks dropped."""

    def cut(groups: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        return tuple(() if number in layers else group for number, group in enumerate(groups))

    return replace(plan, heads=cut(plan.heads), neurons=cut(plan.neurons))
