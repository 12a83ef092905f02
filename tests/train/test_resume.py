"""Resuming: from any step, after any interruption, a run ends bit for bit as if nothing had happened."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

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


def test_a_finished_training_is_not_trained_again(fit, tmp_path):
    first = fit(tmp_path)

    def never(model, batch):
        raise AssertionError("trained again")

    assert fit(tmp_path, objective=never) == first


class _CrashOn:
    """Crashes in the call of that number to any of the given functions, and in every later one."""

    def __init__(self, monkeypatch, number, targets):
        self.count, self.number = 0, number
        for owner, name in targets:
            monkeypatch.setattr(owner, name, self._guard(getattr(owner, name)))

    def _guard(self, original):
        def call(*args, **options):
            self.count += 1
            if self.count >= self.number:
                raise Crash
            return original(*args, **options)

        return call


@pytest.mark.parametrize("call", range(1, 25, 3))
def test_a_run_killed_inside_a_save_ends_as_if_it_had_not_been(fit, tmp_path, monkeypatch, expected, call):
    """The calls are those of the second and third checkpoint: writing, flushing, sealing, removing the oldest."""
    import transformers.modeling_utils
    import transformers.trainer

    targets = [
        (torch, "save"),
        (transformers.modeling_utils, "safe_save_file"),
        (transformers.trainer.TrainerState, "save_to_json"),
        (os, "fsync"),
        (Path, "replace"),
        (shutil, "rmtree"),
    ]
    original = loop.TrainingLoop._save_checkpoint
    with monkeypatch.context() as patch:

        def save(self, *args):
            if self.state.global_step == 4 and not hasattr(save, "guard"):
                save.guard = _CrashOn(patch, call, targets)
            return original(self, *args)

        patch.setattr(loop.TrainingLoop, "_save_checkpoint", save)
        with pytest.raises(Crash):
            fit(tmp_path)
    kept = checkpoints.newest(tmp_path / "checkpoints")
    assert kept is not None
    assert checkpoints.step_of(kept) in (2, 4, 6)
    assert fit(tmp_path) == expected


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
