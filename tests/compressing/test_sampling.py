"""The sampler: seeded, never the same twice, and it learns."""

import pytest

from lilliput.compressing.plan import Plan
from lilliput.compressing.recommendation import Wanted
from lilliput.compressing.records import Proposal, Result
from lilliput.compressing.sampling import Sampler
from lilliput.compressing.situation import Pace, Situation

SEEN = Situation(6, 384, 12, 1536, 30522, 6000, 14000, 1000, 3000, 0.87, 3.7, 23_000_000, (8.0,) * 6, 70.0, Pace(1, 1))
KNOWN = Plan(1, 2, 4, 5, 6000, 14000)


def sampler(*kinds, wanted=None, seed=0):
    return Sampler(kinds, SEEN, wanted or Wanted(speedup=6), KNOWN, seed)


def grow(sampling, count, score):
    """Propose, and find out what ``score`` says, so many times."""
    tried, results = {}, []
    for number in range(count):
        kind, settings = sampling.propose(tried, results)
        tried[number] = Proposal(number, kind, settings)
        results.append(Result(number, 2, score(kind, settings), settings.get("speedup", 3.0), 1, 1.0, "x"))
    return tried


def test_the_same_seed_and_results_propose_the_same():
    def score(kind, settings):
        return 0.8 + 0.01 * settings["epochs"]

    one, other = grow(sampler("prune"), 6, score), grow(sampler("prune"), 6, score)
    assert one == other
    assert one != grow(sampler("prune", seed=1), 6, score)


def test_settings_lie_in_the_kinds_space_and_are_new():
    tried = grow(sampler("prune", "conv", "static"), 14, lambda kind, settings: 0.5)
    for one in tried.values():
        if one.kind == "prune":
            assert 4.5 <= one.settings["speedup"] <= 9.0
            assert 0 <= one.settings["augment"] <= KNOWN.copies
    assert len({(one.kind, str(sorted(one.settings.items()))) for one in tried.values()}) == 14


def test_it_learns_where_good_ones_lie():
    tried = grow(sampler("prune"), 24, lambda kind, settings: 0.9 - 0.1 * abs(settings["epochs"] - 4))
    late = [one.settings["epochs"] for one in list(tried.values())[12:]]
    assert sum(epochs >= 3 for epochs in late) > len(late) / 2


def test_what_can_be_of_no_use_is_not_proposed():
    assert sampler("prune").propose({}, [], lambda kind, settings: False) is None
    kind, settings = sampler("prune").propose({}, [], lambda kind, settings: settings["epochs"] == 2)
    assert (kind, settings["epochs"]) == ("prune", 2)


def test_kinds_that_do_not_vary_propose_nothing():
    assert sampler("vocabulary").propose({}, []) is None


def test_results_outside_the_space_do_not_hurt():
    tried = {0: Proposal(0, "prune", {"speedup": 50.0, "epochs": 2, "augment": 1, "learning_rate": 3e-4})}
    found = sampler("prune").propose(tried, [Result(0, 2, 0.9, 50.0, 1, 1.0, "x")])
    assert found is not None
    assert found[1]["speedup"] == pytest.approx(6.75, rel=0.4)
