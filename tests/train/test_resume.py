"""Resuming: from any step, after any interruption, a run ends bit for bit as if nothing had happened."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from lilliput.errors import TrainingError
from lilliput.train import checkpoints, loop

pytestmark = pytest.mark.usefixtures("quick_training")

STEPS = 9  # of the run that the fixture makes: 3 epochs of 3


class Crash(BaseException):
    """Ends the process's work where it stands."""


def interrupt_at(step):
    """An objective that crashes in the loss of a step (of this process)."""
    calls = iter(range(1, 1000))

    def objective(model, batch):
        if next(calls) == step:
            raise Crash
        return model(**batch).loss

    return objective


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_run_interrupted_at_any_step_ends_as_if_it_had_not_been(fit, tmp_path, expected, step):
    with pytest.raises(Crash):
        fit(tmp_path, objective=interrupt_at(step))
    assert fit(tmp_path) == expected


def test_a_run_interrupted_again_and_again_ends_as_if_it_had_not_been(fit, tmp_path, expected):
    for _ in range(3):  # 3 steps at a time, of which 2 are kept
        with pytest.raises(Crash):
            fit(tmp_path, objective=interrupt_at(4))
    assert fit(tmp_path) == expected


@pytest.mark.parametrize("save_every", [1, 5, 100])
def test_the_log_does_not_depend_on_where_checkpoints_lie(fit, tmp_path, save_every):
    whole = fit(tmp_path / "whole", save_every=save_every)
    with pytest.raises(Crash):
        fit(tmp_path / "cut", save_every=save_every, objective=interrupt_at(7))
    assert fit(tmp_path / "cut", save_every=save_every) == whole


def never(model, batch):
    """An objective that must not be asked."""
    raise AssertionError("trained again")


WAYS = {
    "to the last epoch": {},
    "with patience": {"epochs": 6, "patience": 1},
    "to a step within an epoch": {"options": {"max_steps": 7}},
    "with accumulated batches": {"gradient_accumulation": 2},
    "with a rate for each layer": {"options": {"layer_decay": 0.7}},
}


@pytest.fixture(scope="module")
def _uninterrupted_ways():
    return {}


@pytest.fixture(params=WAYS)
def way(request, _uninterrupted_ways, fit, tmp_path_factory):
    """Settings of a run, and the outcome of the uninterrupted one."""
    if request.param not in _uninterrupted_ways:
        _uninterrupted_ways[request.param] = fit(tmp_path_factory.mktemp("whole"), **WAYS[request.param])
    return WAYS[request.param], _uninterrupted_ways[request.param]


def test_a_finished_training_is_not_trained_again(fit, tmp_path, way):
    settings, outcome = way
    assert fit(tmp_path, **settings) == outcome
    assert fit(tmp_path, objective=never, **settings) == outcome


@pytest.mark.parametrize("step", [2, 5])
def test_however_a_run_is_set_it_ends_as_if_it_had_not_been_interrupted(fit, tmp_path, way, step):
    settings, outcome = way
    with pytest.raises(Crash):
        fit(tmp_path, objective=interrupt_at(step), **settings)
    assert fit(tmp_path, **settings) == outcome


def test_patience_runs_out_in_a_resumed_run_as_in_the_whole_one(fit, tmp_path):
    """Whether the measurement that ends training was made before the interruption or is made after it."""
    settings = WAYS["with patience"]
    whole = fit(tmp_path / "whole", **settings)
    measured = [line for line in whole.log if line["event"] == "validation"]
    assert 1 < len(measured) < 6
    assert measured[-1]["epoch"] - whole.best["epoch"] == 1
    last = measured[-1]["step"]
    assert whole.newest == f"checkpoint-{last}"
    folder = tmp_path / "cut"
    shutil.copytree(whole.folder, folder)
    shutil.rmtree(folder / "checkpoints" / f"checkpoint-{last}")  # as if killed before the last checkpoint
    assert fit(folder, **settings) == whole


def test_what_a_collator_draws_is_drawn_again(fit, tmp_path, checkpoint):
    """As the masks of masked language modelling are; batches are made ahead of the step that reads them."""
    from lilliput import models

    pad = loop.DataCollatorWithPadding(models.load_tokenizer(checkpoint("bert")))

    def collate(rows):
        batch = pad(rows)
        hidden = torch.rand(batch["input_ids"].shape) < 0.3
        return {**batch, "input_ids": batch["input_ids"].masked_fill(hidden, 4)}

    whole = fit(tmp_path / "whole", options={"collate": collate})
    for step in (4, 5, 8):
        with pytest.raises(Crash):
            fit(tmp_path / str(step), options={"collate": collate}, objective=interrupt_at(step))
        assert fit(tmp_path / str(step), options={"collate": collate}) == whole


@pytest.mark.parametrize("spoil", ["truncate", "flip", "delete", "seal"])
def test_a_broken_newest_checkpoint_falls_back_loudly_to_the_one_before(fit, tmp_path, expected, caplog, spoil):
    with pytest.raises(Crash):
        fit(tmp_path, objective=interrupt_at(7))
    newest = tmp_path / "checkpoints" / "checkpoint-6"
    victim = newest / {"seal": "seal.json", "delete": "optimizer.pt"}.get(spoil, "rng_state.pth")
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    named = "is damaged" if spoil == "seal" else victim.name  # a changed seal no longer fits some other file
    if spoil == "delete":
        victim.unlink()
    else:
        victim.write_bytes(content[: len(content) // 2] if spoil == "truncate" else content)
    with caplog.at_level(logging.WARNING, "lilliput"):
        outcome = fit(tmp_path)
    assert "checkpoint-6 can't be resumed from" in caplog.text
    assert named in caplog.text
    assert "going on from checkpoint-4" in caplog.text
    assert outcome == expected


def test_where_every_checkpoint_is_broken_training_does_not_start_again_by_itself(fit, tmp_path):
    with pytest.raises(Crash):
        fit(tmp_path, objective=interrupt_at(7))
    for folder in (tmp_path / "checkpoints").glob("checkpoint-*"):
        (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"no checkpoint is whole \(checkpoint-6: model\.safetensors is damaged; "):
        fit(tmp_path)
    assert len(list((tmp_path / "checkpoints").glob("checkpoint-*"))) == 2


def test_damaged_best_weights_are_an_error_where_training_is_past_them(fit, tmp_path):
    outcome = fit(tmp_path)
    best = tmp_path / "checkpoints" / f"best-{outcome.best['step']}" / "model.safetensors"
    best.write_bytes(best.read_bytes()[:-1] + b"x")
    with pytest.raises(
        TrainingError, match=r"the best weights so far are lost \(model\.safetensors is damaged\); delete"
    ):
        fit(tmp_path)
    shutil.rmtree(best.parent)
    with pytest.raises(TrainingError, match=r"the best weights so far are lost \(nothing is there\); delete"):
        fit(tmp_path)


def test_damaged_best_weights_are_made_again_where_training_comes_by_them(fit, tmp_path, expected, caplog):
    with pytest.raises(Crash):
        fit(tmp_path, objective=interrupt_at(4))
    (tmp_path / "checkpoints" / "best-3" / "validation.json").write_text("{}")
    with caplog.at_level(logging.WARNING, "lilliput"):  # the checkpoint is that of step 2
        assert fit(tmp_path) == expected
    assert "best-3 can't be used: validation.json is damaged; training goes on before that step" in caplog.text


def test_a_checkpoint_holds_all_that_going_on_takes(fit, tmp_path):
    fit(tmp_path)
    files = json.loads((tmp_path / "checkpoints" / "checkpoint-8" / "seal.json").read_text())
    parts = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
    assert set(parts) <= set(files)
    state = json.loads((tmp_path / "checkpoints" / "checkpoint-8" / "trainer_state.json").read_text())
    assert state["global_step"] == 8  # the position in the data: batches are numbered


@pytest.mark.parametrize("how", ["another state", "no state", "no file"])
def test_generators_that_can_not_be_set_back_are_an_error(fit, tmp_path, monkeypatch, how):
    with pytest.raises(Crash):
        fit(tmp_path, objective=interrupt_at(5))
    newest = tmp_path / "checkpoints" / "checkpoint-4"
    if how == "no file":
        (newest / "rng_state.pth").unlink()
    else:
        state = {"another state": {"python": 1}, "no state": {}}[how]
        torch.save(state, newest / "rng_state.pth")
    (newest / "seal.json").unlink()
    checkpoints.seal(newest)
    message = (
        "checkpoint-4: 0 processes made this checkpoint"
        if how == "no file"
        else "generators can't go on from where they"
    )
    with pytest.raises(TrainingError, match=message):
        fit(tmp_path)


def test_a_killed_process_resumes_and_ends_as_if_it_had_not_been(tmp_path, expected, checkpoint, material, fit):
    script = """
import json, os, signal, sys
from pathlib import Path
import torch
from lilliput import models
from lilliput.config import FinetuneConfig
from lilliput.train import loop
from lilliput.train.evaluate import accuracy, logits_of

source, folder, kill_at, given = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), json.load(sys.stdin)
torch.manual_seed(0)
model, tokenizer = models.load_classifier(source, ("negative", "positive")), models.load_tokenizer(source)
train, held_out = given["train"], given["validation"]
calls = iter(range(1, 1000))

def objective(model, batch):
    if next(calls) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return model(**batch).loss

def validate(model):
    return {"score": accuracy(logits_of(model, tokenizer, held_out["texts"], 16), held_out["labels"])}

data = loop.encode(train["texts"], tokenizer, 16, labels=train["labels"])
config = FinetuneConfig(**given["config"], out=folder)
loop.fit(model, tokenizer, data, config, folder, validate, objective=objective)
"""
    command = [sys.executable, "-c", script, str(checkpoint("bert")), str(tmp_path), "6"]
    # Sums depend on how many threads share them, and an earlier test may have set that number in this process.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run(
        command, input=json.dumps(material), text=True, capture_output=True, check=False, env=environment
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if line["event"] == "train"] == [1, 2, 3, 4, 5]
    outcome = fit(tmp_path)
    assert '"resumed", "step": 4' in (tmp_path / "log.jsonl").read_text()
    assert outcome == expected
