"""The frontier in three objectives, and thinning it."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput.compressing.frontier import Point, beats, frontier, thin


def trials(points):
    return [point.trial for point in points]


def test_a_point_is_beaten_where_another_is_better_in_one_thing_and_worse_in_none():
    slow, fast = Point(1, 0.9, 2.0, 10e6), Point(2, 0.9, 3.0, 10e6)
    assert beats(fast, slow)
    assert not beats(slow, fast)
    # Smaller, but slower: neither beats the other.
    small = Point(3, 0.9, 2.0, 4e6)
    assert not beats(fast, small)
    assert not beats(small, fast)
    # A hundredth faster is the same speed: accuracy decides.
    nearly = Point(4, 0.91, 2.98, 10e6)
    assert beats(nearly, fast)
    assert not beats(fast, nearly)


def test_the_frontier_in_accuracy_speed_and_size():
    points = [
        Point(0, 0.90, 2.0, 16e6),
        Point(1, 0.89, 4.0, 15e6),
        Point(2, 0.88, 3.9, 15e6),  # beaten by 1
        Point(3, 0.87, 4.0, 5e6),  # smaller
        Point(4, 0.80, 60.0, 12e6),
        Point(5, 0.79, 50.0, 12e6),  # beaten by 4
        Point(6, 0.80, 60.0, 12e6),  # as 4: the first stays
    ]
    assert trials(frontier(points)) == [0, 1, 3, 4]


def test_a_chain_of_small_steps_does_not_lead_away_from_a_fast_model():
    # Each is 1.5% slower and a little better than the one before it, which it beats.
    points = [Point(n, 0.85 + 0.001 * n, 6.0 / 1.015**n, 1e7) for n in range(20)]
    found = frontier(points)
    assert min(abs(point.speedup - 6.0) for point in found) < 0.12
    assert found[0].trial == 19


def test_of_equal_scores_the_smaller_stays_where_it_is_as_fast():
    assert trials(frontier([Point(0, 0.9, 3.0, 2e7), Point(1, 0.9, 2.97, 1e7)])) == [1]


coordinates = st.tuples(st.floats(0.5, 1), st.floats(1, 100), st.floats(1e5, 1e8))


@given(st.lists(coordinates, min_size=1, max_size=15))
@settings(max_examples=60, deadline=None)
def test_nothing_on_the_frontier_is_beaten_and_the_best_in_accuracy_lies_on_it(made):
    points = [Point(number, *values) for number, values in enumerate(made)]
    found = frontier(points)
    assert found
    assert not any(beats(one, other) for one, other in itertools.permutations(found, 2))
    assert all(any(beats(other, point) for other in points) for point in points if point not in found) or len(
        {(point.score, point.speedup, point.bytes) for point in points}
    ) < len(points)


def test_thinning_keeps_the_ends_and_what_must_stay():
    points = [Point(n, 0.9 - 0.02 * n, 2.0 * 1.5**n, 1e7) for n in range(6)]
    crowded = [*points, Point(6, 0.859, 2.0 * 1.5**2.05, 1e7)]  # next to point 2
    assert trials(thin(crowded, 6)) == [0, 1, 2, 3, 4, 5] or trials(thin(crowded, 6)) == [0, 1, 6, 3, 4, 5]
    assert 6 in trials(thin(crowded, 6, always={6}))
    assert {0, 5} <= set(trials(thin(crowded, 3)))
    assert trials(thin(points, 1, always={3})) == [3]
    assert trials(thin(points, 10)) == [0, 1, 2, 3, 4, 5]
