"""Plans for budgets against enumeration of all plans, and what is measured on the way."""

import dataclasses
import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput.compress.importance import Ranking, Rankings
from lilliput.compress.layer_removal import LayerRemoval, greedy_removal, without
from lilliput.compress.search import DROPPED, Candidate, Family, levels, per_layer
from lilliput.compress.uniform_search import largest_within, shape_of, uniform
from lilliput.errors import ConfigError
from lilliput.types import BlockShape, PrunePlan

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)


@dataclasses.dataclass(frozen=True)
class LinearCost:
    """Costs in proportion to what is kept; the last block has prices of its own."""

    head: float = 3
    neuron: float = 1
    kept: float = 1
    last: float = 2
    around: float = 7
    unit: str = "ms"

    def attention(self, heads, last):
        return self.head * heads * (self.last if last else 1)

    def feed_forward(self, neurons, last):
        return self.neuron * neurons

    def block(self, last):
        return self.kept

    def rest(self):
        return self.around

    def total(self, blocks):
        pairs = [(block, number == len(blocks) - 1) for number, block in enumerate(blocks)]
        return self.around + sum(
            self.attention(block.heads, last) + self.feed_forward(block.ffn, last) + self.block(last)
            for block, last in pairs
        )


def ranking(*steps):
    """The structures go in rising order, each adding its step to the loss."""
    return Ranking(tuple(range(len(steps))), (0, *itertools.accumulate(steps)))


def rankings(blocks, dimensions=()):
    """Of blocks given as (steps of heads, steps of neurons)."""
    return Rankings(
        tuple(ranking(*heads) for heads, _ in blocks), tuple(ranking(*ffn) for _, ffn in blocks), ranking(*dimensions)
    )


def every_plan(given, cost, step):
    """All ways to keep parts of the blocks, but for nothing at all: (cost, loss, what is kept)."""
    options = [
        [BlockShape(h, f) for h in range(len(heads.order) + 1) for f in levels(len(ffn.order), step)]
        for heads, ffn in zip(given.heads, given.neurons, strict=True)
    ]
    for blocks in itertools.product(*options):
        kept = [block for block in blocks if block != DROPPED]
        if kept:
            loss = sum(
                heads.loss[len(heads.order) - block.heads] + ffn.loss[len(ffn.order) - block.ffn]
                for heads, ffn, block in zip(given.heads, given.neurons, blocks, strict=True)
            )
            yield cost.total(kept), loss, blocks


steps = st.integers(0, 9)
whole_blocks = st.lists(
    st.tuples(st.lists(steps, min_size=1, max_size=2), st.lists(steps, min_size=1, max_size=4)), min_size=1, max_size=3
)
costs = st.builds(LinearCost, *(st.integers(0, 4) for _ in range(2)), st.integers(1, 3), st.integers(0, 3))


def span(given, cost):
    """What the unpruned blocks cost: with so many bins each is 1 wide, and whole costs are not rounded."""
    whole = [BlockShape(len(h.order), len(f.order)) for h, f in zip(given.heads, given.neurons, strict=True)]
    return int(cost.total(whole) - cost.rest())


@EXAMPLES
@given(whole_blocks, costs, st.integers(1, 3))
def test_every_budget_gets_the_optimum(blocks, cost, step):
    given = rankings(blocks)
    family = per_layer(given, cost, step, bins=span(given, cost))
    plans = list(every_plan(given, cost, step))
    for budget in sorted({spent for spent, _, _ in plans if spent <= span(given, cost) + cost.rest()}):
        optimum = min(loss for spent, loss, _ in plans if spent <= budget)
        found = family.best(budget)
        assert found.loss == optimum
        assert found.cost <= budget


@EXAMPLES
@given(whole_blocks, costs, st.integers(1, 3), st.integers(3, 40))
def test_coarse_costs_never_break_a_budget_and_lose_no_more_than_they_say(blocks, cost, step, bins):
    given = rankings(blocks)
    family = per_layer(given, cost, step, bins=bins)
    plans = list(every_plan(given, cost, step))
    losses = {kept: (spent, loss) for spent, loss, kept in plans}
    for candidate in family.candidates:
        spent, loss = losses[candidate.blocks]
        assert (candidate.cost, candidate.loss) == (pytest.approx(spent), pytest.approx(loss))
    slack = len(blocks) * span(given, cost) / bins
    for budget in sorted({spent for spent, _, _ in plans}):
        within = [loss for spent, loss, _ in plans if spent <= budget - slack]
        if within and budget <= span(given, cost) + cost.rest():
            assert family.best(budget).loss <= min(within) + 1e-9


@EXAMPLES
@given(whole_blocks, costs)
def test_no_candidate_beats_another_one(blocks, cost):
    family = per_layer(rankings(blocks), cost, 1, bins=50)
    for left, right in itertools.pairwise(family.candidates):
        assert left.cost < right.cost
        assert left.loss > right.loss


def test_the_last_block_that_is_kept_has_prices_of_its_own():
    """Two equal blocks of one head (loss 5) and one neuron (loss 1). A head costs 3, and 30 in the last block, so that
    of two heads the one in the first block stays and the neuron of the second one makes it an inner block."""
    given = rankings([([5], [1]), ([5], [1])])
    family = per_layer(given, LinearCost(last=10, around=0), 1, bins=1000)
    found = family.best(7)
    assert found.blocks == (BlockShape(1, 1), BlockShape(0, 1))
    assert (found.cost, found.loss) == (3 + 1 + 1 + 1 + 1, 5)


def test_what_is_kept_is_what_matters_most():
    given = Rankings(
        (Ranking((2, 0, 1), (0, 1, 2, 3)), Ranking((0,), (0, 1))),
        (Ranking((1, 0, 3, 2), (0, 1, 2, 3, 4)), Ranking((0, 1), (0, 1, 2))),
        Ranking((3, 1, 0, 2), (0, 1, 2, 3, 4)),
    )
    candidate = Candidate((BlockShape(2, 3), DROPPED), 2, 0.0, 0.0)
    assert candidate.plan(given) == PrunePlan(((0, 1), ()), ((0, 2, 3), ()), (0, 2))
    assert dataclasses.replace(candidate, dimensions=None).plan(given).dimensions is None


def test_out_of_reach_says_what_is_in_reach_and_why():
    family = per_layer(rankings([([1, 1], [1, 1])]), LinearCost(around=1234.56), 1)
    with pytest.raises(ConfigError, match=r"--latency: 3 ms is out of reach.* of which 1235 ms are emb") as caught:
        family.best(3, "--latency")
    reachable = float(re.search(r"costs ([\d.]+) ms", str(caught.value))[1])
    assert family.best(reachable) == family.candidates[0]
    assert family.candidates[0].cost == pytest.approx(1234.56 + 2)  # one neuron, and what any block costs


def test_same_input_same_family():
    given = rankings([([1, 1], [1, 1]), ([1, 1], [1, 1])])
    assert per_layer(given, LinearCost(), 1) == per_layer(given, LinearCost(), 1)
    assert per_layer(given, LinearCost(), 1).candidates[-1].blocks == (BlockShape(2, 2), BlockShape(2, 2))


# -- whole layers


def test_layers_go_greedily_by_measured_divergence():
    """Alone, block 1 matters least; with it gone, block 0 matters less than block 2 does."""
    measured = {(1, 2): 3.0, (0, 2): 1.0, (0, 1): 2.0, (2,): 4.0, (0,): 5.0}
    seen = []

    def evaluate(plan):
        seen.append(plan.layers)
        return measured[plan.layers]

    removal = greedy_removal(PrunePlan.whole([BlockShape(1, 1)] * 3), evaluate)
    assert removal == LayerRemoval((1, 0, 2), (0.0, 1.0, 4.0))
    assert [removal.kept(count) for count in (1, 2, 3)] == [(2,), (0, 2), (0, 1, 2)]
    assert len(seen) == len(set(seen)) == 5


def test_a_plan_without_blocks_keeps_the_rest():
    plan = PrunePlan(((0,), (1,)), ((2,), (3,)), (4,), (5,))
    assert without(plan, [0]) == PrunePlan(((), (1,)), ((), (3,)), (4,), (5,))


# -- uniform shapes


def uniform_candidates():
    given = rankings([([1, 10], [1, 2, 3, 4]), ([2, 20], [5, 6, 7, 8])], dimensions=[0.25] * 8)
    removal = LayerRemoval((1, 0), (0.0, 100.0))
    return uniform(given, removal, 4, lambda hidden: LinearCost(around=hidden), 2)


def test_uniform_shapes_have_the_losses_and_costs_of_their_parts():
    found = {shape_of(one): one for one in uniform_candidates()}
    assert set(found) == {(n, h, f) for n in (1, 2) for h in (1, 2) for f in (2, 4)}
    one = found[2, 1, 2]  # half of the heads, neurons and dimensions of both blocks
    assert one.loss == (1 + 2) + (1 + 2 + 5 + 6) + 4 * 0.25
    assert one.cost == 4 + (3 + 2 + 1) + (6 + 2 + 1)
    assert one.dimensions == 4
    alone = found[1, 2, 4]
    assert (alone.loss, alone.dimensions, alone.blocks) == (100.0, None, (BlockShape(2, 4), DROPPED))


def test_the_largest_uniform_shapes_within_a_budget():
    candidates = uniform_candidates()
    for budget in range(9, 45):
        fitting = {shape_of(one) for one in candidates if one.cost <= budget}
        expected = {
            one
            for one in fitting
            if not any(o != one and all(a >= b for a, b in zip(o, one, strict=True)) for o in fitting)
        }
        found = largest_within(candidates, budget)
        assert {shape_of(one) for one in found} == expected
        assert [one.loss for one in found] == sorted(one.loss for one in found)
        best = Family.of(candidates, "ms", 4)
        if found:
            assert best.best(budget).loss == found[0].loss
