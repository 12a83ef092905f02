"""Pieces of a measurement: written, merged, judged."""

import json

import pytest
from typer.testing import CliRunner

from lilliput.benchmarks import pieces
from lilliput.benchmarks.figures import Target
from lilliput.benchmarks.pieces import Figure
from lilliput.benchmarks.training import targets
from lilliput.errors import ConfigError

TARGETS = (
    Target("x.speed", "times", 2.0, lambda _: None),
    Target("x.drop", "points", 0.5, lambda _: None, at_most=True),
    Target("x.score", "share", 0.9, lambda _: None),
)


def test_every_promise_is_judged_in_its_order(tmp_path):
    pieces.write(tmp_path / "a.json", [Figure("x.drop", 0.7, "points", n=3)], why="noise")
    pieces.write(tmp_path / "b.json", [Figure("x.speed", 2.1, "times", ci=(1.9, 2.3), seeds=(0, 1))])
    merged = pieces.merge([tmp_path / "a.json", tmp_path / "b.json"], TARGETS)
    assert [(f["id"], f["value"], f["status"]) for f in merged["figures"]] == [
        ("x.speed", 2.1, "inconclusive"),
        ("x.drop", 0.7, "short"),
        ("x.score", None, "not measured"),
    ]
    assert merged["figures"][0]["ci"] == [1.9, 2.3]
    assert merged["figures"][0]["seeds"] == [0, 1]
    assert merged["pieces"]["a"]["why"] == "noise"
    assert all(figure["command"] for figure in merged["figures"][:2])


def test_a_figure_that_could_not_be_measured_says_so(tmp_path):
    pieces.write(tmp_path / "a.json", [Figure("x.speed", None, "times")])
    assert pieces.merge([tmp_path / "a.json"], TARGETS)["figures"][0]["status"] == "not measured"


@pytest.mark.parametrize("content", ["{}", "[]", "nonsense", '{"figures": [{"value": 1}]}'])
def test_what_is_no_piece_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ConfigError, match=r"a\.json: no piece"):
        pieces.merge([tmp_path / "a.json"], TARGETS)


def test_a_busy_machine_is_said_under_the_table(tmp_path):
    pieces.write(tmp_path / "a.json", [Figure("x.speed", 3.0, "times", seeds=(2,))], noisy=True, p50_spread=0.322)
    pieces.write(tmp_path / "b.json", [Figure("x.drop", 0.1, "points")])
    piece = pieces.read(tmp_path / "a.json")
    assert pieces.folds_of(piece) == [2]
    assert pieces.folds_of({**piece, "fold": 1}) == [1]
    assert pieces.source(piece).startswith("Speeds are of fold 2, on ")
    lines = pieces.table(pieces.merge([tmp_path / "a.json", tmp_path / "b.json"], TARGETS)).splitlines()
    assert len(lines) == 2 + len(TARGETS) + 2
    assert lines[-1].startswith(f"Speeds of `{piece['command']}` are on ")
    assert lines[-1].endswith(". The machine was busy in that run: p50 spread of 32% between rounds.")
    assert pieces.busy({"noisy": False, "p50_spread": 0.1}) == ""


def test_a_figure_measured_twice_or_never_promised_is_refused(tmp_path):
    for name in "ab":
        pieces.write(tmp_path / f"{name}.json", [Figure("x.speed", 1.0, "times")])
    with pytest.raises(ConfigError, match=r"b\.json: x\.speed is in another piece"):
        pieces.merge([tmp_path / "a.json", tmp_path / "b.json"], TARGETS)
    with pytest.raises(ConfigError, match=r"no target is known for x\.speed"):
        pieces.merge([tmp_path / "a.json"], TARGETS[1:])


def test_the_command_merges_and_names_every_promised_figure(tmp_path):
    import typer

    from lilliput.benchmarks.training.targets import main

    app = typer.Typer()
    app.command()(main)
    pieces.write(tmp_path / "a.json", [Figure("train.ner_f1", 0.97, "share", ci=(0.96, 0.98))])
    done = CliRunner().invoke(app, [str(tmp_path / "a.json"), "--out", str(tmp_path / "train.json")])
    assert done.exit_code == 0
    assert "train.ner_f1: 0.97 share, met" in done.output
    written = json.loads((tmp_path / "train.json").read_text())
    assert [figure["id"] for figure in written["figures"]] == [target.id for target in targets.TARGETS]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: train -->\nearlier table\n<!-- /table -->\nafter\n")
    arguments = [str(tmp_path / "a.json"), "--out", str(tmp_path / "train.json"), "--page", str(page)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "| train.ner_f1 | 0.97 (0.96 to 0.98) share | ≥ 0.95 | met | `" in page.read_text()
    assert "| train.qa_f1 | not measured | ≥ 0.9 | not measured |  |" in page.read_text()
    assert "earlier table" not in page.read_text()
    variants = {"base": _variant(0.0, 0.0, 0.0), "r-drop": _variant(0.011, 0.006, 0.016)}
    pieces.write(tmp_path / "teachers.json", [], folds=[0, 2], variants=variants)
    page.write_text(page.read_text() + "<!-- table: train-teachers -->\n<!-- /table -->\n")
    assert CliRunner().invoke(app, [str(tmp_path / "teachers.json"), *arguments]).exit_code == 0
    assert "| `base` | 0, 2 | 87.00% | 86.50% | - | `" in page.read_text()
    assert "| `r-drop` | 0, 2 | 87.00% | 86.50% | +1.10 (+0.60 to +1.60) points | `" in page.read_text()
    missing = CliRunner().invoke(app, [str(tmp_path / "no.json"), "--out", str(tmp_path / "x.json")])
    assert missing.exit_code == 2
    assert not (tmp_path / "x.json").exists()


def _variant(value, low, high):
    difference = {"value": value, "low": low, "high": high}
    return {"validation": 0.87, "test": 0.865, "test_by_fold": [0.86, 0.87], "difference": difference}
