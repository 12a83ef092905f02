"""The whole command on a tiny teacher: killed and started again, asked for the impossible; dirty data; Ray."""

import csv
import importlib.util
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from markupsafe import escape

from lilliput import runtime
from lilliput.bundle import verify
from lilliput.config import CompressConfig
from lilliput.errors import ConfigError, RunError

LENGTH = 24


def compress(**settings):
    from lilliput.pipeline import compress as run

    return run(CompressConfig(**{"max_length": LENGTH, "device": "cpu", "rounds": 2, **settings}))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("compress")


@pytest.fixture(scope="module")
def data(place, encoders):
    return encoders.data_set(place / "data", train=200, validation=60, test=60, unlabelled=40)


@pytest.fixture(scope="module")
def teacher(place, data, encoders, tiny):
    """A tiny model that has learnt something."""
    from lilliput.config import FinetuneConfig
    from lilliput.train import finetune

    base = encoders.save(place / "base", "bert", tiny.tokenizer, layers=3, initializer_range=0.1)
    settings = {"epochs": 8, "batch_size": 8, "learning_rate": 3e-3, "max_length": LENGTH, "device": "cpu"}
    result = finetune(FinetuneConfig(model=str(base), data=str(data), out=place / "teacher", **settings))
    return result["folder"]


def finished(folder):
    """Trial and rung of every line of the ledger that says so."""
    path = folder / "trials.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return [(one["trial"], one["rung"]) for one in events if one["event"] == "finished"]


def stages(folder):
    """When each finished stage of a trial was made."""
    return {path: path.stat().st_mtime_ns for path in sorted(folder.glob("trials/*/*/stage.json"))}


@pytest.fixture(scope="module")
def killed(place, data, teacher):
    """A run that was killed after three finished trials, and then finished; what there was at the kill, and the end."""
    out = place / "run"
    command = [sys.executable, "-m", "lilliput", "compress", "--teacher", str(teacher), "--data", str(data)]
    command += ["--max-length", str(LENGTH), "--device", "cpu", "--rounds", "2", "--trials", "5", "--speedup", "1.3"]
    process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 400
    while len(finished(out)) < 3 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    process.kill()
    process.wait()
    before = finished(out), stages(out)
    result = compress(teacher=teacher, data=str(data), out=out, trials=5, speedup=1.3)
    return out, before, result


@pytest.mark.slow
def test_killed_and_restarted_it_loses_no_finished_trial(killed):
    out, (before, made), _ = killed
    assert len(before) >= 3
    assert finished(out)[: len(before)] == before
    assert len(finished(out)) > len(before)
    assert len(set(finished(out))) == len(finished(out))
    assert {path: stages(out)[path] for path in made} == made


@pytest.mark.slow
def test_the_result_is_a_family_of_whole_bundles_and_a_claim(killed, data):
    out, _, result = killed
    names = [member["name"] for member in result["family"]]
    assert result["recommended"] in names
    assert 1 <= len(names) <= 6
    for bundle in [out / "recommended", *(Path(member["bundle"]) for member in result["family"])]:
        verify(bundle)
        assert (bundle / "README.md").is_file()
        assert runtime.load(bundle)("a joy from start to finish")[0]["label"] in ("negative", "positive")
    report = json.loads((out / "report.json").read_text())
    assert {row["model"] for row in report["models"]} == {"teacher", "teacher plain", "tfidf", *names}
    assert (out / "report.html").is_file()
    assert report["recommended"] == f"{result['recommended']} int8"  # of which the page speaks
    assert report["verdict"][:2] == [result["claim"], f"Why this one: {result['reason']}."]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(str(escape(sentence)) in page for sentence in report["verdict"])
    assert result["claim"].startswith(f"{result['recommended']}: ")
    assert "reaches 1.3 times (within 5%)" in result["evidence"]["answers"]
    for member in result["family"]:
        *makes, exports = member["recipe"]["commands"]
        assert all(line.startswith(("lilliput prune ", "lilliput distill ")) for line in makes)
        assert exports.startswith("lilliput export ")


@pytest.mark.slow
def test_no_trial_has_seen_the_test_split(killed):
    out, _, _ = killed
    results = [json.loads(path.read_text()) for path in out.glob("trials/*/*/result.json")]
    assert any("validation" in result for result in results)
    assert not any("test" in result for result in results)


@pytest.mark.slow
def test_a_recipe_parses_and_the_same_command_does_nothing(killed, data, teacher):
    import shlex

    import typer

    from lilliput.cli import app

    out, _, result = killed
    commands = typer.main.get_command(app).commands
    for member in result["family"]:
        for line in member["recipe"]["commands"]:
            _, name, *rest = shlex.split(line)
            commands[name].make_context(name, rest)
    again = compress(teacher=teacher, data=str(data), out=out, trials=5, speedup=1.3)
    assert again["reused"]
    assert again["claim"] == result["claim"]


@pytest.mark.slow
def test_an_impossible_target_gives_the_nearest_and_the_reason(killed, data, teacher, place):
    out, _, _ = killed
    other = Path(shutil.copytree(out, place / "impossible"))
    result = compress(teacher=teacher, data=str(data), out=other, trials=5, speedup=5000)
    assert not result["meets"]
    assert "no model meets --speedup 5000: the fastest is" in result["reason"]
    assert "no transformer that keeps them can be faster than that" in result["reason"]
    fastest = max(result["family"], key=lambda member: member["speedup"])
    assert result["recommended"] == fastest["name"]
    report = json.loads((other / "report.json").read_text())  # of the same models, perhaps; of this wish in any case
    assert "--speedup 5000" in report["command"]
    assert report["recipe"]["config"]["compress"]["speedup"] == 5000
    assert report["verdict"][0] == result["claim"]


@pytest.mark.slow
def test_another_search_in_the_same_folder_is_refused(killed, data, teacher):
    out, _, _ = killed
    with pytest.raises(RunError, match="another precision"):
        compress(teacher=teacher, data=str(data), out=out, speedup=1.3, precision="fp32")


# --- data of another kind --------------------------------------------------------------------------------------------

TOPICS = {"sport": 120, "politics": 60, "science": 40, "art": 20, "weather": 10}


def dirty(path):
    """Long texts of five topics, unbalanced; empty cells, duplicates, and lines that are no UTF-8."""
    draw, rows = random.Random(0), []
    for topic, count in TOPICS.items():
        for _ in range(count):
            words = [
                draw.choice(["the", "film", "is", "a", "very", "long", "text", topic, "naïve café"]) for _ in range(80)
            ]
            rows.append((" ".join(words), topic))
    draw.shuffle(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows, rows[0], ("", "sport"), ("no label", "")])
    with path.open("ab") as file:
        file.write("caf\xe9 of the film,art\n".encode("latin-1"))
        file.write(b'"a quote that is never closed,sport\n')
    return path


@pytest.mark.slow
def test_dirty_data_of_five_classes_go_through_within_the_budget(place, encoders, tiny):
    base = encoders.save(place / "five", "bert", tiny.tokenizer, labels=None, layers=3, initializer_range=0.1)
    path = dirty(place / "reviews.csv")
    result = compress(model=str(base), data=str(path), out=place / "dirty", budget="8min", family=2)
    assert result["seconds"] <= 1.1 * 480
    assert result["family"]
    model = runtime.load(place / "dirty" / "recommended")
    assert set(model.labels) == set(TOPICS)


@pytest.mark.slow
def test_a_budget_that_is_gone_before_a_candidate_says_so(killed, data, teacher, place):
    with pytest.raises(ConfigError, match=r"--budget 5s: spent before .* give more, and the run goes on"):
        compress(teacher=teacher, data=str(data), out=place / "short", budget=5, speedup=1.3)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.filterwarnings("ignore")
def test_a_local_ray_with_two_workers_works_on_the_trials(place, data, teacher):
    settings = {"trials": 2, "speedup": 1.3, "transformers_only": True, "workers": 2}
    result = compress(teacher=teacher, data=str(data), out=place / "ray", ray="local", **settings)
    assert result["trials"] == 2
    assert result["family"]
