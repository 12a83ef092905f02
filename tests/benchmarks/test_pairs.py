"""Pairs of answers, counted and made anew."""

import numpy as np

from lilliput import statistics
from lilliput.benchmarks.pairs import Pairs


def test_pairs_are_counted():
    ours = [True, True, False, False, True, False]
    theirs = [True, False, True, True, True, False]
    pairs = Pairs.of(ours, theirs)
    assert pairs == Pairs(both=2, ours=1, theirs=2, neither=1)
    assert pairs.n == 6
    assert pairs + Pairs(1, 0, 0, 3) == Pairs(3, 1, 2, 4)


def test_flags_are_the_same_pairs_to_every_statistic():
    draw = np.random.default_rng(0)
    ours, theirs = draw.random(200) < 0.8, draw.random(200) < 0.85
    pairs = Pairs.of(ours, theirs)
    assert Pairs.of(*pairs.flags()) == pairs
    assert statistics.retained(*pairs.flags()) == statistics.retained(ours, theirs)
    assert statistics.difference(*pairs.flags()) == statistics.difference(ours, theirs)
