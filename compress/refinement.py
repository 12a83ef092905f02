"""Improve a plan by measuring its neighbours.

A search under estimated losses takes blocks for independent. Where they are not, a plan of the same cost that keeps
one head more here and some neurons fewer there may be better, and only measuring tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lilliput.types import PrunePlan

if TYPE_CHECKING:
    from lilliput.compress.cost import Cost
    from lilliput.compress.importance import Ranking, Rankings


@dataclass(frozen=True)
class Refined:
    """A plan, what its model measures, and how many plans were measured on the way."""

    plan: PrunePlan
    divergence: float
    evaluations: int


def refine(
    starts: Sequence[PrunePlan],
    rankings: Rankings,
    cost: Cost,
    budget: float,
    step: int,
    evaluate: Callable[[PrunePlan], float],
    evaluations: int = 60,
) -> Refined:
    """Measure ``starts``, and from the best of them take every exchange that measures better.

    Exchanges are: a head or ``step`` neurons of one block for as many of another one, or of the other kind, as the
    budget then has room for; and the least important part that is kept for the most important one that is not. They
    are tried in the order of the loss that the rankings estimate, the first improvement is taken, and no plan is
    measured twice. It ends when no exchange is better, or after so many ``evaluations``.

    Args:
        starts: at least one; all of them are measured, whatever ``evaluations`` says.
        evaluate: how far the answers of a plan's model are from those of the unpruned one. Equal plans must give
            equal numbers.

    References: the search for exchanges is that of Kwon et al. 2022, "A Fast Post-Training Pruning Framework for
    Transformers", section 4.2, over blocks and kinds instead of within one block, and measured instead of estimated.
    """
    measured = {plan: evaluate(plan) for plan in dict.fromkeys(starts)}
    best = min(measured, key=lambda plan: measured[plan])
    improved = True
    while improved:
        improved = False
        for plan in _Neighbours(best, rankings, cost, budget, step).in_order():
            if len(measured) >= evaluations:
                return Refined(best, measured[best], len(measured))
            if plan in measured:
                continue
            measured[plan] = evaluate(plan)
            if measured[plan] < measured[best]:
                best, improved = plan, True
                break
    return Refined(best, measured[best], len(measured))


_Place = tuple[int, int]
"""A block, and 0 for its heads or 1 for its neurons."""

_Groups = tuple[tuple[tuple[int, ...], ...], ...]
"""What is kept of each block: of the heads first, then of the neurons."""


class _Neighbours:
    """The plans that one exchange leads to."""

    def __init__(self, plan: PrunePlan, rankings: Rankings, cost: Cost, budget: float, step: int) -> None:
        self.groups: _Groups = (plan.heads, plan.neurons)
        self.plan = plan
        self.rankings: tuple[tuple[Ranking, ...], ...] = (rankings.heads, rankings.neurons)
        self.units = (1, step)
        self.cost, self.budget = cost, budget
        self.places: list[_Place] = [(block, kind) for block in range(len(plan.heads)) for kind in (0, 1)]
        self.losses = {place: np.asarray(self._ranking(place).loss, np.float64) for place in self.places}
        self.orders = {place: [int(i) for i in self._ranking(place).order] for place in self.places}

    def in_order(self) -> list[PrunePlan]:
        """Those within the budget, the least estimated loss first."""
        found = sorted(enumerate([*self._shifts(), *self._swaps()]), key=lambda item: (item[1][0], item[0]))
        return [plan for _, (_, plan) in found]

    def _shifts(self) -> Iterator[tuple[float, PrunePlan]]:
        """Fewer at one place, more at another one: estimated loss and plan."""
        for giver in self.places:
            for taker in self.places:
                if taker != giver and (plan := self._shift(giver, taker)) is not None:
                    yield self._loss(plan, giver) + self._loss(plan, taker), plan

    def _shift(self, giver: _Place, taker: _Place) -> PrunePlan | None:
        """The giver gives no more than makes room for one unit, and the taker takes as many as there is room for."""
        missing = len(self.orders[taker]) - len(self._kept(taker))
        if not missing:
            return None
        for given in self._units(giver, len(self._kept(giver))):
            found = None
            for taken in self._units(taker, missing):
                plan = self._plan({giver: self._fewer(giver, given), taker: self._more(taker, taken)})
                if not plan.layers or self.cost.total(plan.shapes) > self.budget:
                    break
                found = plan
            if found is not None:
                return found
        return None

    def _swaps(self) -> Iterator[tuple[float, PrunePlan]]:
        """The least important kept for the most important not kept: estimated loss and plan."""
        for place in self.places:
            kept, loss = len(self._kept(place)), self.losses[place]
            missing = len(self.orders[place]) - kept
            count = min(self.units[place[1]], kept, missing)
            if count:
                chosen = set(self._more(place, count)) - set(self._kept(place))
                plan = self._plan({place: tuple(sorted(chosen | set(self._fewer(place, count))))})
                # Further out in the order, `count` parts cost what they cost there.
                yield float(loss[missing + count] - 2 * loss[missing] + loss[missing - count]), plan

    def _units(self, place: _Place, available: int) -> Iterator[int]:
        """1, 2, ... units, in single heads or neurons; the last one may be smaller."""
        unit = self.units[place[1]]
        yield from range(unit, available, unit)
        yield available

    def _kept(self, place: _Place) -> tuple[int, ...]:
        return self.groups[place[1]][place[0]]

    def _ranking(self, place: _Place) -> Ranking:
        return self.rankings[place[1]][place[0]]

    def _fewer(self, place: _Place, count: int) -> tuple[int, ...]:
        """What is kept there without the ``count`` least important."""
        kept = set(self._kept(place))
        return tuple(sorted([index for index in self.orders[place] if index in kept][count:]))

    def _more(self, place: _Place, count: int) -> tuple[int, ...]:
        """What is kept there and the ``count`` most important of the others."""
        kept = self._kept(place)
        inside = set(kept)
        others = [index for index in self.orders[place] if index not in inside]
        return tuple(sorted([*kept, *others[len(others) - count :]]))

    def _loss(self, plan: PrunePlan, place: _Place) -> float:
        """By how much the estimate of one place rises under ``plan``."""
        kept = (plan.heads, plan.neurons)[place[1]][place[0]]
        loss, count = self.losses[place], len(self.orders[place])
        return float(loss[count - len(kept)] - loss[count - len(self._kept(place))])

    def _plan(self, changes: dict[_Place, tuple[int, ...]]) -> PrunePlan:
        heads, neurons = (
            tuple(changes.get((block, kind), group) for block, group in enumerate(self.groups[kind])) for kind in (0, 1)
        )
        return replace(self.plan, heads=heads, neurons=neurons)
