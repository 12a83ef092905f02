"""The training loop: a repeatable order, the best weights, and no step on a loss that is not finite."""

import pytest
import torch
from safetensors.torch import load_file

from lilliput import models
from lilliput.config import FinetuneConfig
from lilliput.errors import ConfigError, TrainingError
from lilliput.train import checkpoints, loop
from lilliput.train.batches import LengthGroupedBatches

pytestmark = pytest.mark.usefixtures("quick_training")

BATCH, STEPS = 4, 9  # of the run that the fixture makes: 10 rows, 3 epochs of 3 steps


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- the run itself --------------------------------------------------------------------------------------------------


def test_what_a_run_leaves(expected):
    folder, log = expected.folder, expected.log
    assert [line["step"] for line in log if line["event"] == "train"] == list(range(1, STEPS + 1))
    assert [(line["step"], line["epoch"]) for line in log if line["event"] == "validation"] == [(3, 1), (6, 2), (9, 3)]
    # Warm-up over round(0.1 * 9) = 1 step, then linearly from 1e-2 to 0 over the other 8. The logged rate is that of
    # the step itself: 0 in the first one, the peak in the second.
    rates = [line["learning_rate"] for line in log if line["event"] == "train"]
    assert rates == pytest.approx([0.0, *(1e-2 * (8 - i) / 8 for i in range(8))])
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        f"best-{expected.best['step']}",
        "checkpoint-8",
        "checkpoint-9",
    ]
    scores = [line["score"] for line in log if line["event"] == "validation"]
    assert expected.best["score"] == max(scores)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(fit, tmp_path, expected):
    assert fit(tmp_path / "a") == expected
    assert fit(tmp_path / "b", seed=1).last != expected.last


def test_dropout_is_on(fit, tmp_path, expected):
    """Without it, the tests of resuming would not test the generators' state."""
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
    batches = LengthGroupedBatches(lengths, batch_size, seed)
    batches.set_epoch(epoch)
    return [row for batch in batches for row in batch]


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
    assert len(LengthGroupedBatches(lengths, 8, 0)) == -(-count // 8)


def test_the_rows_of_each_epoch_reach_the_model_once_in_another_order(fit, tmp_path):
    seen = []

    def note(model, batch):
        seen.append(batch["input_ids"].shape[0])
        return model(**batch).loss

    fit(tmp_path, objective=note)
    assert seen == [4, 4, 2] * 3


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
        f"the loss became {value} at step 3 on training rows {rows[0]}, {rows[1]}; look at those rows, or lower "
        "--learning-rate. The last good checkpoint is kept"
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

    with pytest.raises(TrainingError, match=r"the gradient's norm became nan at step 4 on training rows \d"):
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
