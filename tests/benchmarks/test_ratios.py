"""Intervals of ratios and quantiles."""

import numpy as np
import pytest

from lilliput.benchmarks import ratios


def test_a_ratio_of_totals_by_hand() -> None:
    found = ratios.of_totals([10.0, 30.0], [2.0, 2.0])
    assert found.value == pytest.approx(10.0)
    # Two rounds drawn of two: 10/2, 40/4 or 30/2, each with probability 1/4, 1/2, 1/4.
    assert (found.low, found.high) == (5.0, 15.0)


def test_drift_that_hits_both_alike_leaves_the_ratio_sure() -> None:
    drift = np.linspace(1, 3, 12)
    found = ratios.of_totals(6 * drift, 2 * drift)
    assert (found.value, found.low, found.high) == pytest.approx((3.0, 3.0, 3.0))


def test_a_ratio_of_medians_is_sure_of_what_is_the_same_in_every_round() -> None:
    found = ratios.of_medians([3.0] * 8, [2.0] * 8)
    assert (found.value, found.low, found.high) == (1.5, 1.5, 1.5)
    loose = ratios.of_medians([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert loose.value == 1.0
    assert loose.low < 0.8 < 1.25 < loose.high


def test_the_interval_of_the_median_is_that_of_the_sign_test() -> None:
    # Of 10 values the numbers below the median are Binomial(10, 1/2), with 2.5% and 97.5% points 2 and 8: from the
    # second to the ninth value (counted from 1).
    found = ratios.of_quantile([float(value) for value in range(10)], 0.5)
    assert (found.value, found.low, found.high) == (4.5, 1.0, 8.0)


def test_the_interval_of_a_high_quantile_of_few_values_ends_at_the_largest() -> None:
    found = ratios.of_quantile([float(value) for value in range(50)], 0.99)
    assert found.high == 49.0
    assert found.low < found.value <= 49.0


def test_an_interval_of_quantiles_covers_the_true_one_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    true = -np.log(0.1)  # the 90% point of the exponential distribution
    found = [ratios.of_quantile(draw.exponential(size=200).tolist(), 0.9) for _ in range(400)]
    covered = sum(one.low <= true <= one.high for one in found)
    assert 370 <= covered <= 398  # 95% of 400 is 380; 10 below it is more than two standard deviations


@pytest.mark.parametrize(
    "call",
    [
        lambda: ratios.of_totals([], []),
        lambda: ratios.of_totals([1.0], [0.0]),
        lambda: ratios.of_medians([], [1.0]),
        lambda: ratios.of_medians([1.0], [-1.0]),
        lambda: ratios.of_quantile([], 0.5),
    ],
    ids=["no rounds", "no time", "no new rounds", "below zero", "no values"],
)
def test_what_has_no_ratio_is_refused(call) -> None:
    with pytest.raises(ValueError, match=r"needed|no values"):
        call()
