"""The examples that users copy: they run as they are, and they are short."""

import csv
import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lilliput

EXAMPLES = Path(__file__).parent.parent / "examples"
LIMITS = {"app.py": 40, "batch.py": 60, "distill_csv.py": 60, "distillation_loss.py": 60}


def run(name, *arguments, **options):
    # The models are tiny: threads would only wait for each other.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "100"}
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **options)


def test_examples_are_short():
    assert len((EXAMPLES / "browser" / "index.html").read_text(encoding="utf-8").splitlines()) < 60
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


def write_reviews(path, texts):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *enumerate(texts)])
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_batch_job_answers_a_csv(tiny_bundle, tmp_path, ending):
    texts = ["a joy from start to finish", "", 'quoted, "漢字"\nand مرحبا 😀', *(f"film {i}" for i in range(1200))]
    out = tmp_path / f"out.{ending}"
    result = run("batch.py", tiny_bundle, write_reviews(tmp_path / "in.csv", texts), out)
    assert (result.returncode, result.stderr) == (0, "")
    if ending == "csv":
        with out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        assert parquet.ParquetFile(out).num_row_groups == 2
        rows = parquet.read_table(out).to_pylist()
    answers = lilliput.load(tiny_bundle)(texts)
    assert [(row["id"], row["text"], row["label"]) for row in rows] == [
        (str(number), text, answer["label"]) for number, (text, answer) in enumerate(zip(texts, answers, strict=True))
    ]
    assert [float(row["score"]) for row in rows] == pytest.approx([answer["score"] for answer in answers])


def test_a_batch_job_reads_no_further_than_it_writes():
    spec = importlib.util.spec_from_file_location("batch", EXAMPLES / "batch.py")
    batch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(batch)
    seen = []

    class Model:
        def stream(self, texts):
            for text in texts:
                yield {"label": text, "score": 1.0}

    rows = ({"text": seen.append(i) or str(i)} for i in itertools.count())
    assert [row["label"] for row in itertools.islice(batch.answered(Model(), rows), 5)] == ["0", "1", "2", "3", "4"]
    assert len(seen) == 5


def test_a_batch_job_says_what_is_wrong_and_leaves_no_half_of_a_file(tiny_bundle, tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("review\na joy\n", encoding="utf-8")
    result = run("batch.py", tiny_bundle, source, tmp_path / "out.csv")
    assert (result.returncode, result.stderr) == (1, f'error: {source}: has no column "text"\n')
    source.write_text("id,text\n1,a joy\n2\n", encoding="utf-8")
    result = run("batch.py", tiny_bundle, source, tmp_path / "out.csv")
    assert result.returncode == 1
    assert result.stderr.startswith("error: item 1 is NoneType")
    assert not (tmp_path / "out.csv").exists()
    assert run("batch.py").stderr.startswith("usage:")


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
