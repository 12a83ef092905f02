"""Minutes and memory of a distillation: what is distilled, and the figures."""

import json

import pytest
import typer
from typer.testing import CliRunner

from lilliput import models
from lilliput.benchmarks.distillation import budget

pytestmark = pytest.mark.usefixtures("quick_training")


def test_sentences_differ_and_the_tiny_teacher_knows_their_words(tmp_path):
    texts = list(budget.sentences(500, 0))
    assert len(set(texts)) == 500
    assert not set(texts) & set(budget.sentences(500, 1))
    tokenizer = models.load_tokenizer(budget.tiny_teacher(tmp_path / "teacher"))
    read = tokenizer(texts, truncation=True, max_length=32)["input_ids"]
    assert not any(tokenizer.unk_token_id in ids for ids in read)
    assert {ids[0] for ids in read} == {tokenizer.cls_token_id}
    assert models.labels_of(models.load_finetuned_classifier(tmp_path / "teacher")) == budget.LABELS


def test_a_distillation_reads_every_line_and_tells_its_peak(tmp_path):
    config = budget.configured(tmp_path, 60, epochs=1, batch_size=64)
    budget.distil(config.to_yaml(), tmp_path / "peak.json")
    result = json.loads((tmp_path / "run" / "student" / "result.json").read_text())
    assert result["texts"] == {"labelled": 100, "transfer": 60, "all": 160}
    assert json.loads((tmp_path / "peak.json").read_text()) > 50e6


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command without a training; what was asked, and the piece."""
    asked = {}

    def run(config):
        asked["config"] = config
        return {"texts": {"all": 5}, "fidelity": {"student": {"value": 0.8}, "teacher": {"value": 0.9}}}

    def peak(lines, epochs, batch_size):
        asked.setdefault("memory", []).append((lines, epochs, batch_size))
        return asked["peaks"][len(asked["memory"]) - 1]

    monkeypatch.setattr(budget.commands, "run", run)
    monkeypatch.setattr(budget, "peak_bytes", peak)
    monkeypatch.setattr(budget.measured_teachers, "train", lambda *arguments: asked.update(teacher=arguments))
    app, out = typer.Typer(), tmp_path / "budget.json"
    app.command()(budget.main)

    def measure(*peaks):
        asked["peaks"] = peaks
        arguments = ["--out", str(out), "--work", str(tmp_path / "work"), "--teachers", str(tmp_path), "--lines", "100"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        return done.output, json.loads(out.read_text()), asked

    return measure


def test_the_student_comes_straight_from_its_teacher_into_a_fresh_folder(command, tmp_path):
    _, piece, asked = command(400_000_000, 409_000_000)
    assert asked["teacher"] == ("r-drop", 0, tmp_path)
    config = asked["config"]
    assert config.teacher == (str(tmp_path / "r-drop-0" / "teacher"),)
    assert config.student == "layers=2"
    assert config.initial_model is None
    assert config.out.parent.parent == tmp_path / "work"
    assert not config.out.parent.exists()
    assert piece["figures"][0]["id"] == "distill.l2_minutes"
    assert 0 <= piece["figures"][0]["value"] < 0.1


def test_memory_is_a_ratio_of_runs_with_equal_steps(command):
    """100 lines ten times and 1,000 lines once; 9 MB more for 900 lines more."""
    output, piece, asked = command(400_000_000, 409_000_000)
    assert asked["memory"] == [(100, 10, 256), (1000, 1, 256)]
    assert piece["figures"][1]["value"] == pytest.approx(1.0225)
    assert piece["memory"]["bytes_a_line"] == pytest.approx(10_000)
    assert "10 times the lines take 1.022 times the memory" in output


def test_where_the_system_does_not_say_memory_is_not_measured(command):
    output, piece, _ = command(None, None)
    assert piece["figures"][1]["value"] is None
    assert "nan times the memory" in output
