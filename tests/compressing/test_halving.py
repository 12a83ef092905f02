"""Which candidates go on: hand-made tables of speed and score."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput.compressing.halving import Scored, band, noise_of, survivors


@pytest.mark.parametrize(
    ("speedup", "expected"),
    [(1.0, 0), (1.49, 0), (1.5, 1), (2.24, 1), (2.25, 2), (3.375, 3), (0.9, -1)],
)
def test_bands_are_half_as_wide_again_as_the_one_below(speedup, expected):
    assert band(speedup) == expected


def test_the_better_half_of_each_band_goes_on():
    candidates = [
        # band 0: three of them, of which two go on
        Scored(1, 1.1, 0.90),
        Scored(2, 1.2, 0.92),
        Scored(3, 1.4, 0.91),
        # band 3 (3.375 to 5.06): two, of which one goes on
        Scored(4, 4.0, 0.80),
        Scored(5, 4.5, 0.85),
        # band 5 (7.6 to 11.4): one alone goes on
        Scored(6, 9.0, 0.70),
    ]
    assert survivors(candidates) == [2, 3, 5, 6]


def test_what_a_faster_one_beats_by_more_than_chance_stays_behind():
    candidates = [Scored(1, 2.0, 0.80), Scored(2, 4.0, 0.82)]
    assert survivors(candidates, noise=0.0) == [2]
    assert survivors(candidates, noise=0.01) == [2]
    assert survivors(candidates, noise=0.03) == [1, 2]  # 2 points may be chance
    # A slower one that is better beats nobody: both may lie on the frontier.
    assert survivors([Scored(1, 2.0, 0.90), Scored(2, 4.0, 0.82)]) == [1, 2]


def test_a_candidate_without_a_score_goes_on_and_beats_nobody():
    candidates = [Scored(1, 60.0, None), Scored(2, 2.0, 0.9), Scored(3, 2.1, 0.8)]
    assert survivors(candidates) == [1, 2]


def test_of_equals_the_faster_goes_on_and_then_the_first():
    assert survivors([Scored(1, 2.5, 0.9), Scored(2, 2.6, 0.9)]) == [2]
    assert survivors([Scored(7, 2.5, 0.9), Scored(3, 2.5, 0.9)]) == [3]


def test_later_rounds_compete_with_earlier_ones():
    first = [Scored(1, 4.0, 0.85), Scored(2, 4.1, 0.80)]
    assert survivors(first) == [1]
    # In a band of four two go on, one of the old and one of the new.
    assert survivors([*first, Scored(3, 3.9, 0.86), Scored(4, 3.8, 0.70)]) == [1, 3]


@given(
    st.lists(st.tuples(st.floats(1, 100), st.one_of(st.none(), st.floats(0, 1))), min_size=1, max_size=30),
    st.floats(0, 0.2),
)
@settings(max_examples=60, deadline=None)
def test_the_best_of_all_goes_on_and_about_half_do(made, noise):
    candidates = [Scored(number, *pair) for number, pair in enumerate(made)]
    found = survivors(candidates, noise=noise)
    assert len(set(found)) == len(found)
    scored = [one for one in candidates if one.score is not None]
    if scored:
        best = max(one.score for one in scored)
        assert any(candidates[number].score == best for number in found)
        bands = len({band(one.speedup) for one in scored})
        assert len(found) <= len(candidates) - len(scored) + len(scored) / 2 + bands


def test_noise_is_the_error_of_a_difference_of_two_shares():
    # Var(a - b) = 2 p (1 - p) / n
    assert noise_of(0.9, 1000) == pytest.approx(math.sqrt(2 * 0.9 * 0.1 / 1000))
    assert noise_of(1.0, 10) == 0.0
