"""A distillation that is killed ends, resumed, bit for bit as one that was not: in every stage, whatever is drawn."""

import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from lilliput.compress.distillation_loss import DistillationLoss
from lilliput.train import precision

pytestmark = pytest.mark.usefixtures("quick_training")

# 34 texts: 5 steps in the first stage, 10 in the second, which is saved every other step.
SETTINGS = {
    "student": "layers=2,hidden=8,ffn=12",
    "stage": ["hidden-states,embeddings,epochs=1"],
    "objective": ["logit-mse", "hidden-states=0.5"],
    "mapping": "learned",
    "augment_online": 0.5,
    "epochs": 2,
    "save_every": 2,
    "batch_size": 8,
    "max_length": 16,
    "device": "cpu",
    "learning_rate": 1e-2,
}
LOGS = ("log-stage-1.jsonl", "log.jsonl")


class Crash(BaseException):
    """Ends the work where it stands."""


def outcome(folder):
    """Digest of the student's weights, its validations, and the figures that it ends with."""
    weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    lines = [json.loads(line) for name in LOGS for line in (folder / name).read_text().splitlines()]
    logged = [{k: v for k, v in line.items() if k != "time"} for line in lines if line["event"] != "resumed"]
    result = json.loads((folder / "result.json").read_text())
    return weights, logged, {name: result[name] for name in ("validation", "test", "best_epoch", "texts")}


def stop_at(monkeypatch, step):
    """Crash in the loss of a training step of this process."""
    calls = iter(range(1, 1000))
    original = DistillationLoss.__call__

    def crashing(self, model, batch):
        if model.training and next(calls) == step:
            raise Crash
        return original(self, model, batch)

    monkeypatch.setattr(DistillationLoss, "__call__", crashing)


@pytest.fixture(scope="module")
def _whole():
    return {}


@pytest.fixture
def expected(_whole, distil, checkpoint, data, tmp_path):
    """The outcome of the run that nothing interrupts; it is made once."""
    if not _whole:
        distil(checkpoint("bert"), out="whole", **SETTINGS)
        _whole["outcome"] = outcome(tmp_path / "whole/student")
    return _whole["outcome"]


@pytest.mark.parametrize("step", [2, 6, 13])
def test_a_distillation_that_is_interrupted_in_either_stage(distil, checkpoint, tmp_path, monkeypatch, expected, step):
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(Crash):
            distil(checkpoint("bert"), **SETTINGS)
    torch.rand(step)  # nothing may depend on what was drawn before
    distil(checkpoint("bert"), **SETTINGS)
    assert outcome(tmp_path / "out/student") == expected


def test_a_distillation_that_is_interrupted_again_and_again(distil, checkpoint, tmp_path, monkeypatch, expected):
    for _ in range(6):  # 3 steps at a time, of which 2 are kept
        with monkeypatch.context() as patch:
            stop_at(patch, 4)
            with pytest.raises(Crash):
                distil(checkpoint("bert"), **SETTINGS)
    distil(checkpoint("bert"), **SETTINGS)
    assert outcome(tmp_path / "out/student") == expected


SCRIPT = """
import json, os, signal, sys
from lilliput.compress import distill
from lilliput.compress.distillation_loss import DistillationLoss
from lilliput.config import DistillConfig
from lilliput.train import precision

precision._cpu_is_faster = lambda: sys.argv[2] == "True"
kill_at, calls, original = int(sys.argv[1]), iter(range(1, 1000)), DistillationLoss.__call__

def killing(self, model, batch):
    if model.training and next(calls) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, model, batch)

DistillationLoss.__call__ = killing
distill(DistillConfig(**json.load(sys.stdin)))
"""


@pytest.mark.parametrize(("step", "stage"), [(4, 1), (10, 2)])
def test_a_killed_process_resumes(distil, checkpoint, data, tmp_path, expected, step, stage):
    settings = {**SETTINGS, "teacher": str(checkpoint("bert")), "data": str(data), "out": str(tmp_path / "out")}
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run(
        # In the precision of this process: under load two processes may measure that another one is the faster.
        [sys.executable, "-c", SCRIPT, str(step), str(precision._cpu_is_faster())],
        input=json.dumps(settings),
        text=True,
        capture_output=True,
        check=False,
        env=environment,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    partial = tmp_path / "out/.student.partial"
    assert (partial / "log-stage-1.jsonl").exists() is (stage == 2)
    distil(checkpoint("bert"), **SETTINGS)
    log = tmp_path / "out/student" / ("log.jsonl" if stage == 2 else "log-stage-1.jsonl")
    assert f'"resumed", "step": {2 if stage == 1 else 4}' in log.read_text()
    assert outcome(tmp_path / "out/student") == expected
