"""Intervals and paired tests for accuracy figures.

Everything takes per-item results on the same test items in the same order: ``correct`` arrays of booleans [n],
label arrays of integers [n], probabilities [n, labels]. Intervals are 95%.

References:
    Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    McNemar 1947, "Note on the sampling error of the difference between correlated proportions".
    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentile intervals).
    Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions based on paired data",
        method 10.
    Donner and Zou 2012, "Closed-form confidence intervals for functions of the normal mean and standard deviation",
        Statistical Methods in Medical Research 21 (the same for a ratio).
    Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks" (expected calibration error).
    Kott 2001, "The delete-a-group jackknife", Journal of Official Statistics 17.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, binomtest, t

RESAMPLES = 10_000
FEW = 50
"""Items on which two models differ in being right, below which resampling them gives intervals that are too short: with
none it would give no width at all. Intervals are put together from both models' own there."""
Z95 = 1.959963984540054  # the 97.5% quantile of the normal distribution


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, in the same unit."""

    value: float
    low: float
    high: float


def accuracy(correct: ArrayLike) -> Estimate:
    """Share of correct answers, with Wilson's score interval.

    With k of n correct, p = k/n and z = 1.96 the interval is
    (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n). It stays inside [0, 1] and needs no resampling.
    """
    hits = _flags(correct)
    return _share(int(hits.sum()), len(hits))


def _share(k: int, n: int) -> Estimate:
    p = k / n
    centre = p + Z95**2 / (2 * n)
    half = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n))
    scale = 1 + Z95**2 / n
    return Estimate(p, max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def retained(student: ArrayLike, teacher: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Estimate | None:
    """Student's accuracy over the teacher's on the same items, with a paired bootstrap interval.

    With few differences (see `FEW`) the interval is made of Wilson's for both accuracies p and q, [l, u] and [m, v],
    and their correlation c: its lower end is (A - sqrt(A² - l v (2p - l) (2q - v))) / (v (2q - v)), where
    A = p q - c (p - l) (v - q), and its upper end likewise with the other ends and a plus.

    Returns None where the teacher has no correct answer: there is nothing to retain.
    """
    ours, theirs = _pair(student, teacher)
    if not theirs.any():
        return None
    if (ours != theirs).sum() < FEW:
        return _few_retained(ours, theirs)
    both, only_ours, only_theirs = _resampled(ours, theirs, resamples, seed)
    # A resample without any correct teacher answer has no ratio; it can only happen with a handful of items.
    teacher_hits = both + only_theirs
    usable = teacher_hits > 0
    ratios = (both + only_ours)[usable] / teacher_hits[usable]
    return of_resamples(float(ours.sum() / theirs.sum()), ratios)


def difference(ours: ArrayLike, theirs: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Accuracy of ours minus accuracy of theirs on the same items, with a paired bootstrap interval.

    With few differences (see `FEW`) the interval is made of Wilson's for both accuracies p and q, [l, u] and [m, v],
    and their correlation c: p - q - sqrt((p - l)² - 2 c (p - l) (v - q) + (v - q)²) is its lower end, and the upper one
    is likewise that of the other ends.
    """
    first, second = _pair(ours, theirs)
    if (first != second).sum() < FEW:
        return _few_difference(first, second)
    _, only_ours, only_theirs = _resampled(first, second, resamples, seed)
    return of_resamples(float(first.mean() - second.mean()), (only_ours - only_theirs) / len(first))


def mcnemar(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Exact two-sided McNemar p-value: could two models of equal accuracy differ this much by chance?

    Of the items that exactly one model answers correctly, under the null hypothesis each belongs to either with
    probability 1/2. 1.0 where there is no such item.
    """
    first, second = _pair(ours, theirs)
    only_ours = int((first & ~second).sum())
    discordant = int((first != second).sum())
    return float(binomtest(only_ours, discordant, 0.5).pvalue) if discordant else 1.0


def agreement(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Share of items on which two models give the same label.

    Raises:
        ValueError: the lists are of different lengths, or empty.
    """
    first, second = np.asarray(ours), np.asarray(theirs)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"two lists of labels of one length are needed, not {first.shape} and {second.shape}")
    return float((first == second).mean())


def calibration_error(probabilities: ArrayLike, gold: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: how far a model's confidence is from how often it is right.

    ECE = Σ_b |B_b|/n · |accuracy(B_b) - confidence(B_b)| over ``bins`` equal-width bins (b/bins, (b+1)/bins] of the
    highest probability, as in Guo et al. 2017.

    Args:
        probabilities: [n, labels], rows sum to 1.
        gold: [n] label indices.

    Raises:
        ValueError: the shapes are others, or there are no items.
    """
    table, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(gold)
    if table.ndim != 2 or truth.shape != (len(table),) or not len(table):
        raise ValueError(f"probabilities [n, labels] and gold [n] are needed, not {table.shape} and {truth.shape}")
    confidence = table.max(axis=1)  # [n]
    hits = table.argmax(axis=1) == truth  # [n]
    # Bins are open below and closed above, so 0.2 belongs to (0.1, 0.2]; searchsorted counts the edges below it.
    inner_edges = np.arange(1, bins) / bins
    which = np.searchsorted(inner_edges, confidence, side="left")  # [n]
    gap = np.bincount(which, weights=hits - confidence, minlength=bins)  # Σ over the bin of (hit - confidence)
    return float(np.abs(gap).sum() / len(table))


def pareto(scores: Sequence[float | None], costs: Sequence[float | None]) -> list[bool]:
    """Which models no other model beats: at least as high a score at no more cost, and better in one of the two.

    A model whose score or cost is None (not measured) is not on the frontier and keeps nobody off it.
    """
    points = list(zip(scores, costs, strict=True))

    def beaten(score: float, cost: float) -> bool:
        return any(
            s is not None and c is not None and s >= score and c <= cost and (s > score or c < cost) for s, c in points
        )

    return [s is not None and c is not None and not beaten(s, c) for s, c in points]


def median_interval(values: Sequence[float]) -> Estimate:
    """The median of some repetitions, with the interval between two order statistics.

    The k-th smallest and k-th largest of n enclose the median of the distribution with probability
    1 - 2 P[Binomial(n, 1/2) < k], whatever its shape. k is the largest for which that is at least 95%: 2 of 10.
    Below 6 values no such k exists and the interval is the whole range.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if not n:
        raise ValueError("there are no values to take the median of")
    k = 1
    while 2 * binom.cdf(k, n, 0.5) <= 0.05:
        k += 1
    return Estimate(float(np.median(ordered)), float(ordered[k - 1]), float(ordered[n - k]))


def mean(values: ArrayLike) -> Estimate:
    """Mean of some values, one an item, with Student's interval: mean ± t_{n-1} s / sqrt(n), t the 97.5% quantile.

    Raises:
        ValueError: there are fewer than 2 values.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or len(numbers) < 2:
        raise ValueError(f"a list of at least 2 numbers is needed, not one of shape {numbers.shape}")
    middle, n = float(numbers.mean()), len(numbers)
    half = float(t.ppf(0.975, n - 1) * numbers.std(ddof=1) / math.sqrt(n))
    return Estimate(middle, middle - half, middle + half)


def jackknife(
    measure: Callable[[Sequence[int]], float], items: Sequence[int], groups: int = 20, seed: int = 0
) -> Estimate:
    """Any figure of some items, such as an F1, with the interval of the delete-a-group jackknife.

    With θ on all items, θ_j on all but group j of g and θ' the mean of these, the interval is
    θ ± t_{g-1} sqrt((g-1)/g Σ_j (θ_j - θ')²), t the 97.5% quantile of Student's distribution. It asks for g + 1
    measurements, where a bootstrap asks for hundreds. Items are dealt out to the groups at random; of a mean, with
    one item a group, it is Student's own interval.

    Raises:
        ValueError: there are fewer than 2 items.
    """
    g = min(groups, len(items))
    if g < 2:
        raise ValueError("one item has no spread: give at least 2")
    value = measure(items)
    dealt = np.random.default_rng(seed).permutation(len(items)) % g  # [items] the group of each
    left_out = np.array(
        [measure([item for item, its in zip(items, dealt, strict=True) if its != group]) for group in range(g)]
    )
    half = float(t.ppf(0.975, g - 1) * math.sqrt((g - 1) / g * ((left_out - left_out.mean()) ** 2).sum()))
    return Estimate(value, value - half, value + half)


def _flags(correct: ArrayLike) -> NDArray[np.bool_]:
    flags = np.asarray(correct)
    if flags.ndim != 1 or not len(flags) or flags.dtype != np.bool_:
        raise ValueError(f"a list of at least one boolean is needed, not {flags.dtype} of shape {flags.shape}")
    return flags


def _pair(ours: ArrayLike, theirs: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    first, second = _flags(ours), _flags(theirs)
    if len(first) != len(second):
        raise ValueError(f"paired statistics need the same items, not {len(first)} and {len(second)}")
    return first, second


def _resampled(
    ours: NDArray[np.bool_], theirs: NDArray[np.bool_], resamples: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Bootstrap counts [resamples] of items that both, only ours, only theirs answer correctly.

    Drawing n items with replacement gives multinomial counts of the four outcomes, so the counts are drawn
    directly: the same distribution, without n x resamples random numbers.
    """
    n = len(ours)
    cells = np.array(_cells(ours, theirs))
    counts = np.random.default_rng(seed).multinomial(n, cells / n, size=resamples)  # [resamples, 4]
    return counts[:, 0], counts[:, 1], counts[:, 2]


def _few_retained(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Estimate:
    p, q, c = accuracy(ours), accuracy(theirs), _correlation(ours, theirs)
    value = p.value / q.value

    def end(own: float, other: float, sign: int) -> float:
        middle = p.value * q.value - c * abs(p.value - own) * abs(q.value - other)
        under = other * (2 * q.value - other)
        if under <= 0:  # of the lower end alone, where the teacher's accuracy is small and uncertain
            return 0.0
        root = middle**2 - own * other * (2 * p.value - own) * (2 * q.value - other)
        return (middle + sign * math.sqrt(max(0.0, root))) / under

    return Estimate(value, end(p.low, q.high, -1), end(p.high, q.low, 1))


def _few_difference(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Estimate:
    p, q, c = accuracy(ours), accuracy(theirs), _correlation(ours, theirs)
    value = p.value - q.value

    def far(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * c * one * other + other**2))

    low, high = far(p.value - p.low, q.high - q.value), far(p.high - p.value, q.value - q.low)
    return Estimate(value, value - low, value + high)


def _correlation(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """Of being right, with Newcombe's correction for continuity where it is positive; 0 where one never differs."""
    a, b, c, d = _cells(ours, theirs)
    spread = float(a + b) * float(c + d) * float(a + c) * float(b + d)
    agreeing = float(a * d - b * c)
    agreeing = max(0.0, agreeing - len(ours) / 2) if agreeing > 0 else agreeing
    return agreeing / math.sqrt(spread) if spread else 0.0


def _cells(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Items that both, only ours, only theirs and neither answer correctly."""
    counts = ((ours & theirs).sum(), (ours & ~theirs).sum(), (~ours & theirs).sum(), (~ours & ~theirs).sum())
    both, only_ours, only_theirs, neither = map(int, counts)
    return both, only_ours, only_theirs, neither


def of_resamples(value: float, resampled: NDArray[np.float64]) -> Estimate:
    """A value with the interval from the 2.5% to the 97.5% point of what resampling gave."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
