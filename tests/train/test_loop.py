"""The training loop: a repeatable order, exact resume from any step, and no step on a loss that is not finite."""

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
from safetensors.torch import load_file

from lilliput import models
from lilliput.config import FinetuneConfig
from lilliput.errors import ConfigError, TrainingError
from lilliput.train import checkpoints, loop
from lilliput.train.evaluate import accuracy, logits_of

ROWS, BATCH, EPOCHS, SAVE_EVERY = 10, 4, 3, 2  # 3 steps an epoch, the last one half empty
STEPS = 9


pytestmark = pytest.mark.usefixtures("quick_training")


class Crash(BaseException):
    """Ends the process's work where it stands."""


@pytest.fixture
def material(encoders):
    """What every run here trains and validates on, and its settings; all of it can be written as JSON."""

    def split(rows):
        return {"texts": [text for text, _ in rows], "labels": [encoders.LABELS.index(label) for _, label in rows]}

    settings = {"epochs": EPOCHS, "batch_size": BATCH, "save_every": SAVE_EVERY, "learning_rate": 1e-2}
    return {
        "train": split(encoders.rows(ROWS)),
        "validation": split(encoders.rows(8, ROWS)),
        "config": {**settings, "max_length": 16, "device": "cpu"},
    }


@pytest.fixture
def fit(checkpoint, encoders, material):
    """Fine-tune the tiny BERT (dropout on) in a folder; options go to the loop, ``config`` changes its settings."""

    def fit(folder, *, objective=loop.label_loss, progress=None, **config):
        config = FinetuneConfig(**{**material["config"], "out": folder, **config})
        source = checkpoint("bert")
        torch.manual_seed(config.seed)
        model, tokenizer = models.load_classifier(source, encoders.LABELS), models.load_tokenizer(source)
        train, held_out = material["train"], material["validation"]

        def validate(model):
            return {"score": accuracy(logits_of(model, tokenizer, held_out["texts"], 16), held_out["labels"])}

        data = loop.encode(train["texts"], tokenizer, 16, labels=train["labels"])
        return loop.fit(model, tokenizer, data, config, folder, validate, objective=objective, progress=progress)

    return fit


def last_weights(folder):
    """The weights after the last step (those returned are the best on validation)."""
    return load_file(folder / "checkpoints" / f"checkpoint-{STEPS}" / "model.safetensors")


def log_of(folder):
    """The log without its times, and without the notes of resuming."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "time"} for line in lines if line["event"] != "resumed"]


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Where the uninterrupted run of this module lies, made by the first test that asks for it."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def expected(whole, fit):
    """Folder, best metrics and best weights of the uninterrupted run."""
    if not (whole / "best.pt").exists():
        model, best = fit(whole)
        torch.save({"weights": model.state_dict(), "best": best}, whole / "best.pt")
    return whole, torch.load(whole / "best.pt", weights_only=True)


def assert_same_as_uninterrupted(folder, model, best, expected):
    whole, uninterrupted = expected
    assert same_weights(last_weights(folder), last_weights(whole))
    assert same_weights(model.state_dict(), uninterrupted["weights"])
    assert best == uninterrupted["best"]
    assert log_of(folder) == log_of(whole)


# --- the run itself --------------------------------------------------------------------------------------------------


def test_what_a_run_leaves(expected):
    folder, uninterrupted = expected
    log = log_of(folder)
    assert [line["step"] for line in log if line["event"] == "train"] == list(range(1, STEPS + 1))
    assert [(line["step"], line["epoch"]) for line in log if line["event"] == "validation"] == [(3, 1), (6, 2), (9, 3)]
    # Warm-up over round(0.1 * 9) = 1 step, then linearly from 1e-2 to 0 over the other 8. The logged rate is that of
    # the step itself: 0 in the first one, the peak in the second.
    rates = [line["learning_rate"] for line in log if line["event"] == "train"]
    assert rates == pytest.approx([0.0, *(1e-2 * (8 - i) / 8 for i in range(8))])
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["best", "checkpoint-8", "checkpoint-9"]
    scores = [line["score"] for line in log if line["event"] == "validation"]
    assert uninterrupted["best"]["score"] == max(scores)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(fit, tmp_path, expected):
    assert_same_as_uninterrupted(tmp_path / "a", *fit(tmp_path / "a"), expected)
    fit(tmp_path / "b", seed=1)
    assert not same_weights(last_weights(tmp_path / "b"), last_weights(expected[0]))


def test_dropout_is_on(fit, tmp_path, expected):
    """Without it, the resume tests below would not test the generators' state."""
    losses = []

    def twice(model, batch):
        losses.append((model(**batch).loss.item(), model(**batch).loss.item()))
        return model(**batch).loss

    fit(tmp_path, objective=twice)
    assert len(losses) == STEPS
    assert all(one != other for one, other in losses)


def test_progress_counts_the_steps(fit, tmp_path):
    seen = []
    fit(tmp_path, progress=lambda done, total, what: seen.append((done, total, what)))
    assert [(done, total) for done, total, _ in seen] == [(step, STEPS) for step in range(1, STEPS + 1)]
    assert [what for _, _, what in seen] == [f"training, epoch {epoch}" for epoch in (1, 2, 3) for _ in range(3)]


def test_the_best_weights_are_returned_and_not_the_last(checkpoint, encoders, tmp_path):
    source = checkpoint("bert")
    tokenizer = models.load_tokenizer(source)
    data = loop.encode(["a film", "the joy"], tokenizer, 16, labels=[0, 1])
    config = FinetuneConfig(
        epochs=3, batch_size=2, learning_rate=1e-2, warmup=0, max_length=16, device="cpu", out=tmp_path
    )
    scores, seen = iter([0.5, 0.75, 0.25]), []

    def validate(model):
        seen.append({name: weights.clone() for name, weights in model.state_dict().items()})
        return {"score": next(scores), "other": 7.0}

    model, best = loop.fit(models.load_classifier(source, ("n", "p")), tokenizer, data, config, tmp_path, validate)
    assert best == {"score": 0.75, "other": 7.0, "step": 2, "epoch": 2}
    assert same_weights(model.state_dict(), seen[1])
    assert not same_weights(model.state_dict(), seen[2])


# --- the order -------------------------------------------------------------------------------------------------------


def order(lengths, batch_size, seed, epoch):
    sampler = loop.LengthGroupedSampler(lengths, batch_size, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_the_order_depends_on_seed_and_epoch_alone():
    lengths = [(7 * i) % 50 + 1 for i in range(103)]
    torch.manual_seed(0)
    first = order(lengths, 8, seed=3, epoch=1)
    state = torch.get_rng_state()
    torch.manual_seed(99)
    assert order(lengths, 8, seed=3, epoch=1) == first
    torch.set_rng_state(state)
    assert order(lengths, 8, seed=3, epoch=2) != first
    assert order(lengths, 8, seed=4, epoch=1) != first
    # The generator of dropout is not touched.
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 64, 103])
def test_every_row_comes_once_and_batches_are_of_like_length(count):
    lengths = [(7 * i) % 50 + 1 for i in range(count)]
    found = order(lengths, 8, seed=0, epoch=0)
    assert sorted(found) == list(range(count))
    batches = [[lengths[i] for i in found[start : start + 8]] for start in range(0, count, 8)]
    # Padding within the batches is well below that of batches in the order of the file.
    padded = sum(max(batch) * len(batch) for batch in batches)
    unsorted = [lengths[start : start + 8] for start in range(0, count, 8)]
    if count == 103:
        assert padded < 0.75 * sum(max(batch) * len(batch) for batch in unsorted)
    assert len(loop.LengthGroupedSampler(lengths, 8, 0)) == count


def test_the_rows_of_each_epoch_reach_the_model_once_in_another_order(fit, tmp_path):
    seen = []

    def note(model, batch):
        seen.append(batch["input_ids"].shape[0])
        return model(**batch).loss

    fit(tmp_path, objective=note)
    assert seen == [4, 4, 2] * 3


# --- interruptions ---------------------------------------------------------------------------------------------------


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
    assert_same_as_uninterrupted(tmp_path, *fit(tmp_path), expected)


def test_a_run_interrupted_again_and_again_ends_as_if_it_had_not_been(fit, tmp_path, expected):
    for _ in range(3):  # 3 steps at a time, of which 2 are kept
        with pytest.raises(Crash):
            fit(tmp_path, objective=interrupt_at(4))
    assert_same_as_uninterrupted(tmp_path, *fit(tmp_path), expected)


@pytest.mark.parametrize("save_every", [1, 5, 100])
def test_the_log_does_not_depend_on_where_checkpoints_lie(fit, tmp_path, save_every):
    fit(tmp_path / "whole", save_every=save_every)
    with pytest.raises(Crash):
        fit(tmp_path / "cut", save_every=save_every, objective=interrupt_at(7))
    fit(tmp_path / "cut", save_every=save_every)
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "whole")
    assert same_weights(last_weights(tmp_path / "cut"), last_weights(tmp_path / "whole"))


def test_a_finished_training_is_not_trained_again(fit, tmp_path):
    model, best = fit(tmp_path)

    def never(model, batch):
        raise AssertionError("trained again")

    again, same = fit(tmp_path, objective=never)
    assert same == best
    assert same_weights(model.state_dict(), again.state_dict())


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
    assert_same_as_uninterrupted(tmp_path, *fit(tmp_path), expected)


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
    assert_same_as_uninterrupted(tmp_path, *outcome, expected)


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
    killed = subprocess.run(command, input=json.dumps(material), text=True, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [line["step"] for line in log_of(tmp_path) if line["event"] == "train"] == [1, 2, 3, 4, 5]
    outcome = fit(tmp_path)
    assert '"resumed", "step": 4' in (tmp_path / "log.jsonl").read_text()
    assert_same_as_uninterrupted(tmp_path, *outcome, expected)


# --- losses that are not finite --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_step_and_names_the_rows(fit, tmp_path, checkpoint, material, value):
    seen = []

    def objective(model, batch):
        seen.append({name: weights.clone() for name, weights in model.state_dict().items()})
        loss = model(**batch).loss
        return loss * value if len(seen) == 3 else loss

    with pytest.raises(TrainingError) as caught:
        fit(tmp_path, objective=objective)
    ids = models.load_tokenizer(checkpoint("bert"))(material["train"]["texts"], truncation=True, max_length=16)
    rows = order([len(row) for row in ids["input_ids"]], BATCH, seed=0, epoch=0)[8:]
    assert str(caught.value) == (
        f"the loss became {value} at step 3 on training rows {rows}; look at those rows, or lower --learning-rate. "
        "The last good checkpoint is kept"
    )
    kept = checkpoints.newest(tmp_path / "checkpoints")
    assert checkpoints.step_of(kept) == 2
    assert all(torch.isfinite(weights).all() for weights in load_file(kept / "model.safetensors").values())


def test_a_gradient_that_is_not_finite_stops_before_the_step(fit, tmp_path):
    calls = iter(range(1, 100))

    def objective(model, batch):
        loss = model(**batch).loss
        # sqrt(x - x) is 0, and its gradient infinite times 0.
        return loss + torch.sqrt(loss - loss) if next(calls) == 4 else loss

    with pytest.raises(TrainingError, match=r"the gradient's norm became nan at step 4 on training rows \["):
        fit(tmp_path, objective=objective)
    assert checkpoints.step_of(checkpoints.newest(tmp_path / "checkpoints")) == 2


# --- devices ---------------------------------------------------------------------------------------------------------


def test_devices():
    assert loop.pick_device("cpu").type == "cpu"
    if torch.cuda.is_available():
        assert loop.pick_device("auto").type == loop.pick_device("cuda").type == "cuda"
    else:
        assert loop.pick_device("auto").type == "cpu"
        with pytest.raises(ConfigError, match=r"--device cuda: PyTorch sees no CUDA device here; use --device cpu"):
            loop.pick_device("cuda")


def test_encoded_texts_carry_their_length_their_row_and_what_else_is_given(checkpoint):
    tokenizer = models.load_tokenizer(checkpoint("bert"))
    data = loop.encode(["a film", "漢字" * 50], tokenizer, 8, labels=[1, 0])
    assert data["length"] == [4, 8]  # [CLS] a film [SEP]; cut at 8
    assert (data["row"], data["labels"]) == ([0, 1], [1, 0])
    assert [len(ids) for ids in data["input_ids"]] == [4, 8]
