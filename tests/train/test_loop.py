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
        "precision.json",
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
    fit(tmp_path, options={"progress": lambda done, total, what: seen.append((done, total, what))})
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


def order(lengths, batch_size, seed, epoch):
    batches = LengthGroupedBatches(lengths, batch_size, seed)
    batches.set_epoch(epoch)
    return [row for batch in batches for row in batch]


# --- steps, epochs and rates -----------------------------------------------------------------------------------------


def test_the_rows_of_each_epoch_reach_the_model_once_in_another_order(fit, tmp_path):
    seen = []

    def note(model, batch):
        seen.append(batch["input_ids"].shape[0])
        return model(**batch).loss

    fit(tmp_path, objective=note)
    assert seen == [4, 4, 2] * 3


def test_accumulated_batches_make_one_step_and_the_last_step_of_an_epoch_takes_what_is_left(fit, tmp_path):
    outcome = fit(tmp_path, gradient_accumulation=2, warmup=0.5)
    trained = [line for line in outcome.log if line["event"] == "train"]
    # 3 batches an epoch: steps of 2 and of 1; 6 steps, of which round(0.5 * 6) = 3 warm up.
    assert [line["step"] for line in trained] == [1, 2, 3, 4, 5, 6]
    assert [line["epoch"] for line in trained] == pytest.approx([2 / 3, 1, 5 / 3, 2, 8 / 3, 3])
    assert [line["learning_rate"] for line in trained] == pytest.approx(
        [0, 1e-2 / 3, 2e-2 / 3, 1e-2, 2e-2 / 3, 1e-2 / 3]
    )
    measured = [(line["step"], line["epoch"]) for line in outcome.log if line["event"] == "validation"]
    assert measured == [(2, 1), (4, 2), (6, 3)]
    assert outcome.newest == "checkpoint-6"


@pytest.mark.parametrize(
    ("max_steps", "measured"), [(2, [(2, 1)]), (4, [(3, 1), (4, 2)]), (11, [(3, 1), (6, 2), (9, 3), (11, 4)])]
)
def test_a_last_step_ends_schedule_and_training_and_is_measured(fit, tmp_path, max_steps, measured):
    outcome = fit(tmp_path, options={"max_steps": max_steps}, warmup=0.0)
    trained = [line for line in outcome.log if line["event"] == "train"]
    rates = [1e-2 * (max_steps - i) / max_steps for i in range(max_steps)]
    assert [line["learning_rate"] for line in trained] == pytest.approx(rates)
    assert [(line["step"], line["epoch"]) for line in outcome.log if line["event"] == "validation"] == measured
    assert outcome.newest == f"checkpoint-{max_steps}"


def test_patience_ends_training_and_the_best_weights_stay(checkpoint, encoders, tmp_path):
    source = checkpoint("bert")
    tokenizer = models.load_tokenizer(source)
    data = loop.encode(["a film", "the joy"], tokenizer, 16, labels=[0, 1])
    config = FinetuneConfig(epochs=9, patience=2, batch_size=2, max_length=16, device="cpu", out=tmp_path)
    # An equal score is no better one.
    scores = iter([0.5, 0.4, 0.6, 0.6, 0.55])
    model = models.load_classifier(source, ("n", "p"))
    _, best = loop.fit(model, tokenizer, data, config, tmp_path, lambda _: {"score": next(scores)})
    assert best == {"score": 0.6, "step": 3, "epoch": 3}
    assert next(scores, None) is None
    assert checkpoints.newest(tmp_path / "checkpoints").name == "checkpoint-5"


def test_layer_decay_lets_the_embeddings_learn_slowest(fit, tmp_path, checkpoint):
    def change(layer_decay):
        folder = tmp_path / str(layer_decay)
        fit(folder, options={"layer_decay": layer_decay, "max_steps": 1}, warmup=0.0, weight_decay=0.0)
        after = load_file(folder / "checkpoints" / "checkpoint-1" / "model.safetensors")
        before = load_file(checkpoint("bert") / "model.safetensors")
        names = ("bert.embeddings.LayerNorm.weight", "bert.encoder.layer.0.attention.self.query.weight")
        return [float((after[name] - before[name]).abs().max()) for name in names]

    # The first step of Adam moves a weight by the rate: 1e-2 times 0.1^4 and 0.1^3 with three layers.
    assert change(1.0) == pytest.approx([1e-2, 1e-2], rel=1e-2)
    assert change(0.1) == pytest.approx([1e-6, 1e-5], rel=2e-2)


def test_the_logged_rate_is_that_of_the_head(fit, tmp_path):
    outcome = fit(tmp_path, options={"layer_decay": 0.5, "max_steps": 1}, warmup=0.0)
    assert [line["learning_rate"] for line in outcome.log if line["event"] == "train"] == [1e-2]


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


PLACES = [f"reviews.csv:{number + 2}" for number in range(10)]


def test_the_rows_of_a_bad_loss_are_named_by_file_and_line(fit, tmp_path, checkpoint, material):
    with pytest.raises(TrainingError) as caught:
        fit(tmp_path, objective=lambda model, batch: model(**batch).loss * float("nan"), columns={"place": PLACES})
    ids = models.load_tokenizer(checkpoint("bert"))(material["train"]["texts"], truncation=True, max_length=16)
    rows = order([len(row) for row in ids["input_ids"]], BATCH, seed=0, epoch=0)[:BATCH]
    named = ", ".join(f"reviews.csv:{row + 2}" for row in rows)
    assert f"the loss became nan at step 1 on {named}; look at those rows" in str(caught.value)


def test_of_many_rows_the_first_eight_are_named(fit, tmp_path):
    def nan(model, batch):
        return model(**batch).loss * float("nan")

    with pytest.raises(TrainingError, match=r"on training rows (\d, ){7}\d and 2 more; look"):
        fit(tmp_path / "rows", objective=nan, batch_size=10)
    # A long text gives several rows of one place.
    with pytest.raises(TrainingError, match=r"on reviews\.csv:(2, reviews\.csv:7|7, reviews\.csv:2); look"):
        fit(tmp_path / "places", objective=nan, batch_size=10, columns={"place": PLACES[:1] * 5 + PLACES[5:6] * 5})


def test_a_bad_gradient_names_the_rows_of_all_batches_of_its_step(fit, tmp_path):
    calls = iter(range(1, 100))

    def objective(model, batch):
        loss = model(**batch).loss
        return loss + torch.sqrt(loss - loss) if next(calls) == 2 else loss

    with pytest.raises(TrainingError, match=r"norm became nan at step 1 on training rows (\d, ){7}\d; look"):
        fit(tmp_path, objective=objective, gradient_accumulation=2)


# --- devices ---------------------------------------------------------------------------------------------------------


def test_devices():
    assert loop.pick_device("cpu").type == "cpu"
    if torch.cuda.is_available():
        assert loop.pick_device("auto").type == loop.pick_device("cuda").type == "cuda"
    else:
        assert loop.pick_device("auto").type == "cpu"
        with pytest.raises(ConfigError, match=r"--device cuda: PyTorch sees no CUDA device here; use --device cpu"):
            loop.pick_device("cuda")


def test_each_process_has_the_gpu_of_its_number(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert loop.pick_device("auto") == torch.device("cuda")
    for name, value in {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert loop.pick_device("auto") == loop.pick_device("cuda") == torch.device("cuda", 1)
    assert loop.pick_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="--device auto: PyTorch sees 2 CUDA devices here; start as many processes"):
        loop.pick_device("auto")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")  # accelerate launch --cpu
    assert loop.pick_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_started_by_accelerate_training_has_its_precision(fit, tmp_path, monkeypatch, precision):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    seen = []

    def objective(model, batch):
        model.classifier.register_forward_hook(lambda *found: seen.append(found[2].dtype))
        return model(**batch).loss

    fit(tmp_path, objective=objective, options={"max_steps": 1})
    assert seen[0] == {"no": torch.float32, "bf16": torch.bfloat16}[precision]


def test_encoded_texts_carry_their_length_their_row_and_what_else_is_given(checkpoint):
    tokenizer = models.load_tokenizer(checkpoint("bert"))
    data = loop.encode(["a film", "漢字" * 50], tokenizer, 8, labels=[1, 0])
    assert data["length"] == [4, 8]  # [CLS] a film [SEP]; cut at 8
    assert (data["row"], data["labels"]) == ([0, 1], [1, 0])
    assert [len(ids) for ids in data["input_ids"]] == [4, 8]
