"""The family's speed: who is measured against whom, and the figure."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lilliput.benchmarks import folds
from lilliput.benchmarks.distillation import speed
from lilliput.benchmarks.measured import Measured, Result


def seen(rounds):
    """A model whose rounds have these median latencies, in milliseconds."""
    answers = np.zeros(4, dtype=np.int64)
    elapsed = (np.array(rounds)[[0, 1, 2, 2]] * 1e6).astype(np.int64)
    return Measured(answers, np.full((4, 2), 0.5), elapsed, tuple(rounds), {"labels": ["a", "b"]}, None, 1.0)


@pytest.fixture
def run(fold, monkeypatch, tmp_path):
    """Runs the command with latencies that were never measured; its output, the piece, and what was asked."""
    asked = {}

    def build(bundle, folder, max_length):
        asked["plain"] = (bundle.parent.name, max_length)
        return folder

    def latencies(entries, texts, **options):
        asked["options"] = {name: options[name] for name in ("threads", "rounds", "all_cores")}
        asked["entries"] = [(entry.name, entry.peer, entry.precision) for entry in entries]
        rounds = {"teacher plain int8": (4.0, 8.0, 6.0)}
        models = {entry.name: seen(rounds.get(entry.name, (1.0, 4.0, 2.0))) for entry in entries}
        return Result(1, ("a", "b"), len(texts), models, Path())

    monkeypatch.setattr(folds.plain_onnx_int8, "build", build)
    monkeypatch.setattr(speed.latency, "run", latencies)
    monkeypatch.setattr(speed, "Fold", fold)
    app, out = typer.Typer(), tmp_path / "speed.json"
    app.command()(speed.main)
    done = CliRunner().invoke(app, ["--fold", "0", "--only", "l3,l2", "--rounds", "3", "--out", str(out)])
    assert done.exit_code == 0, done.output
    return done.output, json.loads(out.read_text()), asked


def test_the_students_take_turns_with_the_plain_teacher(run, tiny):
    _, _, asked = run
    assert asked["plain"] == ("teacher-bundle", tiny.MAX_LENGTH)
    assert asked["options"] == {"threads": 1, "rounds": 3, "all_cores": False}
    assert asked["entries"] == [
        ("teacher plain int8", "plain_onnx_int8", "int8"),
        ("l3 int8", "bundle", "int8"),
        ("l2 int8", "bundle", "int8"),
    ]


def test_the_figure_is_the_median_ratio_of_the_rounds(run):
    """4/1, 8/4 and 6/2."""
    output, piece, _ = run
    assert [figure["id"] for figure in piece["figures"]] == ["distill.l3_speedup", "distill.l2_speedup"]
    for figure in piece["figures"]:
        assert figure["value"] == pytest.approx(3)
        assert figure["ci"] == [pytest.approx(2), pytest.approx(4)]
        assert (figure["n"], figure["unit"], figure["seeds"]) == (3, "times", [0])
    assert piece["models"]["teacher"]["round_p50_ms"] == [4, 8, 6]
    assert piece["models"]["teacher"]["p50_ms"] == pytest.approx(6)
    assert piece["models"]["l2"]["precision"] == "int8"
    assert piece["texts"] == 8
    assert "distill.l2_speedup: 3.00 times" in output
