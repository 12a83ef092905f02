from collections.abc import Callable

import pytest

from lilliput import timing


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A clock that moves only when it is told to."""
    now = 0

    def advance(nanoseconds: int) -> None:
        nonlocal now
        now += nanoseconds

    monkeypatch.setattr(timing, "clock", lambda: now)
    return advance


def test_each_call_is_timed_alone(ticking: Callable[[int], None]) -> None:
    def work(nanoseconds: int) -> str:
        ticking(nanoseconds)
        return f"took {nanoseconds}"

    answers, elapsed = timing.time_each(work, [5, 70, 600])
    assert answers == ["took 5", "took 70", "took 600"]
    assert elapsed == [5, 70, 600]


def test_warm_up_lasts_as_long_as_asked_and_cycles_through_the_items(ticking: Callable[[int], None]) -> None:
    seen: list[str] = []

    def work(item: str) -> None:
        seen.append(item)
        ticking(100_000_000)

    expected = timing.warm_up(work, ["a", "b", "c"], seconds=0.65, least=5)
    assert seen == ["a", "b", "c", "a", "b", "c", "a"]  # 0.6 s is too short, 0.7 s is enough
    assert expected == 100_000_000


def test_warm_up_makes_the_least_number_of_calls(ticking: Callable[[int], None]) -> None:
    calls: list[int] = []
    timing.warm_up(lambda item: (calls.append(item), ticking(10**10)), [1], seconds=0.0, least=5)
    assert len(calls) == 5


def test_warm_up_without_items_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        timing.warm_up(str, [])


def test_percentiles_are_in_milliseconds() -> None:
    # 0, 1, ..., 100 ms: the q-quantile of 101 equally spaced values is exactly 100 q.
    found = timing.percentiles([ms * 1_000_000 for ms in range(101)])
    assert found == timing.Percentiles(p50=50.0, p90=90.0, p99=99.0)


def test_percentiles_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no durations"):
        timing.percentiles([])


def test_measure_times_every_item_in_every_round(ticking: Callable[[int], None]) -> None:
    calls: list[int] = []

    def work(milliseconds: int) -> None:
        calls.append(milliseconds)
        ticking(milliseconds * 1_000_000)

    found = timing.measure(work, [1, 2, 3], rounds=4, warm=0.0)
    assert len(calls) == 5 + 3 * 4
    assert found.p50 == 2.0


def test_spread_is_the_range_over_the_median() -> None:
    assert timing.spread([9.0, 10.0, 12.0]) == pytest.approx(0.3)
    assert timing.spread([4.0]) == 0.0
