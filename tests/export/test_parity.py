"""The gates by hand: what passes, what fails, and what the message says."""

import numpy as np
import pytest

from lilliput import tasks
from lilliput.errors import GateError
from lilliput.export import parity
from lilliput.export.parity import Parity, check, measure

NAN = float("nan")


TASK = tasks.get("classification")


class Stub:
    """A model whose outputs are given: those of texts alone, and of windows in batches; notes the sizes of both."""

    task, labels, settings = TASK, ("no", "yes"), {}

    def __init__(self, alone, together):
        self.alone, self.batched = iter(alone), iter(together)
        self.pieces, self.batches = [], []

    def windows(self, items):
        return [[item] for item in items]

    def outputs(self, windows, first):
        self.pieces.append((first, len(windows)))
        return [[next(self.alone)] for _ in windows]

    def together(self, windows):
        self.batches.append(len(windows))
        return [next(self.batched) for _ in windows]


@pytest.fixture
def answers(monkeypatch):
    """Puts given logits in the place of a bundle's; yields the stub."""

    def put(logits, together=None):
        rows = list(np.array(logits, dtype=np.float32))
        stub = Stub(rows, rows if together is None else list(np.array(together, dtype=np.float32)))
        monkeypatch.setattr(parity.runtime, "load", lambda path, precision: stub)
        return stub

    return put


def rows(logits):
    return [[row] for row in np.array(logits, dtype=np.float32)]


def test_a_comparison_by_hand(answers, tmp_path):
    answers(
        [[1.0, 2.0], [0.5, 0.25], [3.0, 3.5], [0.0, 0.0]],
        together=[[1.0, 2.5], [0.25, 0.5], [3.0, 3.75], [0.0, -1.0]],
    )
    reference = rows([[1.0, 2.5], [0.25, 0.5], [3.0, 3.5], [0.0, -1.0]])
    # Differences 0.5, 0.25, 0, 1, in batches 0.25 once; labels 1=1, 0 against 1, 1=1, 0=0 (the first of equal logits).
    assert measure(tmp_path, "fp32", ["a", "b", "c", "d"], reference) == Parity("fp32", 4, 1.0, 0.25, 0.75, 3.5)


def test_texts_are_answered_in_pieces_with_progress(answers, tmp_path):
    stub, seen = answers([[0.0, 1.0]] * 150), []
    found = measure(tmp_path, "int8", ["text"] * 150, rows([[0.0, 1.0]] * 150), lambda *given: seen.append(given))
    assert stub.pieces == [(0, 64), (64, 64), (128, 22)]
    assert stub.batches == []  # an int8 answer depends on its batch
    assert seen == [(done, 150, "checking int8") for done in (64, 128, 150)]
    assert found == Parity("int8", 150, 0.0, None, 1.0, 1.0)


def test_batches_of_every_size_take_turns(answers, tmp_path):
    stub = answers([[0.0, 1.0]] * 600)
    measure(tmp_path, "fp32", ["text"] * 600, rows([[0.0, 1.0]] * 600))
    assert stub.batches == [*range(1, 33), *range(1, 12), 6]  # 528 + 66 + 6


@pytest.mark.parametrize(
    "passing",
    [
        Parity("fp32", 10, 1e-4, 0.0, 0.0, 0.5),  # at the limit; agreement is not asked of fp32
        Parity("fp32", 10, 0.0, 0.0, 1.0, 0.5),
        Parity("fp32", 10, 7e-4, 0.0, 1.0, 8.0),  # float32 rounds larger outputs more coarsely
        Parity("int8", 10, 99.0, None, 0.985, 0.5),  # at the limit; differences are not asked of int8
        Parity("int8", 10, NAN, None, 1.0, 0.5),
    ],
)
def test_what_passes(passing):
    check(passing, 1e-4, 0.985, "small")


def test_what_fails_and_what_is_said():
    with pytest.raises(GateError) as caught:
        check(Parity("fp32", 12, 1.5e-3, 0.0, 1.0, 0.5), 1e-4, 0.985, "small")
    assert str(caught.value) == (
        "small: the fp32 graph's outputs differ from torch by up to 1.50e-03 on 12 texts; at most 1.0e-04 is allowed. "
        "No bundle was written"
    )
    with pytest.raises(GateError) as caught:
        check(Parity("int8", 200, 0.1, None, 0.98, 0.5), 1e-4, 0.985, "small")
    assert str(caught.value) == (
        "small: the int8 graph agrees with the torch model on 98.00% of 200 texts; at least 98.50% is asked for. "
        "No bundle was written"
    )


@pytest.mark.parametrize(
    "failing",
    [
        Parity("fp32", 1, 1.01e-4, 0.0, 1.0, 0.5),
        Parity("fp32", 1, NAN, 0.0, 1.0, 0.5),
        Parity("fp32", 1, 8.1e-4, 0.0, 1.0, 8.0),
        Parity("fp32", 1, float("inf"), 0.0, 1.0, float("inf")),
        Parity("fp32", 1, 0.0, 1.01e-4, 1.0, 0.5),
        Parity("fp32", 1, 0.0, NAN, 1.0, 0.5),
        Parity("int8", 1, 0.0, None, 0.9849, 0.5),
        Parity("int8", 1, 0.0, None, NAN, 0.5),
    ],
)
def test_nan_and_values_just_beyond_the_limit_fail(failing):
    with pytest.raises(GateError):
        check(failing, 1e-4, 0.985, "small")


@pytest.mark.parametrize("where", ["graph", "reference", "both"])
def test_one_nan_among_many_logits_fails_fp32(answers, tmp_path, where):
    logits, reference = np.zeros((70, 2)), np.zeros((70, 2))
    if where in ("graph", "both"):
        logits[66, 1] = NAN
    if where in ("reference", "both"):
        reference[66, 1] = NAN
    answers(logits)
    with pytest.raises(GateError, match="differ from torch by up to nan on 70 texts"):
        check(measure(tmp_path, "fp32", ["text"] * 70, rows(reference)), 1e-4, 0.985, "small")
