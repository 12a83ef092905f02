"""Recipes for a budget: a situation made by hand."""

import dataclasses
import math

import pytest

from lilliput.compressing import proposals
from lilliput.compressing.plan import (
    AGAIN,
    OVERHEAD,
    Plan,
    benchmark,
    ending,
    guess,
    lessons,
    members_within,
    plan,
    short_of,
    texts_within,
)
from lilliput.compressing.recommendation import Wanted
from lilliput.compressing.records import FIRST, FULL, SHORT
from lilliput.compressing.situation import Pace, Situation

SEEN = Situation(
    layers=6,
    hidden=384,
    heads=12,
    ffn=1536,
    vocabulary=30522,
    texts=6000,
    transfer=14000,
    validation=1000,
    test=3000,
    score=0.87,
    ms=3.7,
    bytes=23_000_000,
    by_layers=(8.0, 5.0, 3.0, 2.0, 1.3, 1.0),
    fastest=70.0,
    pace=Pace(train_s=0.01, read_s=0.004),
)
KNOWN = Plan(augment=1, epochs=2, windows_augment=4, windows_epochs=5, texts=6000, transfer=14000)


def test_a_situation_survives_json():
    assert Situation.of(SEEN.to_dict()) == SEEN
    assert Plan.of(KNOWN.to_dict()) == KNOWN


def test_the_guess_of_a_full_training_is_its_steps_and_validations():
    settings = {"epochs": 2, "augment": 1}
    # An epoch reads 6000 * 2 + 14000 texts, at the cost of 1/4 of the teacher and 5% that stay.
    expected = OVERHEAD + 2 * (26000 * 0.01 * 0.3 + 1000 * 0.004 * 0.3)
    assert guess("prune", FULL, settings, SEEN, KNOWN, speedup=4.0) == pytest.approx(expected)
    short = OVERHEAD + (1800 + 4200) * 0.01 * 0.3 + 1000 * 0.004 * 0.3
    assert guess("prune", SHORT, settings, SEEN, KNOWN, speedup=4.0) == pytest.approx(short)
    # An export is taken to last half of the teacher's 30 s; pruning makes three, and reads 1024 texts 30 times.
    assert guess("conv", FIRST, settings, SEEN, KNOWN, speedup=4.0) == OVERHEAD + 15
    assert guess("prune", FIRST, settings, SEEN, KNOWN, 4.0) == pytest.approx(OVERHEAD + 45 + 30 * 1024 * 0.004)
    assert guess(AGAIN, FIRST, settings, SEEN, KNOWN, 4.0) == pytest.approx(OVERHEAD + 45 + 20 * 1024 * 0.004)


def test_without_a_budget_candidates_learn_from_everything():
    found = plan(SEEN, math.inf, aim=6.0)
    assert (found.augment, found.epochs, found.texts, found.transfer) == (1, 3, 6000, 14000)


def test_on_a_slow_machine_pruning_looks_at_fewer_texts():
    assert plan(SEEN, 1500.0, aim=6.0).calibration == 1024
    slow = dataclasses.replace(SEEN, texts=1000, transfer=0, pace=Pace(train_s=0.02, read_s=0.012))
    found = plan(slow, 1500.0, aim=6.0)
    # 30 readings of 1,024 texts take 369 s, and three exports 45 s: more than a quarter of the time.
    assert found.calibration == 256
    assert found.epochs == 3  # everything else stays
    assert plan(slow, 3000.0, aim=6.0).calibration == 1024


def test_with_less_time_they_learn_less():
    plans = [plan(SEEN, left, aim=6.0) for left in (7200, 1500, 900, 300, 60)]
    work = [found.epochs * found.read_texts(found.augment) for found in plans]
    assert work == sorted(work, reverse=True)
    assert work[0] > work[-1]
    last = plans[-1]
    assert last.texts >= 500
    assert last.texts + last.transfer < 3000
    # Where it can be kept, a full training takes a sixth at most.
    for left, found in zip((7200, 1500, 900), plans, strict=False):
        settings = {"epochs": found.epochs, "augment": found.augment}
        assert guess("prune", FULL, settings, SEEN, found, 6.0) <= left / 6


def test_the_short_training_reads_a_part_of_many_texts_and_all_of_few():
    assert short_of(KNOWN) == (1800, 4200)
    assert short_of(dataclasses.replace(KNOWN, texts=120, transfer=0)) == (120, 0)


def test_a_teacher_gets_three_epochs_or_what_the_budget_allows():
    assert lessons(6000, 0.01, math.inf) == lessons(6000, 0.01, 1e5)
    assert lessons(6000, 0.01, math.inf).epochs == 3
    # 40% of 450 s at 0.012 s a text: 15000 texts, two epochs and a half
    assert dataclasses.astuple(lessons(6000, 0.01, 450)) == (2, 6000)
    # 40% of 90 s: 3000 texts of the 6000
    assert dataclasses.astuple(lessons(6000, 0.01, 90)) == (1, 3000)
    assert lessons(6000, 0.01, 1).texts == 200
    assert lessons(50, 0.01, 0.1).texts == 50


def test_a_short_budget_reads_fewer_test_texts():
    assert texts_within(SEEN, 6, 1e6) == 3000
    some = texts_within(SEEN, 6, benchmark(SEEN, 6, 1000) + 0.01)
    assert some == 1000
    assert texts_within(SEEN, 6, 1) == 200


# --- proposals -------------------------------------------------------------------------------------------------------


def test_a_short_budget_ships_fewer_models():
    whole = ending(SEEN, 6, SEEN.test)
    assert members_within(SEEN, 6, SEEN.test, whole) == 6
    assert members_within(SEEN, 6, SEEN.test, whole - 1) == 5
    assert members_within(SEEN, 6, SEEN.test, 0) == 2
    assert members_within(SEEN, 1, SEEN.test, 0) == 1
    for seconds in (whole / 2, whole / 1.5, whole):
        count = members_within(SEEN, 6, SEEN.test, seconds)
        assert count == 2 or ending(SEEN, count, SEEN.test) <= seconds


def test_kinds_are_found_and_unknown_ones_named():
    assert set(proposals.kinds()) == {"prune", "layers", "conv", "static", "vocabulary"}
    with pytest.raises(Exception, match="no kind of candidate is called 'quantum'"):
        proposals.get("quantum")


def test_the_grid_lies_around_the_target():
    speeds = [one["speedup"] for one in proposals.get("prune").grid(SEEN, Wanted(speedup=6), KNOWN)]
    assert speeds[0] == pytest.approx(6.0)
    assert min(speeds) == 3.0
    # Of the teacher's layers one is 8 times as fast; two are 5 times, which is no longer 6 within 5%.
    layers = proposals.get("layers").grid(SEEN, Wanted(speedup=6), KNOWN)
    assert [(one["layers"], one.get("heads")) for one in layers] == [(1, None), (1, 6)]
    layers = proposals.get("layers").grid(SEEN, Wanted(speedup=2.9), KNOWN)
    assert [one["layers"] for one in layers] == [3, 2]


def test_a_latency_is_a_speedup_once_the_teacher_was_timed():
    wanted = Wanted(latency=0.5).relative_to(3.7)
    assert wanted.speed == pytest.approx(7.4)
    assert proposals.get("prune").grid(SEEN, wanted, KNOWN)[0]["speedup"] == pytest.approx(7.4)


def test_an_impossible_speed_is_tried_as_far_as_it_goes():
    assert [one["speedup"] for one in proposals.get("prune").grid(SEEN, Wanted(speedup=5000), KNOWN)] == [59.5]


def test_a_size_below_the_token_table_asks_for_a_smaller_vocabulary():
    # 30522 * 384 bytes are 11.7 MB
    found = proposals.get("prune").grid(SEEN, Wanted(size=5e6), KNOWN)
    assert [one["vocabulary"] for one in found] == [30522 // 4, 30522 // 8]
    assert proposals.get("conv").grid(SEEN, Wanted(size=5e6), KNOWN) == []
    # A window's features have one byte at each of three places: 30522 x 3 x 64 bytes are 5.9 MB, with a tokenizer 6.7.
    assert [one["width"] for one in proposals.get("static").grid(SEEN, Wanted(size=8e6), KNOWN)] == [64]
    assert [one["width"] for one in proposals.get("static").grid(SEEN, Wanted(size=13e6), KNOWN)] == [128]
    assert [one["width"] for one in proposals.get("conv").grid(SEEN, Wanted(size=13e6), KNOWN)] == [128]
    assert [one["width"] for one in proposals.get("conv").grid(SEEN, Wanted(size=25e6), KNOWN)] == [256]
    assert proposals.get("prune").grid(SEEN, Wanted(size=18e6), KNOWN)[0]["vocabulary"] is None


def test_chains_go_on_from_the_fastest_that_is_not_there_yet():
    from lilliput.compressing.frontier import Point

    done = [
        (Point(0, 0.88, 3.0, 1e7), {"kind": "prune", "settings": {"speedup": 3.0}}),
        (Point(1, 0.86, 6.1, 1e7), {"kind": "prune", "settings": {"speedup": 6.0}}),
        (Point(2, 0.85, 3.0, 1e7), {"kind": "layers", "settings": {"layers": 3}}),
    ]
    wanted = Wanted(speedup=6)
    ((base, settings),) = proposals.get("prune").chains(SEEN, wanted, KNOWN, done)
    assert (base, settings["speedup"]) == (0, pytest.approx(6.0))
    # Two layers are 5 times as fast: not what was asked for.
    assert proposals.get("layers").chains(SEEN, wanted, KNOWN, done) == []
    ((base, settings),) = proposals.get("layers").chains(SEEN, Wanted(speedup=5), KNOWN, done)
    assert (base, settings["layers"]) == (2, 2)
    ((base, settings),) = proposals.get("vocabulary").chains(SEEN, wanted, KNOWN, done)
    assert (base, settings["vocabulary"]) == (1, 30522 // 4)


def test_a_narrower_student_keeps_whole_heads():
    layers = proposals.get("layers")
    assert layers.spec(SEEN, {"layers": 2}) == "layers=2"
    assert layers.spec(SEEN, {"layers": 1, "heads": 6}) == "layers=1,hidden=192,heads=6,ffn=768"
    assert layers.spec(SEEN, {"layers": 2, "heads": 12, "ffn": 0.5}) == "layers=2,ffn=768"
    assert layers.predicted({"layers": 2}, SEEN) == 5.0
    assert layers.predicted({"layers": 2, "heads": 6}, SEEN) is None
