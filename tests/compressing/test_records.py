"""The ledger: events survive, a cut line does not hurt, and a search of other things is refused."""

import json
from dataclasses import replace

import pytest

from lilliput.compressing.records import FIRST, FULL, SHORT, Ledger, Proposal, Result
from lilliput.errors import RunError

KEY = {"data": "d", "precision": "int8"}


def result(trial, rung, score, **changes):
    return Result(trial, rung, score, changes.pop("speedup", 2.0), 1000, 5.0, f"trials/{trial}", **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trials.jsonl"


def test_what_was_written_is_read_again(path):
    ledger = Ledger(path, KEY)
    proposal = Proposal(0, "prune", {"speedup": 6.18, "epochs": 2})
    ledger.propose([proposal])
    ledger.propose([Proposal(1, "layers", {"layers": 2}, base=0, round=1, origin="chain"), Proposal(2, "conv", {})])
    ledger.finish(result(0, FIRST, 0.8))
    ledger.fail(1, "the teacher has only 1 layers")
    again = Ledger(path, KEY)
    assert again.proposals == ledger.proposals
    assert again.proposals[0] == proposal
    assert again.results == {(0, FIRST): result(0, FIRST, 0.8)}
    assert again.failures == {1: "the teacher has only 1 layers"}
    assert again.next_number == 3


@pytest.mark.parametrize("tail", [b'{"event": "finis', b"\xff\xfe", b'{"event": "failed", "trial": 0, "why": "x"}'])
def test_a_line_that_a_kill_cut_short_is_dropped(path, tail):
    ledger = Ledger(path, KEY)
    ledger.propose([Proposal(0, "conv", {})])
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    again = Ledger(path, KEY)
    assert set(again.proposals) == {0}
    assert again.failures == {}
    assert path.read_bytes() == whole
    again.fail(0, "no")
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["search", "proposed", "failed"]


def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_lost(path):
    ledger = Ledger(path, KEY)
    ledger.propose([Proposal(0, "conv", {})])
    ledger.fail(0, "no")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"{" + lines[1], lines[2]]))
    before = path.read_bytes()
    with pytest.raises(RunError, match=":2: damaged; delete the line"):
        Ledger(path, KEY)
    assert path.read_bytes() == before


def test_a_ledger_that_was_cut_in_its_first_line_begins_anew(path):
    path.write_bytes(b'{"event": "search", "ke')
    assert Ledger(path, KEY).proposals == {}
    assert Ledger(path, KEY).proposals == {}


def test_a_search_on_other_things_is_refused(path):
    Ledger(path, KEY)
    with pytest.raises(RunError, match="another precision; choose another --out"):
        Ledger(path, {**KEY, "precision": "fp32"})


def test_the_best_of_a_trial_is_its_last_rung_unless_training_made_it_worse(path):
    ledger = Ledger(path, KEY)
    ledger.propose([Proposal(number, "prune", {}) for number in range(4)])
    for one in (
        *(result(0, FIRST, 0.6), result(0, SHORT, 0.8), result(0, FULL, 0.85)),
        *(result(1, FIRST, 0.7), result(1, SHORT, 0.65)),
        *(result(2, FIRST, None), result(2, SHORT, 0.5)),
        result(3, FIRST, None),
    ):
        ledger.finish(one)
    assert [(one.trial, one.rung) for one in ledger.best()] == [(0, FULL), (1, FIRST), (2, SHORT)]
    assert ledger.last(1).rung == SHORT
    # Of a graph the score is lower for its rounding alone: what the torch models say decides.
    ledger.propose([Proposal(number, "prune", {}) for number in (4, 5)])
    for trial, short, full in ((4, 0.860, 0.862), (5, 0.862, 0.860)):
        ledger.finish(replace(result(trial, SHORT, short), learnt=short))
        ledger.finish(replace(result(trial, FULL, 0.859), learnt=full))
    assert [(one.trial, one.rung) for one in ledger.best()[3:]] == [(4, FULL), (5, SHORT)]
    assert [one.trial for one in ledger.on(FULL)] == [0, 4, 5]
