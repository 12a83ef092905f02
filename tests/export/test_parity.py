"""The gates by hand: what passes, what fails, and what the message says."""

from types import SimpleNamespace

import numpy as np
import pytest

from lilliput.errors import GateError
from lilliput.export import parity
from lilliput.export.parity import Parity, check, measure

NAN = float("nan")


@pytest.fixture
def answers(monkeypatch):
    """Puts given logits in the place of a bundle's; yields the pieces of texts that were asked for."""

    def put(logits):
        rows, asked = iter(np.array(logits, dtype=np.float32)), []

        def answer(texts):
            asked.append(len(texts))
            return np.array([next(rows) for _ in texts])

        monkeypatch.setattr(parity.runtime, "load", lambda path, precision: SimpleNamespace(logits=answer))
        return asked

    return put


def test_a_comparison_by_hand(answers, tmp_path):
    answers([[1.0, 2.0], [0.5, 0.25], [3.0, 3.5], [0.0, 0.0]])
    reference = np.array([[1.0, 2.5], [0.25, 0.5], [3.0, 3.5], [0.0, -1.0]])
    # Differences 0.5, 0.25, 0, 1; labels 1=1, 0 against 1, 1=1, 0=0 (the first of equal logits).
    assert measure(tmp_path, "fp32", ["a", "b", "c", "d"], reference) == Parity("fp32", 4, 1.0, 0.75)


def test_texts_are_answered_in_pieces_with_progress(answers, tmp_path):
    asked, seen = answers([[0.0, 1.0]] * 150), []
    found = measure(tmp_path, "int8", ["text"] * 150, np.array([[0.0, 1.0]] * 150), lambda *given: seen.append(given))
    assert asked == [64, 64, 22]
    assert seen == [(done, 150, "checking int8") for done in (64, 128, 150)]
    assert found == Parity("int8", 150, 0.0, 1.0)


@pytest.mark.parametrize(
    "passing",
    [
        Parity("fp32", 10, 1e-4, 0.0),  # at the limit; agreement is not asked of fp32
        Parity("fp32", 10, 0.0, 1.0),
        Parity("int8", 10, 99.0, 0.985),  # at the limit; differences are not asked of int8
        Parity("int8", 10, NAN, 1.0),
    ],
)
def test_what_passes(passing):
    check(passing, 1e-4, 0.985, "small")


def test_what_fails_and_what_is_said():
    with pytest.raises(GateError) as caught:
        check(Parity("fp32", 12, 1.5e-3, 1.0), 1e-4, 0.985, "small")
    assert str(caught.value) == (
        "small: the fp32 graph's logits differ from torch by up to 1.50e-03 on 12 texts; at most 1e-04 is allowed. "
        "No bundle was written"
    )
    with pytest.raises(GateError) as caught:
        check(Parity("int8", 200, 0.1, 0.98), 1e-4, 0.985, "small")
    assert str(caught.value) == (
        "small: the int8 graph gives the torch model's label for 98.00% of 200 texts; at least 98.50% is asked for. "
        "No bundle was written"
    )


@pytest.mark.parametrize(
    "failing",
    [
        Parity("fp32", 1, 1.01e-4, 1.0),
        Parity("fp32", 1, NAN, 1.0),
        Parity("int8", 1, 0.0, 0.9849),
        Parity("int8", 1, 0.0, NAN),
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
        check(measure(tmp_path, "fp32", ["text"] * 70, reference), 1e-4, 0.985, "small")
