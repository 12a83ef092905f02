"""Comparisons of peers with ours, counted by hand."""

import json

import pytest
import typer
from typer.testing import CliRunner

from lilliput.benchmarks.peers.measure import rows, targets
from lilliput.statistics import Estimate


def model(wrong, p50, n=100, rounds=10):
    accuracy = 1 - len(wrong) / n
    return {
        "about": "a model",
        "engine": "none",
        "precision": "int8",
        "versions": {"engine": "1.0"},
        "accuracy": {"value": accuracy, "low": accuracy, "high": accuracy},
        "wrong": list(wrong),
        "changed": 0,
        "latency_ms": {"p50": p50, "p90": p50, "p99": p50},
        "round_p50_ms": [p50 * (1 + 0.01 * (index % 2)) for index in range(rounds)],
        "bytes": 2_000_000,
    }


def piece(fold, failed=None, **models):
    """100 texts, of which the teacher gets ten wrong."""
    return {
        "figures": [],
        "command": "measure",
        "commit": None,
        "fold": fold,
        "n_test": 100,
        "timed": 30,
        "rounds": 10,
        "ours": ["quick", "good"],
        "teacher": {"wrong": list(range(10))},
        "failed": failed or {},
        "models": models,
    }


USUAL = {
    "quick": model(range(20), 0.5),  # 80 of the teacher's 90: 88.9%
    "good": model(range(11), 1.0),  # 89 of 90: 98.9%
    "hf-pipeline": model(range(10), 20.0),
    "openvino-int8": model(range(10), 0.9),
    "vader": model(range(60), 0.1),
    "plain-int8": model(range(10), 4.0),
}


def test_the_fastest_that_retains_enough_is_compared():
    name, kept = targets.student_of([piece(0, **USUAL)])
    assert name == "good"
    assert kept.value == pytest.approx(89 / 90)
    assert targets.student_of([{**piece(0, **USUAL), "ours": ["quick"]}]) is None


def test_a_peer_is_set_against_ours_on_the_same_texts():
    found = targets.against([piece(0, **USUAL)], "hf-pipeline", "good")
    assert found.ahead.value == pytest.approx(1.0)  # one text of 100
    assert found.slower.value == pytest.approx(20.0)
    assert found.no_less_accurate
    far = targets.against([piece(0, **USUAL)], "vader", "good")
    assert far.ahead.value == pytest.approx(-49.0)
    assert far.slower.value == pytest.approx(0.1)
    assert not far.no_less_accurate
    assert targets.against([piece(0, **USUAL)], "tfidf-lr", "good") is None


def test_peers_that_none_of_ours_equals_are_named():
    found = targets.unbeaten([piece(0, **USUAL)])
    lead = "faster than those that are as accurate"
    assert found == {"openvino-int8": lead, "vader": lead}
    assert "openvino-int8 is faster than those that are as accurate; vader is" in targets.of_unbeaten(found)
    small = {**model(range(10), 4.0), "bytes": 1_000_000}
    assert targets.unbeaten([piece(0, **{**USUAL, "hf-pipeline": small})])["hf-pipeline"].startswith("smaller than")
    sure = piece(0, **{**USUAL, "hf-pipeline": model((), 4.0), "good": model(range(40), 1.0)})
    assert targets.unbeaten([sure])["hf-pipeline"] == "more accurate than all"
    unknown = {**small, "bytes": None}
    only = {name: USUAL[name] for name in ("quick", "good")} | {"hf-pipeline": unknown}
    assert targets.unbeaten([piece(0, **only)]) == {}
    assert targets.of_unbeaten({}).startswith("Every peer is equalled")


def test_folds_are_pooled_where_both_are_there():
    folds = [piece(0, **USUAL), piece(1, **{**USUAL, "hf-pipeline": model(range(14), 10.0)})]
    found = targets.against(folds, "hf-pipeline", "good")
    assert found.ahead.value == pytest.approx(100 * (90 + 86 - 89 - 89) / 200)
    assert found.slower.value == pytest.approx(15.0)  # half of the rounds 20, half 10


def against(ahead_high, low, value, high):
    return targets.Against(Estimate(0.0, -1.0, ahead_high), Estimate(value, low, high), 1.0)


def test_the_figure_is_the_share_of_the_accurate_that_are_slower():
    found = {
        "slow": against(1, 1.5, 2, 2.5),
        "maybe": against(0, 0.9, 1.1, 1.3),
        "fast": against(1, 0.5, 0.6, 0.7),
        "worse": against(-0.1, 0.1, 0.1, 0.1),
    }
    figure = targets.figure_of(found, 0, 100, [0])
    assert figure.value == pytest.approx(2 / 3)
    assert figure.ci == pytest.approx((1 / 3, 2 / 3))
    # One that could not be measured might be slow or quick.
    assert targets.figure_of(found, 1, 100, [0]).ci == pytest.approx((1 / 4, 3 / 4))
    assert targets.figure_of({"worse": found["worse"]}, 0, 100, [0]).value is None


def test_a_missing_peer_leaves_the_promise_open():
    figure = targets.figure_of({"slow": against(1, 1.5, 2, 2.5)}, 1, 100, [0])
    assert (figure.value, figure.ci) == (1.0, (0.5, 1.0))


def test_without_a_student_the_promise_is_not_kept():
    figure, claim, _ = targets.judged([{**piece(0, **USUAL), "ours": ["quick"]}])
    assert figure.value == 0
    assert "No model of ours retains 97%" in claim


def test_the_page_names_all_and_why_some_are_missing(tmp_path):
    failed = {"optimum-o2": "the environment 'optimum' can't be made: no | network"}
    (tmp_path / "fold-0.json").write_text(json.dumps(piece(0, failed, **USUAL)))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: peers -->\n<!-- /table -->\nafter\n")
    app = typer.Typer()
    app.command()(targets.main)
    done = CliRunner().invoke(app, [str(tmp_path), "--out", str(tmp_path / "out" / "peers.json"), "--page", str(page)])
    assert done.exit_code == 0, done.output
    assert "frontier.peers_slower_at_97: 0.5 share, short" in done.output
    assert "Not slower for certain: openvino-int8. Not measured: optimum-o2." in done.output
    text = page.read_text()
    assert "| **good** | Lilliput, int8 | 89.00% |  | 1.000 |  | 2.0 |" in text
    assert "| optimum-o2 | not measured: the environment 'optimum' can't be made: no / network |" in text
    ahead = targets.against([piece(0, **USUAL)], "hf-pipeline", "good").ahead
    ends = f"{ahead.low:+.1f} to {ahead.high:+.1f}"
    row = f"| hf-pipeline | int8; engine 1.0 | 90.00% | +1.0 ({ends}) | 20.000 | 20.0 (20.0 to 20.0) | 2.0 |"
    assert row in text
    assert "| plain-int8 |" in text
    assert "\nAccuracies are of 100 test texts of fold 0, latencies of 30 of them in 10 rounds.\n" in text
    figure = json.loads((tmp_path / "out" / "peers.json").read_text())["figures"][0]
    assert (figure["status"], figure["n"], figure["seeds"]) == ("short", 100, [0])
    again = CliRunner().invoke(app, [str(tmp_path), "--out", str(tmp_path / "out" / "peers.json")])
    assert again.exit_code == 0, again.output  # its own pooled piece is no trouble


def test_without_pieces_the_command_is_named(tmp_path):
    app = typer.Typer()
    app.command()(targets.main)
    done = CliRunner().invoke(app, [str(tmp_path), "--out", str(tmp_path / "out" / "peers.json")])
    assert done.exit_code == 2
    assert "holds no fold-*.json; run lilliput.benchmarks.peers.measure first" in done.output


def test_wrong_texts_are_kept_as_indices():
    assert rows.hits_of({"wrong": [1, 3]}, 4).tolist() == [True, False, True, False]
