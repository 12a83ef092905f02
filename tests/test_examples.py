"""The examples that users copy: they run as they are, and they are short."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lilliput

EXAMPLES = Path(__file__).parent.parent / "examples"
LIMITS = {"app.py": 40, "distill_csv.py": 60, "distillation_loss.py": 60}


def run(name, *arguments, **options):
    # The models are tiny: threads would only wait for each other.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "100"}
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **options)


def test_examples_are_short():
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in EXAMPLES.glob("*.py")}
    assert lines.keys() >= LIMITS.keys()
    assert {name: count for name, count in lines.items() if count >= LIMITS.get(name, 100)} == {}


def test_the_app_answers_lines(tiny_bundle):
    texts = ["a joy from start to finish", "", "漢字 and مرحبا 😀"]
    result = run("app.py", tiny_bundle, input="".join(f"{text}\n" for text in texts))
    assert (result.returncode, result.stderr) == (0, "")
    expected = [f"{answer['label']} ({answer['score']:.0%})" for answer in lilliput.load(tiny_bundle)(texts)]
    assert result.stdout.splitlines() == expected


@pytest.mark.parametrize("arguments", [[], ["nowhere"]])
def test_the_app_says_what_is_wrong(arguments, tmp_path):
    result = run("app.py", *arguments, cwd=tmp_path, input="")
    assert result.returncode == 2
    assert result.stderr.startswith("error: nowhere: no such folder" if arguments else "usage:")


def test_a_csv_becomes_a_bundle(own_model, encoders, tmp_path):
    data = encoders.write_csv(tmp_path / "reviews.csv", encoders.rows(200))
    result = run("distill_csv.py", data, "out", "--model", own_model, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "student: " in result.stdout
    assert "; 3 layers" in result.stdout
    model = lilliput.load(tmp_path / "out" / "bundle")
    assert model.labels == encoders.LABELS
    assert model.precision == "int8"
    answer = model("a joy from start to finish")
    assert result.stdout.splitlines()[-1] == f"out/bundle: 'a joy from start to finish' is {answer}"


def test_one_loss_in_a_loop_of_ones_own(checkpoint, encoders, tiny, tmp_path):
    from transformers import AutoModelForSequenceClassification

    student = encoders.save(tmp_path / "student", "bert", tiny.tokenizer, layers=1, seed=1)
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(text for text, _ in encoders.rows(64)), encoding="utf-8")
    result = run("distillation_loss.py", checkpoint("bert"), student, texts, tmp_path / "out", "--epochs", "4")
    assert result.returncode == 0, result.stderr
    losses = [float(line.rpartition(" ")[2]) for line in result.stdout.splitlines()]
    assert len(losses) == 4
    assert 0 < losses[-1] < losses[0]
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config.num_hidden_layers == 1
