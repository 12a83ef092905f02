import numpy as np
import pytest
from numpy.typing import NDArray

from lilliput import statistics


def flags(text: str) -> np.ndarray:
    """'1101' as booleans."""
    return np.array([c == "1" for c in text])


def test_accuracy_interval_is_wilsons() -> None:
    # k = 8 of 10, z² = 3.8415: centre (0.8 + 0.19207) / 1.38415 = 0.71674,
    # half 1.96 sqrt(0.016 + 0.0096036) / 1.38415 = 0.22657.
    found = statistics.accuracy(flags("1111111100"))
    assert found.value == 0.8
    assert found.low == pytest.approx(0.4902, abs=1e-4)
    assert found.high == pytest.approx(0.9433, abs=1e-4)


def test_accuracy_interval_of_all_correct_stays_inside_one() -> None:
    found = statistics.accuracy(flags("1" * 20))
    assert found.value == 1.0
    assert found.high == pytest.approx(1.0)
    assert found.low == pytest.approx(20 / (20 + 3.8415), abs=1e-4)  # Wilson at p = 1 is n / (n + z²)


def test_retained_is_the_ratio_of_the_two_accuracies() -> None:
    student, teacher = flags("1110110000"), flags("1111111100")
    found = statistics.retained(student, teacher)
    assert found is not None
    assert found.value == pytest.approx(5 / 8)
    assert found.low < 5 / 8 < found.high


def cells(both: int, only_ours: int, only_theirs: int, neither: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Items of which so many are answered correctly by both, only ours, only theirs and neither."""
    counts = (both, only_ours, only_theirs, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


@pytest.mark.parametrize("counts", [(36, 12, 2, 0), (18, 0, 3, 29), (54, 0, 0, 0)])
def test_few_differences_are_judged_by_newcombe_s_method_10(counts: tuple[int, int, int, int]) -> None:
    found = statistics.difference(*cells(*counts))
    # The first is the example of his table; the others are from an independent computation of his formulas.
    expected = {36: (0.0569, 0.3404), 18: (-0.1349, 0.0160), 54: (-0.0664, 0.0664)}[counts[0]]
    assert (found.low, found.high) == pytest.approx(expected, abs=5e-5)


def test_agreeing_on_few_items_proves_little_and_on_many_much() -> None:
    few, many = (statistics.retained(*cells(9 * n, 0, 0, n)) for n in (5, 500))
    assert few is not None
    assert many is not None
    assert few.value == many.value == 1.0
    assert few.low < 0.95 < 1.05 < few.high
    assert 0.995 < many.low < 1.0 < many.high < 1.005


def test_a_share_of_few_items_is_not_taken_for_proven() -> None:
    # 97% are asked for and 96.9% are retained: of samples of 60 at most 2.5% may say that more is proven (1% more here
    # for chance).
    rng = np.random.default_rng(0)
    shares = np.array([0.88 - 0.02 - 0.88 * 0.031, 0.02, 0.02 + 0.88 * 0.031, 0.12 - 0.02])
    proven = 0
    for counts in rng.multinomial(60, shares, size=600):
        found = statistics.retained(*cells(*counts))
        assert found is not None
        proven += found.low >= 0.97
    assert proven <= 600 * 0.035


def test_retained_interval_matches_drawing_the_items_one_by_one() -> None:
    rng = np.random.default_rng(7)
    teacher = rng.random(900) < 0.88
    student = np.where(rng.random(900) < 0.93, teacher, ~teacher)
    assert (student != teacher).sum() >= statistics.FEW
    drawn = rng.integers(0, 900, size=(4000, 900))
    ratios = student[drawn].sum(axis=1) / teacher[drawn].sum(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    found = statistics.retained(student, teacher)
    assert found is not None
    assert found.low == pytest.approx(low, abs=0.004)
    assert found.high == pytest.approx(high, abs=0.004)


def test_retained_is_seeded() -> None:
    a, b = cells(300, 40, 60, 20)
    assert statistics.retained(a, b, seed=3) == statistics.retained(a, b, seed=3)


def test_nothing_to_retain_where_the_teacher_is_never_right() -> None:
    assert statistics.retained(flags("10"), flags("00")) is None


def test_difference_is_in_accuracy() -> None:
    found = statistics.difference(flags("1100"), flags("1111"))
    assert found.value == pytest.approx(-0.5)
    many = statistics.difference(*cells(200, 0, 200, 0))
    # only "theirs" cells differ: the difference is -Binomial(400, 1/2)/400, which has a deviation of 1/40.
    assert (many.low, many.high) == pytest.approx((-0.5 - 1.96 / 40, -0.5 + 1.96 / 40), abs=0.004)


def test_mcnemar_is_the_exact_binomial_test() -> None:
    # 1 against 5 discordant items: 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64.
    ours = flags("1" + "0" * 5 + "11")
    theirs = flags("0" + "1" * 5 + "11")
    assert statistics.mcnemar(ours, theirs) == pytest.approx(14 / 64)
    assert statistics.mcnemar(theirs, ours) == pytest.approx(14 / 64)


def test_mcnemar_without_discordant_items_is_one() -> None:
    assert statistics.mcnemar(flags("1100"), flags("1100")) == 1.0


def test_agreement_counts_equal_labels() -> None:
    assert statistics.agreement([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75


def test_calibration_error_by_hand() -> None:
    # Five bins. 0.9 and 0.95 share (0.8, 1]: accuracy 1/2, confidence 0.925, gap 0.425 for 2 of 4 items.
    # 0.6 and 0.55 share (0.4, 0.6]: accuracy 1, confidence 0.575, gap 0.425 for 2 of 4 items.
    probabilities = [[0.9, 0.1], [0.05, 0.95], [0.6, 0.4], [0.45, 0.55]]
    gold = [0, 0, 0, 1]
    assert statistics.calibration_error(probabilities, gold, bins=5) == pytest.approx(0.425)


def test_calibration_bins_are_closed_above() -> None:
    # 0.6 is in (0.4, 0.6] and 0.61 in (0.6, 0.8]: |1 - 0.6| / 2 + |0 - 0.61| / 2. Sharing a bin they would cancel.
    probabilities = [[0.6, 0.4], [0.61, 0.39]]
    assert statistics.calibration_error(probabilities, [0, 1], bins=5) == pytest.approx(0.4 / 2 + 0.61 / 2)


def test_certain_and_right_is_perfectly_calibrated() -> None:
    assert statistics.calibration_error([[1.0, 0.0], [0.0, 1.0]], [0, 1]) == 0.0


def test_pareto_keeps_what_nobody_beats() -> None:
    scores = [0.90, 0.90, 0.85, 0.84, 0.80, None, 0.99]
    costs = [10.0, 5.0, 2.0, 3.0, 1.0, 0.1, None]
    assert statistics.pareto(scores, costs) == [False, True, True, False, True, False, False]


def test_equal_points_stay_together_on_the_frontier() -> None:
    assert statistics.pareto([0.9, 0.9], [1.0, 1.0]) == [True, True]


def test_median_interval_of_ten_is_second_to_ninth() -> None:
    # P[B(10, 1/2) <= 1] = 11/1024 each side (97.9% inside); with the third it would be 56/1024 each side.
    found = statistics.median_interval([5, 3, 1, 2, 4, 6, 7, 8, 9, 10])
    assert found == statistics.Estimate(5.5, 2.0, 9.0)
    assert 2 * 11 / 1024 <= 0.05 < 2 * 56 / 1024


def test_median_interval_of_few_values_is_their_range() -> None:
    assert statistics.median_interval([2.0, 1.0, 3.0]) == statistics.Estimate(2.0, 1.0, 3.0)


@pytest.mark.parametrize("bad", [[], [0.5], [[True]]])
def test_wrong_shapes_are_refused(bad: list) -> None:
    with pytest.raises(ValueError, match="boolean"):
        statistics.accuracy(bad)


def test_pairs_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 2"):
        statistics.retained(flags("111"), flags("11"))
    with pytest.raises(ValueError, match="one length"):
        statistics.agreement([1, 2], [1])
    with pytest.raises(ValueError, match="probabilities"):
        statistics.calibration_error([[0.5, 0.5]], [0, 1])
    with pytest.raises(ValueError, match="median"):
        statistics.median_interval([])


def test_jackknife_of_a_mean_is_students_interval() -> None:
    # 2, 4, 9: mean 5, s² = (9 + 1 + 16) / 2 = 13, standard error sqrt(13 / 3), t of 2 degrees 4.3027.
    values = [2.0, 4.0, 9.0]
    found = statistics.jackknife(lambda rows: float(np.mean([values[i] for i in rows])), range(3))
    assert found.value == 5
    assert found.high - 5 == pytest.approx(4.302653 * (13 / 3) ** 0.5, rel=1e-5)
    assert found.low == pytest.approx(10 - found.high)


def test_jackknife_of_groups_covers_an_f1_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)

    def f1(rows) -> float:  # type: ignore[no-untyped-def]
        gold, found = drawn[0, rows], drawn[1, rows]
        return float(2 * (gold & found).sum() / max(gold.sum() + found.sum(), 1))

    hits = 0
    for _ in range(200):
        gold = rng.random(300) < 0.3
        drawn = np.array([gold, np.where(rng.random(300) < 0.2, ~gold, gold)])
        found = statistics.jackknife(f1, np.arange(300))
        hits += found.low <= 2 * 0.3 * 0.8 / (0.3 + 0.3 * 0.8 + 0.7 * 0.2) <= found.high
    assert 180 <= hits <= 198  # 95% of 200 is 190, with a standard deviation of 3


def test_jackknife_needs_two_items() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        statistics.jackknife(lambda rows: 1.0, [3])


def test_the_interval_of_a_mean_is_students() -> None:
    # 2, 4, 9: mean 5, s² = (9 + 1 + 16) / 2 = 13, standard error sqrt(13 / 3), t of 2 degrees 4.3027.
    found = statistics.mean([2.0, 4.0, 9.0])
    assert found.value == 5
    assert found.high - 5 == pytest.approx(4.302653 * (13 / 3) ** 0.5, rel=1e-5)
    assert found.low == pytest.approx(10 - found.high)
    assert statistics.mean([0.25] * 3) == statistics.Estimate(0.25, 0.25, 0.25)


@pytest.mark.parametrize("bad", [[], [1.0], [[1.0, 2.0]]])
def test_a_mean_needs_two_values(bad: list) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        statistics.mean(bad)
