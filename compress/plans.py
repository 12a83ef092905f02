"""The plan for a budget: estimated losses propose, measured answers decide."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lilliput import encoder
from lilliput.compress import surgery, uniform_search
from lilliput.compress.calibration_texts import CalibrationTexts
from lilliput.compress.cost import Cost
from lilliput.compress.importance import Rankings
from lilliput.compress.layer_removal import LayerRemoval, greedy_removal
from lilliput.compress.least_squares import RIDGES
from lilliput.compress.reconstruct import reconstruct
from lilliput.compress.search import DROPPED, Candidate, Family, per_layer
from lilliput.errors import ConfigError
from lilliput.types import PrunePlan

GRAIN = 96
"""Into how many parts the neurons of a block are divided: the unit in which they go."""

EIGHT = 8
"""Neurons go by multiples of this, but for small blocks: kernels read so many at a time, and a rest costs as much."""

MEASURED = 6
"""Candidates of a budget that are built, reconstructed and measured; the rest is judged by the estimate."""

SAMPLE = 200
"""Texts on which candidates are fitted, and others on which they are measured; the chosen one is fitted to all."""

COMPARED = (1e-2,)
"""The ridge of candidates that are compared with each other: a search for the best is most of the work where layers
have thousands of inputs, and only the chosen one needs it."""


@dataclass(frozen=True)
class Found:
    """A plan, its model, and how far the model's answers are from the unpruned one's (see `CalibrationTexts`)."""

    plan: PrunePlan
    model: Any
    divergence: float
    candidate: Candidate


class Planner:
    """Finds plans for one model.

    Which blocks go as a whole is measured once (`greedy_removal`); for a budget, each number of blocks proposes its
    best candidate, or the uniform shapes that just fit do, and the most promising are built and measured.

    Args:
        rankings: which heads, neurons and dimensions of ``model`` go first.
        texts: to measure on; the reconstruction reads them too.
        cost_at: costs of a model whose residual stream has the given number of dimensions.
        uniform: all blocks get the same shape, which plain transformers loads.
        fitted: reconstruct what remains by least squares.
    """

    def __init__(
        self,
        model: Any,
        rankings: Rankings,
        texts: CalibrationTexts,
        cost_at: Callable[[int], Cost],
        *,
        uniform: bool,
        fitted: bool,
    ) -> None:
        self.model = model
        self.rankings = rankings
        self.texts = texts
        self.sample, self.others = texts.sample(SAMPLE), texts.sample(SAMPLE, shift=1)
        self.uniform = uniform
        self.fitted = fitted
        shapes = encoder.block_shapes_of(model)
        hidden = encoder.shape_of(model).hidden
        self.whole = PrunePlan.whole(shapes)
        self.removal = greedy_removal(self.whole, self._sliced)
        step = max(1, max(shape.ffn for shape in shapes) // GRAIN)
        step = step if step == 1 else -(-step // EIGHT) * EIGHT
        if uniform:
            size = encoder.head_size_of(model)
            self.candidates = uniform_search.uniform(rankings, self.removal, size, cost_at, step)
            self.family = Family.of(self.candidates, cost_at(hidden).unit, cost_at(size).rest())
        else:
            cost = cost_at(hidden)
            self.families = [
                _of_depth(rankings, self.removal, depth, cost, step) for depth in range(len(shapes), 0, -1)
            ]
            every = (candidate for family in self.families for candidate in family.candidates)
            self.family = Family.of(every, cost.unit, cost.rest())

    def best(
        self, budget: float, flag: str, report: Callable[[int, int], None] = lambda done, total: None
    ) -> Candidate:
        """The candidate within ``budget`` whose model is nearest to the unpruned one.

        Raises:
            ConfigError: nothing fits; the message says what would.
        """
        self.family.best(budget, flag)  # says what is wrong where nothing fits
        proposed = self._proposed(budget)[:MEASURED]
        chosen, least = proposed[0], math.inf
        for number, candidate in enumerate(proposed if len(proposed) > 1 else []):
            report(number, len(proposed))
            found = self.others.divergence(self._built(candidate.plan(self.rankings), self.sample, COMPARED))
            if found < least:
                chosen, least = candidate, found
        return chosen

    def like(self, candidate: Candidate, budget: float) -> Candidate | None:
        """The best candidate within another budget that is made of the same blocks, if there is one.

        By how much a measured cost is beside the estimate depends on the blocks more than on their sizes. Uniform
        shapes are too few to be chosen so.
        """
        kept = _blocks(candidate)
        for family in () if self.uniform else reversed(self.families):  # the fewest blocks first
            if kept <= _blocks(family.candidates[-1]):
                with contextlib.suppress(ConfigError):  # nothing made of so many blocks is as cheap
                    return family.best(budget)
        return None

    def sliced(self, candidate: Candidate) -> Any:
        """The model of a candidate without any reconstruction: what it costs does not depend on its weights."""
        return surgery.prune(self.model, candidate.plan(self.rankings))

    def built(self, candidate: Candidate) -> Found:
        """The model of a candidate, reconstructed on all texts."""
        plan = candidate.plan(self.rankings)
        model = self._built(plan, self.texts)
        return Found(plan, model, self.texts.divergence(model), candidate)

    def _built(self, plan: PrunePlan, texts: CalibrationTexts, ridges: Sequence[float] = RIDGES) -> Any:
        """The model that a plan leaves, reconstructed on ``texts`` where that is asked for."""
        return reconstruct(self.model, plan, texts, ridges) if self.fitted else surgery.prune(self.model, plan)

    def _proposed(self, budget: float) -> list[Candidate]:
        """The most promising first."""
        if self.uniform:
            return uniform_search.largest_within(self.candidates, budget)
        found = []
        for family in self.families:
            try:
                found.append(family.best(budget))
            except ConfigError:  # so many blocks cost more, whatever they keep
                continue
        return sorted(found, key=lambda one: (one.loss, one.cost))

    def _sliced(self, plan: PrunePlan) -> float:
        """How far the answers are without any reconstruction, on a part of the texts."""
        return self.sample.divergence(surgery.prune(self.model, plan))


def _blocks(candidate: Candidate) -> set[int]:
    """The numbers of the blocks of which something stays."""
    return {number for number, block in enumerate(candidate.blocks) if block != DROPPED}


def _of_depth(rankings: Rankings, removal: LayerRemoval, depth: int, cost: Cost, step: int) -> Family:
    """Plans in which the ``depth`` blocks that ``removal`` keeps longest each have a shape of their own."""
    kept = removal.kept(depth)
    some = replace(
        rankings, heads=tuple(rankings.heads[i] for i in kept), neurons=tuple(rankings.neurons[i] for i in kept)
    )
    found = per_layer(some, cost, step)
    gone = removal.divergence[len(rankings.heads) - depth]

    def whole(candidate: Candidate) -> Candidate:
        blocks = dict(zip(kept, candidate.blocks, strict=True))
        everywhere = tuple(blocks.get(i, DROPPED) for i in range(len(rankings.heads)))
        return replace(candidate, blocks=everywhere, loss=candidate.loss + gone)

    return replace(found, candidates=tuple(map(whole, found.candidates)))
