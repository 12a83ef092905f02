"""Time, with a clock that stands still until it is moved."""

import os

import pytest

from lilliput.compressing.budget import MARGIN, Budget, Estimates, OutOfTime, Watched
from lilliput.reporter import Reporter


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_time_goes_on_where_the_last_process_stopped(tmp_path, clock):
    record = tmp_path / "time.json"
    budget = Budget(1800, record, clock)
    clock.now += 600
    assert (budget.spent, budget.left) == (600, 1200)
    budget.note()
    clock.now += 50_000  # the process was killed; the time until the next one does not count
    again = Budget(1800, record, clock)
    clock.now += 100
    assert again.spent == pytest.approx(700)
    assert again.left == pytest.approx(1100)


def test_without_a_budget_everything_fits(tmp_path, clock):
    budget = Budget(None, tmp_path / "time.json", clock)
    clock.now += 1e9
    assert budget.fits(1e12, 1e12)


def test_a_job_fits_with_a_margin_before_the_time_that_is_kept(tmp_path, clock):
    budget = Budget(1000, tmp_path / "time.json", clock)
    assert budget.fits(400, keep=1000 - MARGIN * 400)
    assert not budget.fits(401, keep=1000 - MARGIN * 400)
    clock.now += 1
    assert not budget.fits(400, keep=1000 - MARGIN * 400)


def test_a_damaged_record_counts_as_none(tmp_path, clock):
    (tmp_path / "time.json").write_text("{")
    assert Budget(10, tmp_path / "time.json", clock).spent == 0


def test_guesses_are_corrected_by_what_was_measured():
    estimates = Estimates()
    assert estimates.seconds("prune", 2, 100) == 100
    estimates.note("layers", 2, guess=100, seconds=300)
    assert estimates.seconds("prune", 2, 100) == 300  # of another kind, on the same rung
    assert estimates.seconds("prune", 1, 100) == 100
    for seconds in (50, 60, 900):
        estimates.note("prune", 2, guess=100, seconds=seconds)
    assert estimates.seconds("prune", 2, 200) == pytest.approx(120)  # the median, 0.6
    estimates.note("conv", 0, guess=10, seconds=0)  # was there already: says nothing
    assert estimates.seconds("conv", 0, 10) == 10


def test_work_stops_between_two_steps_when_its_time_is_over(clock):
    told = []

    class Inner(Reporter):
        def progress(self, done, total, what):
            told.append(done)

    watched = Watched(Inner(), deadline=150.0, clock=clock)
    watched.progress(1, 3, "training")
    clock.now = 150.5
    with pytest.raises(OutOfTime):
        watched.progress(2, 3, "training")
    assert told == [1]


def test_work_that_nobody_waits_for_stops(clock):
    Watched(Reporter(), None, parent=os.getppid(), clock=clock).check()
    with pytest.raises(OutOfTime):
        Watched(Reporter(), None, parent=1 if os.getppid() != 1 else 2, clock=clock).check()
