"""Intervals of what is measured in rounds: ratios of times, and quantiles of latencies. All are 95%.

References:
    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentile intervals).
    David and Nagaraja 2003, "Order Statistics", section 7.1 (intervals of quantiles, whatever the distribution).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from lilliput.statistics import RESAMPLES, Estimate, of_resamples


def of_totals(theirs: Sequence[float], ours: Sequence[float], seed: int = 0) -> Estimate:
    """``Σ theirs / Σ ours`` over rounds in which both did the same work, with a paired bootstrap interval.

    Rounds are drawn with replacement, theirs and ours of a round together, so that drift of the machine cancels out.

    Args:
        theirs, ours: time of each round, in any one unit; above 0.
    """
    pairs = np.array([theirs, ours], dtype=np.float64)  # [2, rounds]
    if pairs.ndim != 2 or not pairs.shape[1] or not (pairs > 0).all():
        raise ValueError("two lists of times above 0, of one length, are needed")
    rounds = pairs.shape[1]
    drawn = np.random.default_rng(seed).integers(rounds, size=(RESAMPLES, rounds))
    sums = pairs[:, drawn].sum(axis=2)  # [2, resamples]
    return of_resamples(float(pairs[0].sum() / pairs[1].sum()), sums[0] / sums[1])


def of_medians(new: Sequence[float], old: Sequence[float], seed: int = 0) -> Estimate:
    """``median(new) / median(old)`` of two runs that share no rounds, with a bootstrap interval: each is drawn anew.

    Args:
        new, old: one value a round; above 0.
    """
    first, second = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    if not first.size or not second.size or not (first > 0).all() or not (second > 0).all():
        raise ValueError("two lists of values above 0 are needed")
    draw = np.random.default_rng(seed)
    medians = [
        np.median(values[draw.integers(values.size, size=(RESAMPLES, values.size))], axis=1)
        for values in (first, second)
    ]
    return of_resamples(float(np.median(first) / np.median(second)), medians[0] / medians[1])


def of_quantile(values: Sequence[float], level: float) -> Estimate:
    """A quantile, linear between neighbours, with the interval between two order statistics.

    The number of ``n`` values below the true quantile is Binomial(n, level); the interval runs from the order statistic
    of its 2.5% point to the one after its 97.5% point. Where that lies beyond the largest value, it ends there.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if not n:
        raise ValueError("there are no values to take the quantile of")
    low, high = (int(binom.ppf(share, n, level)) for share in (0.025, 0.975))
    return Estimate(
        float(np.quantile(ordered, level)), float(ordered[max(0, low - 1)]), float(ordered[min(n - 1, high)])
    )
