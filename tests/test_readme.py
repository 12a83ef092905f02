"""What the README shows is run as it stands there: the demo (its smoke run), the Python block, a user's own data."""

import ast
import hashlib
import json
import re
import shlex
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lilliput import bundle, cli
from lilliput.benchmarks import latency, readme, report
from lilliput.benchmarks.frontier import targets
from lilliput.manifest import MANIFEST

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results" / "demo.json"
HUB_ID = "google-bert/bert-base-uncased"
MODELS = ("teacher", "student-l3", "student-l2")


def block(heading, language):
    """The one fenced block of a language in a section."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def beside(fast_demo, monkeypatch):
    """The working directory is the one in which the demo was run, so that the README's paths lead to it."""
    monkeypatch.chdir(fast_demo.parent.parent)
    return fast_demo


def hashes(folder):
    """SHA-256 of every file below a folder, but the log, which gets a line for every stage reused."""
    files = (path for path in folder.rglob("*") if path.is_file() and path != folder / "log.jsonl")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def demo_again():
    """Run the finished demo once more; its result and how many seconds it took."""
    command = [sys.executable, "-m", "lilliput", "demo", "--fast", "--out", "runs/demo"]
    start = time.monotonic()
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result, time.monotonic() - start


def test_make_demo_is_the_command_that_is_tested_here():
    command = ["make", "--dry-run", "--always-make", "demo", "FAST=1"]
    made = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "lilliput demo --out runs/demo-fast --fast" in made
    assert "make demo " in block("Install and run", "sh")


def test_the_demo_leaves_what_the_readme_names(fast_demo):
    assert (fast_demo / "report.html").is_file()
    assert {path.name for path in (fast_demo / "bundles").iterdir() if path.is_dir()} == set(MODELS)
    for name in MODELS:
        manifest = bundle.Bundle.open(fast_demo / "bundles" / name).manifest
        assert (manifest.name, set(manifest.graphs)) == (name, {"fp32", "int8"})
        assert not [value for value in manifest.recipe.values() if "/" in str(value)], "a path means nothing elsewhere"
        assert "From a smoke run" in (fast_demo / "bundles" / name / "README.md").read_text(encoding="utf-8")


def test_the_report_is_whole_and_says_that_it_is_a_smoke_run(fast_demo):
    made = report.read_report(fast_demo / "report.json")  # checks the schema
    assert made["smoke"] is True
    rows = {row["name"]: row for row in made["models"]}
    assert {f"{name} {precision}" for name in MODELS for precision in ("fp32", "int8")} < set(rows)
    assert {row["role"] for row in rows.values()} >= {"teacher_eager", "teacher_fp32", "teacher_int8", "floor"}
    assert made["data"]["n_test"] == 120
    facts = made["data"]["report"]
    assert facts["rows_in"] == facts["rows_used"] + sum(facts["rows_rejected"].values())
    assert not any(facts["overlap"].values())
    assert {figure["status"] for figure in made["figures"]} == {"not measured"}
    page = (fast_demo / "report.html").read_text(encoding="utf-8")
    assert "<title>Smoke run: " in page
    assert "Smoke run on a subset: it shows that everything works. Its figures count for nothing." in page


def test_the_demo_says_what_to_try_next(fast_demo):
    console = (fast_demo.parent / "console.txt").read_text(encoding="utf-8")
    assert "Traceback" not in console
    assert "warning" not in console.lower()
    assert "SMOKE RUN" in console
    assert "rows in = " in console
    assert 'lilliput predict runs/demo/bundles/student-l2 "a joy from start to finish"' in console
    assert "Nothing to do" not in console


def test_once_finished_there_is_nothing_to_do(beside):
    before, log = hashes(beside), (beside / "log.jsonl").read_text(encoding="utf-8")
    again, took = demo_again()
    assert again.returncode == 0, again.stderr
    assert "Nothing to do: runs/demo is finished." in again.stderr
    assert took < 60  # seconds, of a machine that is busy; the demo itself takes minutes
    assert hashes(beside) == before
    after = (beside / "log.jsonl").read_text(encoding="utf-8")
    assert after.startswith(log)
    assert {json.loads(line)["event"] for line in after[len(log) :].splitlines()} == {"stage reused"}


def test_a_deleted_report_is_written_again(beside):
    before = hashes(beside)
    (beside / "report.html").unlink()
    again, _ = demo_again()
    assert again.returncode == 0, again.stderr
    assert hashes(beside) == before


def test_the_python_block_runs(beside):
    *statements, last = ast.parse(block("In an app", "python")).body
    names = {}
    exec(compile(ast.Module(statements, []), "README.md", "exec"), names)
    assert isinstance(last, ast.Expr)
    (answer,) = eval(compile(ast.Expression(last.value), "README.md", "eval"), names)
    assert set(answer) == {"label", "score"}
    assert answer["label"] in ("negative", "positive")
    assert 0.5 <= answer["score"] <= 1


@pytest.mark.parametrize("name", MODELS)
def test_the_bundles_verify_and_predict(beside, name):
    path = f"runs/demo/bundles/{name}"
    checked = CliRunner().invoke(cli.app, ["verify", path])
    assert checked.exit_code == 0, checked.output
    assert f"{MANIFEST}: format 2, digest correct" in checked.stdout
    assert checked.stdout.count("2 smoke predictions (") == 2
    answered = CliRunner().invoke(cli.app, ["predict", path, "a joy from start to finish", "漢字 and مرحبا 😀"])
    assert answered.exit_code == 0, answered.output
    lines = [line.split("\t") for line in answered.stdout.splitlines()]
    assert [text for _, _, text in lines] == ["a joy from start to finish", "漢字 and مرحبا 😀"]
    assert all(label in ("negative", "positive") and 0.5 <= float(score) <= 1 for label, score, _ in lines)


def test_the_own_data_block_runs(own_model, encoders, quick_training, tmp_path, monkeypatch):
    """Every line as it stands, but for a tiny model in place of the one from the Hub."""
    lines = block("On your own data", "sh").splitlines()
    assert sum(HUB_ID in line for line in lines) == 1
    monkeypatch.chdir(tmp_path)
    one_core = types.SimpleNamespace(usable_cores=lambda: 1)  # saves a second round of processes, on all cores
    monkeypatch.setattr(latency, "machine", one_core)
    monkeypatch.setattr(latency, "WARM_S", 0.05)
    encoders.write_csv(Path("reviews.csv"), encoders.rows(240))
    for line in lines:
        words = shlex.split(line.replace(HUB_ID, str(own_model)))
        assert words[0] == "lilliput"
        result = CliRunner().invoke(cli.app, words[1:])
        assert result.exit_code == 0, (line, result.output, result.exception)
    made = report.read_report(Path("runs/benchmark/report.json"))
    names = {f"{name} {precision}" for name in ("teacher", "small") for precision in ("fp32", "int8")}
    assert names | {"teacher torch eager", "teacher plain int8"} < {row["name"] for row in made["models"]}
    assert made["smoke"] is False
    assert bundle.Bundle.open("bundles/small").manifest.provenance["data"]["name"] == "reviews"


def test_the_tables_are_those_of_the_committed_results():
    page = ROOT / "docs" / "demo.md"
    text = page.read_text(encoding="utf-8")
    assert readme.updated(text, "demo", report.read_report(RESULTS), page) == text
    found = targets.headline(targets.points_of(RESULTS.parent), targets.speeds_of(RESULTS.parent))
    assert readme.replaced(README, targets.HEADLINE, found, ROOT / "README.md") == README
