"""Which heads and neurons each block keeps, so that the estimated loss is least within a budget.

Losses of blocks are taken to add up, as costs do: then the best plan is a knapsack over the blocks, and dynamic
programming solves it for every budget at once.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lilliput.errors import ConfigError
from lilliput.types import BlockShape, PrunePlan

if TYPE_CHECKING:
    from lilliput.compress.cost import Cost
    from lilliput.compress.importance import Ranking, Rankings

DROPPED = BlockShape(0, 0)
"""What is left of a block that is dropped as a whole."""

BINS = 4000
"""Into how many parts the cost of the unpruned blocks is divided."""


@dataclass(frozen=True)
class Candidate:
    """How much of an encoder stays; a ranking says what.

    Attributes:
        blocks: what each block of the unpruned model keeps; ``DROPPED`` where it goes as a whole.
        dimensions: how many dimensions of the residual stream stay; None: all of them.
        loss: by how much the loss is estimated to rise, in the unit of the rankings.
        cost: of the whole model, in the unit of its :class:`Cost`.
    """

    blocks: tuple[BlockShape, ...]
    dimensions: int | None
    loss: float
    cost: float

    def plan(self, rankings: Rankings) -> PrunePlan:
        """The plan that keeps this much, the most important of each group."""
        return PrunePlan(
            heads=tuple(_last(r, block.heads) for r, block in zip(rankings.heads, self.blocks, strict=True)),
            neurons=tuple(_last(r, block.ffn) for r, block in zip(rankings.neurons, self.blocks, strict=True)),
            dimensions=None if self.dimensions is None else _last(rankings.dimensions, self.dimensions),
        )


@dataclass(frozen=True)
class Family:
    """Candidates of which none is as cheap and as good as another one: rising in cost, falling in estimated loss.

    Attributes:
        unit: of the costs.
        rest: what the parts cost that no candidate prunes: embeddings, head, and whatever surrounds the blocks.
    """

    candidates: tuple[Candidate, ...]
    unit: str
    rest: float

    @classmethod
    def of(cls, candidates: Iterable[Candidate], unit: str, rest: float) -> Family:
        """The family of those candidates that no other one beats in cost or loss without losing in the other."""
        kept: list[Candidate] = []
        for candidate in sorted(candidates, key=lambda one: (one.cost, one.loss)):
            if not kept or candidate.loss < kept[-1].loss:
                kept.append(candidate)
        return cls(tuple(kept), unit, rest)

    def best(self, budget: float, flag: str = "--target") -> Candidate:
        """The candidate of least estimated loss that costs at most ``budget``.

        Args:
            flag: where the user gave the budget, for the message.

        Raises:
            ConfigError: all of them cost more; the message says what can be reached, and what stands in the way.
        """
        position = bisect_right([candidate.cost for candidate in self.candidates], budget)
        if position == 0:
            raise ConfigError(
                f"{flag}: {budget:.4g} {self.unit} is out of reach; the smallest plan costs "
                f"{_rounded_up(self.candidates[0].cost)} {self.unit}, of which {self.rest:.4g} {self.unit} are "
                "embeddings, head and whatever else surrounds the blocks, which this does not prune; give at least that"
            )
        return self.candidates[position - 1]


def per_layer(rankings: Rankings, cost: Cost, step: int, bins: int = BINS) -> Family:
    """Plans in which every block has its own number of heads and of neurons.

    Equation:
        minimise  sum_l loss_l(h_l, f_l)  subject to  rest + sum_{l kept} cost_l(h_l, f_l) <= budget,

    for all budgets: S_l[c], the least loss of blocks l and after that cost c, comes from S_{l+1}, and blocks are taken
    from the last to the first because the last one that is kept may have a cost of its own. A block with neither heads
    nor neurons costs nothing; at least one block stays.

    Costs of blocks are rounded up to multiples of ``b = (cost of the unpruned blocks) / bins``, so that no plan costs
    more than it seems to. The price: for a budget B, the loss found is at most the optimum of the budget ``B - n b``,
    with n the blocks that the optimum keeps. Where all costs are multiples of b, it is the optimum. Of plans of equal
    loss the cheaper one wins, and equal input always gives equal output.

    Args:
        step: numbers of neurons are multiples of this, or all of a block's.
        bins: see above; time and memory grow in proportion.
    """
    blocks = list(zip(rankings.heads, rankings.neurons, strict=True))
    inner = [_options(heads, neurons, cost, step, last=False) for heads, neurons in blocks]
    final = [_options(heads, neurons, cost, step, last=True) for heads, neurons in blocks]
    whole = sum(float(options.cost[-1]) for options in (*inner[:-1], final[-1]))
    width = whole / bins if whole > 0 else 1.0
    inner, final = [options.reduced(width) for options in inner], [options.reduced(width) for options in final]
    dropping = [float(np.asarray(heads.loss)[-1] + np.asarray(neurons.loss)[-1]) for heads, neurons in blocks]
    least, choices = _tables(inner, final, dropping, bins + len(blocks) + 1)

    def candidate(size: int) -> Candidate:
        kept, loss, spent = _trace(inner, final, dropping, choices, size)
        return Candidate(tuple(kept), None, loss, cost.rest() + spent)

    before = np.minimum.accumulate(np.concatenate([[np.inf], least[:-1]]))
    return Family.of((candidate(int(size)) for size in np.flatnonzero(least < before)), cost.unit, cost.rest())


def levels(count: int, step: int) -> list[int]:
    """The multiples of ``step`` below ``count``, and ``count``."""
    return [*range(0, count, step), count]


@dataclass(frozen=True)
class _Options:
    """Ways to keep a part of one block, ``[n]`` each; the last one keeps all of it, until they are reduced."""

    heads: Any
    neurons: Any
    loss: Any
    cost: Any
    size: Any
    """The cost in bins."""

    def reduced(self, width: float) -> _Options:
        """Those that no other one beats, with their costs in bins of ``width``, rounded up."""
        # A cost that is a multiple of the width may lie a rounding error above it.
        size = np.ceil(self.cost / width - 1e-9).clip(0).astype(np.int64)
        order = np.lexsort((self.cost, self.loss, size))
        loss = self.loss[order]
        better = loss < np.minimum.accumulate(np.concatenate([[np.inf], loss[:-1]]))
        chosen = order[better]
        return _Options(self.heads[chosen], self.neurons[chosen], self.loss[chosen], self.cost[chosen], size[chosen])


def _options(heads: Ranking, neurons: Ranking, cost: Cost, step: int, last: bool) -> _Options:
    """All ways to keep a part of a block."""
    head_loss, neuron_loss = np.asarray(heads.loss, np.float64), np.asarray(neurons.loss, np.float64)
    most_heads, most_neurons = len(head_loss) - 1, len(neuron_loss) - 1
    h, f = np.arange(most_heads + 1), np.array(levels(most_neurons, step))
    attention = np.array([cost.attention(int(count), last) for count in h])
    feed_forward = np.array([cost.feed_forward(int(count), last) for count in f])
    loss = head_loss[most_heads - h][:, None] + neuron_loss[most_neurons - f]  # [heads, neurons]
    spent = attention[:, None] + feed_forward + cost.block(last)
    grid = np.meshgrid(h, f, indexing="ij")
    some = slice(1, None)  # the first has neither heads nor neurons: a dropped block, which costs nothing
    return _Options(*(values.ravel()[some] for values in (*grid, loss, spent, np.zeros_like(spent))))


def _tables(
    inner: list[_Options], final: list[_Options], dropping: list[float], width: int
) -> tuple[np.ndarray, np.ndarray]:
    """The least loss of exactly each size, ``[width]``, and how each block comes to it, ``[blocks, width]``.

    A choice is -1 where the block is dropped, the number of an option of ``inner``, or, counted on from those, one of
    ``final``, with every block after it dropped.
    """
    least, all_dropped = np.full(width, np.inf), 0.0
    choices = np.full((len(inner), width), -1, np.int32)
    for number in reversed(range(len(inner))):
        updated, choice = least + dropping[number], choices[number]
        for option, (size, loss) in enumerate(zip(inner[number].size, inner[number].loss, strict=True)):
            if size >= width:
                continue
            trial = least[: width - size] + loss
            better = trial < updated[size:]
            updated[size:][better], choice[size:][better] = trial[better], option
        for option, (size, loss) in enumerate(zip(final[number].size, final[number].loss, strict=True)):
            if size < width and all_dropped + loss < updated[size]:
                updated[size], choice[size] = all_dropped + loss, len(inner[number].size) + option
        all_dropped += dropping[number]
        least = updated
    return least, choices


def _trace(
    inner: list[_Options], final: list[_Options], dropping: list[float], choices: np.ndarray, size: int
) -> tuple[list[BlockShape], float, float]:
    """What each block keeps in the best plan of exactly ``size`` bins, the plan's loss, and the cost of its blocks."""
    kept: list[BlockShape] = []
    loss = spent = 0.0
    for number in range(len(inner)):
        choice = int(choices[number, size])
        if choice < 0:
            kept.append(DROPPED)
            loss += dropping[number]
            continue
        ends = choice >= len(inner[number].size)
        options, choice = (final[number], choice - len(inner[number].size)) if ends else (inner[number], choice)
        kept.append(BlockShape(int(options.heads[choice]), int(options.neurons[choice])))
        loss += float(options.loss[choice])
        spent += float(options.cost[choice])
        size -= int(options.size[choice])
        if ends:
            break
    loss += sum(dropping[len(kept) :])
    return kept + [DROPPED] * (len(inner) - len(kept)), loss, spent


def _last(ranking: Ranking, count: int) -> tuple[int, ...]:
    """The ``count`` most important, rising."""
    order = [int(index) for index in ranking.order]
    return tuple(sorted(order[len(order) - count :]))


def _rounded_up(value: float) -> str:
    """Four digits of ``value``, not below it: a budget of what is printed can be reached."""
    if value <= 0:
        return f"{value:.4g}"
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return f"{math.ceil(value / unit) * unit:.4g}"
