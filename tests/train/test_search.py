"""The search for hyper-parameters: what is tried, what is kept, and what a kill costs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import torch
import yaml

from lilliput.config import FinetuneConfig
from lilliput.errors import TrainingError
from lilliput.train import finetune, precision, search
from lilliput.train.search import space


@pytest.fixture
def config(tmp_path):
    return FinetuneConfig(model="m", trials=8, out=tmp_path / "out")


class Attempts:
    """A training without a model: the score rises to a peak at a learning rate of 5e-5, epoch by epoch."""

    def __init__(self, stop_at=None, fail_at=()):
        self.asked = []
        self.stop_at = stop_at
        self.fail_at = fail_at

    def __call__(self, folder, config, told, what):
        number = len(self.asked)
        self.asked.append((what, config))
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "weights").write_text("large")
        if number == self.stop_at:
            raise KeyboardInterrupt
        if number in self.fail_at:
            raise TrainingError("the loss became nan")
        best = 1 / (1 + abs(config.learning_rate - 5e-5) * 1e4)
        for epoch in range(1, config.epochs + 1):
            metrics = {"accuracy": best * epoch / config.epochs, "score": best * epoch / config.epochs}
            told(metrics)
        return metrics


def run(config, attempts, facts=None):
    return search.search(config.out / "trials", config, facts or {}, attempts, "accuracy")


def test_the_best_of_all_trials_is_found_and_every_one_is_told_of(config):
    attempts = Attempts()
    found = run(config, attempts)
    assert len(attempts.asked) == len(found["trials"]) == found["finished"] + found["pruned"] == 8
    scores = [one["metrics"]["score"] for one in found["trials"] if one["state"] == "finished"]
    best = found["trials"][found["best"]]
    assert found["accuracy"] == best["metrics"]["score"] == max(scores)
    assert found["settings"] == best["settings"]
    first = found["trials"][0]["settings"]
    assert first == {name: getattr(config, name) for name in first}  # the configuration's own settings
    for _, tried in attempts.asked:
        assert 1e-5 <= tried.learning_rate <= 3e-4
        assert 2 <= tried.epochs <= 5
        assert tried.batch_size in (16, 32, 64)
        assert (tried.trials, tried.seeds, tried.seed) == (0, None, config.seed)


def test_progress_says_which_trial_it_is_and_the_best_so_far(config):
    attempts = Attempts()
    found = run(config, attempts)
    first = found["trials"][0]["metrics"]["accuracy"]
    assert attempts.asked[0][0] == "trial 1 of 8"
    assert attempts.asked[1][0] == f"trial 2 of 8, best accuracy so far {first:.4f}"


def test_a_trial_keeps_its_configuration_and_scores_and_no_weights(config):
    found = run(config, Attempts())
    folder = config.out / "trials" / "003"
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "result.json", "stage.json"}
    written = yaml.safe_load((folder / "config.yaml").read_text())
    assert {name: written[name] for name in found["trials"][3]["settings"]} == found["trials"][3]["settings"]


def test_hopeless_trials_are_given_up_early(config):
    """After five finished trials, one whose first epoch is below the median of theirs is not trained on."""
    found = run(config.model_copy(update={"trials": 20}), Attempts())
    first = {one["number"]: one["scores"][0] for one in found["trials"]}
    pruned = [one for one in found["trials"] if one["state"] == "pruned"]
    assert pruned
    for one in pruned:
        assert one["number"] >= 5
        assert len(one["scores"]) < one["settings"]["epochs"]
        finished = [other for other in found["trials"] if other["state"] == "finished"]
        before = sorted(first[other["number"]] for other in finished if other["number"] < one["number"])
        if len(one["scores"]) == 1:
            middle = len(before) // 2
            median = before[middle] if len(before) % 2 else (before[middle - 1] + before[middle]) / 2
            assert one["scores"][0] < median


def test_an_interrupted_search_asks_the_same_questions_and_loses_no_finished_trial(config, tmp_path):
    whole = run(config, Attempts())
    cut = config.model_copy(update={"out": tmp_path / "cut"})
    with pytest.raises(KeyboardInterrupt):
        run(cut, Attempts(stop_at=5))
    rest = Attempts()
    assert run(cut, rest) == whole
    assert len(rest.asked) == 3


def test_more_trials_go_on_where_the_search_ended_and_other_data_begin_anew(config):
    eight = run(config, Attempts())
    more = Attempts()
    ten = run(config.model_copy(update={"trials": 10}), more)
    assert len(more.asked) == 2
    assert ten["trials"][:8] == eight["trials"]
    anew = Attempts()
    run(config, anew, {"data_fingerprint": "another"})
    assert len(anew.asked) == 8


def test_settings_that_can_t_be_trained_with_cost_one_trial(config):
    found = run(config, Attempts(fail_at=(0, 3)))
    assert [one["number"] for one in found["trials"] if one["state"] == "failed"] == [0, 3]
    assert found["failed"] == 2
    assert found["trials"][3]["why"] == "the loss became nan"
    with pytest.raises(TrainingError, match="no trial came to its end; the last one: the loss became nan"):
        run(config.model_copy(update={"out": config.out / "other"}), Attempts(fail_at=range(8)))


def test_the_ranges_hold_the_configuration_s_own_settings(tmp_path):
    own = {"learning_rate": 1e-3, "epochs": 9, "batch_size": 8, "warmup": 0.5, "weight_decay": 0.3, "layer_decay": 0.5}
    for name, found in space(FinetuneConfig(out=tmp_path, **own)).items():
        assert found._contains(found.to_internal_repr(own[name])), name


# --- the whole way ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_config(checkpoint, encoders, tmp_path):
    settings = {"epochs": 2, "batch_size": 8, "max_length": 16, "learning_rate": 3e-3, "device": "cpu", "trials": 3}
    data = encoders.data_set(tmp_path / "data")
    return FinetuneConfig(model=str(checkpoint("bert")), data=str(data), out=tmp_path / "out", **settings)


@pytest.mark.usefixtures("quick_training")
def test_the_best_settings_are_trained_and_written_down(tiny_config, monkeypatch):
    monkeypatch.setattr(precision, "bf16_is_fast", lambda device: False)
    result = finetune(tiny_config)
    found = result["search"]
    assert len(found["trials"]) == 3
    best = found["trials"][found["best"]]
    # One seed decides a training: the model is the best trial's, which was not kept.
    assert result["validation"]["accuracy"] == pytest.approx(best["metrics"]["accuracy"], abs=1e-6)
    written = yaml.safe_load((Path(result["folder"]) / "config.yaml").read_text())
    assert {name: written[name] for name in found["settings"]} == found["settings"]
    assert written["trials"] == 0
    assert finetune(tiny_config)["reused"]


@pytest.mark.usefixtures("quick_training")
def test_a_trial_that_is_given_up_stops_training(tiny_config, monkeypatch):
    class Second(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number == 1

    monkeypatch.setattr(optuna.pruners, "MedianPruner", Second)
    found = finetune(tiny_config)["search"]
    assert [one["state"] for one in found["trials"]] == ["finished", "pruned", "finished"]
    assert len(found["trials"][1]["scores"]) == 1
    assert not (tiny_config.out / "trials" / "001" / "checkpoints").exists()
    assert finetune(tiny_config)["search"] == found


def test_a_killed_search_is_gone_on_with(tiny_config, tmp_path):
    """The process is killed in its second trial; the same command then makes the remaining ones only."""
    script = """
import os, signal, sys
from lilliput.config import FinetuneConfig, build
from lilliput.train import finetune, precision
from pathlib import Path

def progress(done, total, what):
    if what.startswith("trial 2") and done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

precision.bf16_is_fast = lambda device: False
finetune(build(FinetuneConfig, Path(sys.argv[1])), progress)
"""
    (tmp_path / "config.yaml").write_text(tiny_config.to_yaml())
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", script, str(tmp_path / "config.yaml")]
    killed = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    trials = tiny_config.out / "trials"
    first = (trials / "000" / "stage.json").read_bytes()
    assert not (trials / "001").exists()
    result = finetune(tiny_config)
    assert [one["number"] for one in result["search"]["trials"]] == [0, 1, 2]
    assert (trials / "000" / "stage.json").read_bytes() == first
    assert sorted(path.name for path in trials.iterdir() if path.is_dir()) == ["000", "001", "002"]
    assert json.loads((tiny_config.out / "teacher" / "result.json").read_text())["search"] == result["search"]
