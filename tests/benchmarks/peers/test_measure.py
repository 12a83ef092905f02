"""What is measured of peers: names, failures that are told, answers that are kept."""

import json
import sys
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.peers.measure import __main__ as measure
from lilliput.benchmarks.peers.measure import answering, making
from lilliput.benchmarks.peers.measure.roster import PEERS
from lilliput.errors import ConfigError, FetchError, LilliputError
from lilliput.runs import Run

WORKER = """
import json, sys
spec = json.load(open(sys.argv[1]))
options = spec["options"]
if options.get("broken"):
    sys.exit("ImportError: no engine here")
open(options["log"], "a").write("started\\n")
print(json.dumps({"labels": options.get("labels", ["negative", "positive"]), "parameters": 1, "bytes": 2}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    answers = [len(text) % 2 for text in request.get("texts", [])]
    say = {"ns": 1000}
    if request["do"] == "one":
        say = {"ns": [1000] * len(answers), "answers": answers, "probabilities": [[1.0 - a, float(a)] for a in answers]}
    print(json.dumps(say), flush=True)
"""
TEXTS = [str("x" * length) for length in range(1, 251)]
LABELS = ("negative", "positive")


@pytest.fixture
def entry(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)

    def make(name, **options):
        full = {"log": str(tmp_path / "log"), **options}
        return Entry(name, "none", "fp32", "none", full, command=(sys.executable, str(script)))

    return make


def test_answers_are_kept_until_the_model_or_the_texts_change(entry, tmp_path):
    with Run(tmp_path / "run", "peers") as run:
        found = answering.answers_of(run, entry("one"), "a", TEXTS, LABELS)
        assert found.labels.tolist() == [len(text) % 2 for text in TEXTS]
        assert found.facts["bytes"] == 2
        again = answering.answers_of(run, entry("one"), "a", TEXTS, LABELS)
        assert again.labels.tolist() == found.labels.tolist()
        assert (tmp_path / "log").read_text().count("started") == 1
        answering.answers_of(run, entry("one"), "b", TEXTS, LABELS)
        answering.answers_of(run, entry("one"), "b", TEXTS[:10], LABELS)
        assert (tmp_path / "log").read_text().count("started") == 3


def test_other_labels_are_refused(entry, tmp_path):
    with (
        Run(tmp_path / "run", "peers") as run,
        pytest.raises(ConfigError, match="'one' answers bad, good, but the data"),
    ):
        answering.answers_of(run, entry("one", labels=["bad", "good"]), "a", TEXTS[:3], LABELS)


def test_a_peer_that_cannot_be_had_is_reported_and_the_others_go_on(monkeypatch, tmp_path, capsys, entry):
    def entry_of(run, peer, source, seeds):
        if peer.name == "optimum-o2":
            raise FetchError("the environment 'optimum' can't be made: no matching distribution")
        return entry(peer.name, broken=peer.name == "vader")

    monkeypatch.setattr(making, "entry_of", entry_of)
    monkeypatch.setattr(making, "plain", lambda run, source, seeds: entry("plain"))
    monkeypatch.setattr(measure.environments, "versions_of", lambda name: {"numpy": "1"})
    peers = measure.chosen("vader,optimum-o2,tfidf-lr")
    dataset = SimpleNamespace(
        test=SimpleNamespace(texts=TEXTS, labels=[len(text) % 2 for text in TEXTS]), label_names=LABELS
    )
    with Run(tmp_path / "run", "peers") as run:
        found = measure.gather(run, SimpleNamespace(identity="me"), [], peers, 0)
        measure.answer(run, found, [], dataset)
    assert sorted(found.entries) == ["plain-int8", "tfidf-lr"]
    assert found.failed["optimum-o2"] == "the environment 'optimum' can't be made: no matching distribution"
    assert "no engine here" in found.failed["vader"]
    assert "vader: not measured" in capsys.readouterr().err
    assert found.answers["tfidf-lr"].labels.tolist() == dataset.test.labels


def test_what_is_compared_with_must_work(monkeypatch, tmp_path, entry):
    found = measure.Candidates(entries={measure.PLAIN: entry("plain", broken=True)}, keys={measure.PLAIN: "k"})
    dataset = SimpleNamespace(test=SimpleNamespace(texts=TEXTS, labels=[]), label_names=LABELS)
    with Run(tmp_path / "run", "peers") as run, pytest.raises(LilliputError, match="no engine here"):
        measure.answer(run, found, [], dataset)


def test_peers_are_chosen_by_name():
    assert [peer.name for peer in measure.chosen(None)] == [peer.name for peer in PEERS]
    assert [peer.name for peer in measure.chosen("vader, hf-pipeline")] == ["hf-pipeline", "vader"]
    with pytest.raises(ConfigError, match="--only onnx: unknown; known are hf-pipeline, ort-int8"):
        measure.chosen("onnx")


def test_a_bundle_of_another_fold_is_refused(monkeypatch, tmp_path):
    manifest = SimpleNamespace(provenance={"data": {"name": "sentiment-fold1"}}, graphs={"fp32": {}, "int8": {}})
    monkeypatch.setattr(measure.Bundle, "open", lambda path: SimpleNamespace(manifest=manifest))
    one = measure.Ours.read("x4=some:where/bundle", 1)
    assert (one.name, one.precision, one.bundle.name) == ("x4", "int8", "bundle")
    assert measure.Ours.read("x4=bundle:fp32", 1).precision == "fp32"
    with pytest.raises(ConfigError, match="made from sentiment-fold1, but --fold is 2"):
        measure.Ours.read("x4=bundle", 2)
    with pytest.raises(ConfigError, match="ships fp32, int8"):
        measure.Ours.read("x4=bundle:int4", 1)
    with pytest.raises(ConfigError, match="expected NAME=BUNDLE"):
        measure.Ours.read("bundle", 1)


def test_facts_of_a_teacher_are_read_without_loading_it(checkpoint):
    folder = checkpoint("bert")
    import torch
    from transformers import AutoModelForSequenceClassification

    facts = making.facts_of(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert facts["parameters"] == sum(weights.numel() for weights in model.parameters())
    assert facts["labels"] == [model.config.id2label[index] for index in range(model.config.num_labels)]
    assert facts["pad_token"] == "[PAD]"
    assert torch.is_tensor(next(model.parameters()))


def test_no_teacher_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--teacher .*: no fine-tuned model"):
        making.facts_of(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fold", "3"], "--fold 3: expected one of 0, 1, 2"),
        (["--fold", "0", "--timed", "0"], "--timed, --rounds and --limit must be at least 1"),
        (["--fold", "0", "--limit", "0"], "--timed, --rounds and --limit must be at least 1"),
        (["--fold", "0", "--only", "me"], "--only me: unknown"),
        (["--fold", "0", "--ours", "here"], "--ours here: expected NAME=BUNDLE"),
    ],
)
def test_wrong_options_are_named(options, message, tmp_path):
    app = typer.Typer()
    app.command()(measure.main)
    if "--ours" not in options:
        options = [*options, "--ours", "x4=nowhere"]
    done = CliRunner().invoke(app, [*options, "--out", str(tmp_path / "out.json")])
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.slow
@pytest.mark.network
def test_a_real_peer_is_measured_from_its_environment(tmp_path):
    from pathlib import Path

    from lilliput.benchmarks.peers.measure import environments
    from lilliput.benchmarks.workers import Worker

    (peer,) = measure.chosen("vader")
    python = environments.interpreter(peer.requirements)
    made = peer.entry(python, {"facts": {"labels": list(LABELS)}, "unsure": "positive"})
    spec = {"peer": made.peer, "threads": 1, "options": dict(made.options)}
    with Worker(made.name, made.command, spec, Path(tmp_path), 60) as worker:
        assert worker.ready()["labels"] == list(LABELS)
        found = worker.ask("one", texts=["a wonderful film", "an awful film", "a film"])
    assert found["answers"] == [1, 0, 1]
    assert json.dumps(found["ns"])
