"""The claim in words, from a report made by hand."""

import pytest

from lilliput.compressing.claim import Claim, at_most, claim_of
from lilliput.compressing.recommendation import Wanted
from lilliput.statistics import Estimate


def row(model, role, precision, rounds, **more):
    usual = {"retained": 1.0, "retained_ci": [1.0, 1.0], "mcnemar_p": 1.0, "bytes": 23_000_000, "score": 0.88}
    latency = {"round_p50_ms": rounds, "latency_ms": {"p50": rounds[0]}}
    return {"model": model, "role": role, "precision": precision, "engine": "onnxruntime", **usual, **latency, **more}


REPORT = {
    "models": [
        row("teacher plain", "teacher_int8", "int8", [4.4] * 6),
        row("teacher", "teacher_fp32", "fp32", [9.0] * 6),
        row("teacher", "teacher", "int8", [4.0, 4.1, 3.9, 4.0, 4.0, 4.0]),
        row(
            "prune-5.9x",
            "student",
            "int8",
            [0.5, 0.5, 0.5, 0.5, 0.8, 0.4],
            retained=0.9875,
            retained_ci=[0.978, 0.9966],
            mcnemar_p=0.012,
            bytes=15_000_000,
            score=0.869,
        ),
    ]
}


def test_the_figures_are_those_of_the_report():
    claim = claim_of(REPORT, "prune-5.9x", "int8", Wanted(speedup=6, max_drop=2))
    # ratios by round: 8, 8.2, 7.8, 8, 5, 10
    assert claim.speedup.value == pytest.approx(8.0)
    assert (claim.speedup.low, claim.speedup.high) == (5.0, 10.0)
    assert claim.lost.value == pytest.approx(88 * 0.0125)
    assert claim.lost.low == pytest.approx(88 * 0.0034)
    assert claim.lost.high == pytest.approx(88 * 0.022)
    assert claim.answers == {
        "reaches 6 times (within 5%)": "inconclusive",
        "loses at most 2 points": "yes",
        "keeps 97% of the teacher": "yes",
    }
    assert claim.in_words("prune-5.9x") == (
        "prune-5.9x: 8.00x faster end to end, 1.1 points lost (95% interval 0.3 to 1.9), McNemar p = 0.012, 0.5 ms and "
        "15 MB. Reaches 6 times (within 5%): inconclusive; loses at most 2 points: yes; keeps 97% of the teacher: yes."
    )
    assert claim.missed == []
    assert claim.asked == 2
    for asked, answer in ((5.2, "yes"), (5.3, "inconclusive"), (8.4, "inconclusive"), (8.5, "no")):
        again = claim_of(REPORT, "prune-5.9x", "int8", Wanted(speedup=asked))
        assert again.answers[f"reaches {asked:g} times (within 5%)"] == answer


def test_what_is_not_certain_is_inconclusive_and_what_is_missed_is_no():
    claim = claim_of(REPORT, "prune-5.9x", "int8", Wanted(latency=0.45, max_drop=1.5))
    assert claim.answers == {
        "answers in 0.45 ms (within 5%)": "no",
        "loses at most 1.5 points": "inconclusive",
        "keeps 97% of the teacher": "yes",
    }
    assert claim.missed == ["answers in 0.45 ms (within 5%)"]
    assert claim_of(REPORT, "prune-5.9x", "int8", Wanted(size=15e6)).answers["is no larger than 15 MB"] == "yes"


def test_a_latency_is_answered_with_its_interval():
    # Rounds of 0.4 to 0.8 ms, their median 0.5.
    for asked, answer in ((0.47, "no"), (0.48, "inconclusive"), (0.75, "inconclusive"), (0.8, "yes")):
        claim = claim_of(REPORT, "prune-5.9x", "int8", Wanted(latency=asked))
        assert claim.answers[f"answers in {asked:g} ms (within 5%)"] == answer


def test_what_was_not_asked_for_is_answered_and_is_no_miss():
    weak = {**REPORT["models"][3], "retained": 0.95, "retained_ci": [0.94, 0.96]}
    report = {"models": [*REPORT["models"][:3], weak]}
    asked = claim_of(report, "prune-5.9x", "int8", Wanted(speedup=6))
    assert asked.answers["keeps 97% of the teacher"] == "no"
    assert asked.missed == []
    assert claim_of(report, "prune-5.9x", "int8", Wanted()).missed == ["keeps 97% of the teacher"]


def test_a_gain_is_said_as_one():
    claim = Claim(
        Estimate(12.345, 12, 13), Estimate(-0.4, -1, 0.2), Estimate(1.004, 0.99, 1.01), 0.0001, 0.3, 10**7, {}, 0
    )
    assert "12.3x faster end to end, 0.4 points gained (95% interval -0.2 to 1.0), McNemar p < 0.001" in claim.in_words(
        "x"
    )


@pytest.mark.parametrize(
    ("seen", "expected"),
    [(Estimate(1, 0, 2), "yes"), (Estimate(1, 0, 2.5), "inconclusive"), (Estimate(2.1, 2.0, 2.2), "no")],
)
def test_an_answer_looks_at_value_and_interval(seen, expected):
    assert at_most(seen, 2.0) == expected
