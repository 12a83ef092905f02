"""Fine-tuning: what is learnt and reported, what is reused, and what is refused."""

import json
import logging

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from lilliput import models
from lilliput.config import FinetuneConfig, build
from lilliput.errors import ConfigError, DataError, ModelError
from lilliput.runs import Run
from lilliput.train import finetune, finetuning, sources
from lilliput.train.evaluate import logits_of
from lilliput.train.seeds import in_words

pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.fixture
def run(checkpoint, encoders, tmp_path):
    data = encoders.data_set(tmp_path / "data")

    def run(model=None, out="out", progress=None, **changes):
        settings = {"epochs": 2, "batch_size": 8, "max_length": 16, "learning_rate": 3e-3, "device": "cpu"}
        settings |= {"data": str(data), "out": tmp_path / out}
        return finetune(FinetuneConfig(model=str(model or checkpoint("bert")), **{**settings, **changes}), progress)

    return run


def accuracy_by_name(folder, rows):
    model, tokenizer = models.load_finetuned_classifier(folder), models.load_tokenizer(folder)
    logits = logits_of(model, tokenizer, [text for text, _ in rows], 16)
    names = models.labels_of(model)
    return np.mean([names[best] == label for best, (_, label) in zip(logits.argmax(axis=1), rows, strict=True)])


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_the_result_is_what_the_saved_model_answers(run, checkpoint, encoders, tmp_path, architecture):
    result = run(checkpoint(architecture), epochs=1)
    folder = tmp_path / "out" / "teacher"
    assert result["folder"] == str(folder)
    assert result["reused"] is False
    assert result["test"]["accuracy"] == pytest.approx(accuracy_by_name(folder, encoders.rows(8, 32)))
    assert result["n_test"] == 8
    assert 0 <= result["validation"]["accuracy"] <= 1
    saved = json.loads((folder / "result.json").read_text())
    assert saved == {key: value for key, value in result.items() if key not in ("folder", "reused")}
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == 16
    assert not (folder / "checkpoints").exists()


def test_it_learns(run, encoders, tiny, tmp_path):
    """Texts whose label is in their words; unseen subjects and endings come with seen judgements."""
    source = encoders.save(tmp_path / "source", "bert", tiny.tokenizer, initializer_range=0.1)
    data = encoders.data_set(tmp_path / "more", train=200, validation=16, test=80)
    result = run(source, data=str(data), epochs=6, learning_rate=5e-3)
    assert result["test"]["accuracy"] > 0.7
    assert accuracy_by_name(tmp_path / "out" / "teacher", encoders.rows(200)) > 0.7


def test_a_head_for_other_labels_and_a_bare_encoder_are_fine_tuned(run, encoders, tiny, tmp_path):
    from transformers import AutoModel

    three = encoders.save(tmp_path / "three", "bert", tiny.tokenizer, labels=("a", "b", "c"))
    run(three, out="one", epochs=1)
    AutoModel.from_config(encoders.config("bert")).save_pretrained(tmp_path / "bare")
    tiny.tokenizer().save_pretrained(tmp_path / "bare")
    run(tmp_path / "bare", out="two", epochs=1)
    for out in ("one", "two"):
        trained = models.load_finetuned_classifier(tmp_path / out / "teacher")
        assert models.labels_of(trained) == ("negative", "positive")


def test_a_fresh_head_depends_on_the_seed_alone(run, encoders, tiny, tmp_path):
    source = encoders.save(tmp_path / "three", "bert", tiny.tokenizer, labels=("a", "b", "c"))
    weights = []
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(out))
        run(source, out=out, epochs=1, seed=seed)
        weights.append(load_file(tmp_path / out / "teacher" / "model.safetensors"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["classifier.weight"], weights[2]["classifier.weight"])


def test_the_same_command_again_is_reused_and_another_is_not(run, encoders, tmp_path):
    first = run(epochs=1)
    again = run(epochs=1)
    assert again["reused"]
    assert {**again, "reused": False} == first
    assert run(epochs=1, save_every=7)["reused"]  # where checkpoints lie changes nothing
    assert not run(epochs=1, learning_rate=1e-4)["reused"]
    encoders.write_csv(tmp_path / "data" / "train.csv", encoders.rows(23))
    assert not run(epochs=1, learning_rate=1e-4)["reused"]


def test_the_saved_configuration_can_be_given_again(run, tmp_path):
    run(epochs=1)
    saved = tmp_path / "out" / "teacher" / "config.yaml"
    config = build(FinetuneConfig, saved)
    assert (config.epochs, config.max_length, config.out) == (1, 16, tmp_path / "out")
    assert finetune(config)["reused"]
    assert yaml.safe_load(saved.read_text()) == config.model_dump(mode="json")


def test_an_interrupted_run_gives_the_same_model(run, tmp_path):
    run(out="whole", save_every=2)

    def stop(done, total, what):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(out="cut", save_every=2, progress=stop)
    assert not (tmp_path / "cut" / "teacher").exists()
    run(out="cut", save_every=2)
    one, other = (load_file(tmp_path / out / "teacher" / "model.safetensors") for out in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_not_usable_is_refused(run, checkpoint, encoders, tmp_path):
    with pytest.raises(ConfigError, match="--task nonsense: unknown; known are classification"):
        run(task="nonsense")
    with pytest.raises(ConfigError, match="--max-length 41: this model reads at most 40 tokens"):
        run(max_length=41)
    with pytest.raises(ModelError, match="no such folder"):
        run(tmp_path / "nowhere")
    with pytest.raises(DataError, match="does not exist"):
        run(data=str(tmp_path / "nowhere"))
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="--device cuda: PyTorch sees no CUDA device here"):
            run(device="cuda")


# --- a teacher made elsewhere ----------------------------------------------------------------------------------------


@pytest.fixture
def adopt(encoders, tmp_path):
    dataset = sources.load(
        FinetuneConfig(data=str(encoders.data_set(tmp_path / "data")), out=tmp_path / "unused", model="unused")
    )

    def adopt(teacher):
        with Run(tmp_path / "run", "test") as run:
            return finetuning.adopt_stage(run, "teacher", str(teacher), dataset)

    return adopt


@pytest.mark.parametrize(("names", "order"), [(("negative", "positive"), [0, 1]), (("POSITIVE", "negative"), [1, 0])])
def test_a_teacher_made_elsewhere_is_taken_with_its_labels_in_the_data_s_order(
    adopt, encoders, tiny, tmp_path, names, order
):
    source = encoders.save(tmp_path / "theirs", "bert", tiny.tokenizer, labels=names)
    stage = adopt(source)
    one, other = (load_file(folder / "model.safetensors") for folder in (source, stage.folder))
    for name in one:
        theirs = one[name][order] if name.startswith("classifier") else one[name]
        assert torch.equal(theirs, other[name]), name
    assert models.labels_of(models.load_finetuned_classifier(stage.folder)) == tuple(names[i] for i in order)
    rows = [(text, {n.lower(): n for n in names}[label]) for text, label in encoders.rows(8, 24)]
    assert stage.result["validation"]["accuracy"] == pytest.approx(accuracy_by_name(source, rows))
    assert adopt(source).reused


def test_a_teacher_without_label_names_is_given_the_data_s(adopt, encoders, tiny, tmp_path):
    stage = adopt(encoders.save(tmp_path / "theirs", "bert", tiny.tokenizer, labels=None))
    assert models.labels_of(models.load_finetuned_classifier(stage.folder)) == ("negative", "positive")


def test_a_teacher_of_other_labels_is_refused(adopt, encoders, tiny, tmp_path):
    source = encoders.save(tmp_path / "theirs", "bert", tiny.tokenizer, labels=("no", "yes"))
    with pytest.raises(ModelError, match=r"theirs: its labels are no, yes, but the data's are negative, positive"):
        adopt(source)


def test_nothing_of_ours_is_logged_while_all_goes_well(run, caplog):
    with caplog.at_level(logging.WARNING, "lilliput"):
        run(epochs=1)
    assert [record for record in caplog.records if record.name.startswith("lilliput")] == []


# --- which weights are kept, and how they are trained ----------------------------------------------------------------


def validations(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "validation"]


@pytest.fixture
def scores(tmp_path, encoders):
    """Texts with a number each, for regression."""
    for split, start, count in (("train", 0, 24), ("validation", 24, 8), ("test", 32, 8)):
        rows = [(text, f"{len(text) % 7 / 2}") for text, _ in encoders.rows(count, start)]
        encoders.write_csv(tmp_path / "scores" / f"{split}.csv", rows)
    return tmp_path / "scores"


@pytest.mark.parametrize(("metric", "best"), [("rmse", min), ("pearson", max)])
def test_the_metric_chooses_the_weights_also_one_that_falls(run, scores, tmp_path, monkeypatch, metric, best):
    # The log and the result must be of one precision.
    monkeypatch.setattr(finetuning.precision, "bf16_is_fast", lambda device: False)
    result = run(data=str(scores), task="regression", metric=metric, epochs=5, learning_rate=2e-2)
    seen = validations(tmp_path / "out" / "teacher")
    values = [line[metric] for line in seen]
    assert len(set(values)) > 1
    assert result["validation"][metric] == pytest.approx(best(values), rel=1e-4)
    assert result["best_epoch"] == values.index(best(values)) + 1


def test_an_unknown_metric_is_refused_before_training(run):
    def refuse(done, total, what):
        raise AssertionError("training began")

    with pytest.raises(ConfigError, match="--metric f2: classification has accuracy, macro_f1, weighted_f1, mcc"):
        run(metric="f2", progress=refuse)


def test_patience_class_weights_and_layer_decay_reach_the_loop(run, monkeypatch):
    given = {}
    fit = finetuning.loop.fit

    def spy(*args, **options):
        given.update(options, config=args[3])
        return fit(*args, **options)

    monkeypatch.setattr(finetuning.loop, "fit", spy)
    run(class_weights="balanced", layer_decay=0.8, patience=1, epochs=1)
    assert given["objective"].weights == (1.0, 1.0)
    assert given["layer_decay"] == 0.8
    assert given["config"].patience == 1


def test_the_evaluation_is_beside_the_model(run, tmp_path):
    result = run(epochs=1)
    folder = tmp_path / "out" / "teacher"
    assert {"predictions.parquet", "evaluation.html"} <= {path.name for path in folder.iterdir()}
    assert result["evaluation"]["score"] == result["test"]["accuracy"]
    assert result["evaluation"]["n"] == 8


def test_a_column_gives_slices(run, encoders, tmp_path):
    import csv

    for split, start, count in (("train", 0, 24), ("validation", 24, 8), ("test", 32, 40)):
        (tmp_path / "sliced").mkdir(exist_ok=True)
        with (tmp_path / "sliced" / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = [(*row, ("web", "mail")[i % 4 // 2]) for i, row in enumerate(encoders.rows(count, start))]
            csv.writer(file).writerows([("text", "label", "source"), *rows])
    result = run(data=str(tmp_path / "sliced"), slice_column="source", epochs=1)
    parts = {one["value"]: one["n"] for one in result["evaluation"]["slices"] if one["by"] == "source"}
    assert parts == {"web": 20, "mail": 20}


# --- several seeds ---------------------------------------------------------------------------------------------------


def test_several_seeds_are_several_stages_with_mean_and_deviation(run, tmp_path):
    result = run(seeds=(1, 2, 3), epochs=1)
    out = tmp_path / "out"
    scores = [json.loads((out / f"teacher-seed{seed}" / "result.json").read_text())["test"] for seed in (1, 2, 3)]
    values = np.array([one["accuracy"] for one in scores])
    assert result["mean"]["test"]["accuracy"] == pytest.approx(values.mean())
    assert result["sd"]["test"]["accuracy"] == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / 2))
    assert [one["seed"] for one in result["runs"]] == [1, 2, 3]
    assert result["pooled"] is None  # the seeds share one test split
    assert json.loads((out / "summary.json").read_text()) == {
        key: value for key, value in result.items() if key not in ("folder", "reused")
    }
    weights = [load_file(out / f"teacher-seed{seed}" / "model.safetensors") for seed in (1, 2)]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert run(seeds=(1, 2, 3), epochs=1)["reused"]
    assert not run(seeds=(1, 4), epochs=1)["reused"]
    line = in_words(result)
    assert line.startswith(f"test over 3 seeds: accuracy {values.mean():.3f} ± {values.std(ddof=1):.3f}, macro_f1 ")
    assert in_words(run(seeds=(2,), epochs=1)).startswith(f"test over 1 seed: accuracy {values[1]:.3f}, ")


def test_an_interrupted_seed_does_not_cost_the_finished_ones(run, tmp_path):
    def stop(done, total, what):
        if what.startswith("teacher-seed2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(seeds=(1, 2), epochs=1, progress=stop)
    first = (tmp_path / "out" / "teacher-seed1" / "stage.json").read_bytes()
    run(seeds=(1, 2), epochs=1)
    assert (tmp_path / "out" / "teacher-seed1" / "stage.json").read_bytes() == first


@pytest.fixture
def folds(monkeypatch, encoders, tmp_path):
    """Stands for the embedded data: a data set for each fold, their tests without a row in common."""
    for fold in range(3):
        splits = (("train", 60 + 24 * fold, 24), ("validation", 40, 8), ("test", 8 * fold, 8))
        for split, start, count in splits:
            encoders.write_csv(tmp_path / f"fold{fold}" / f"{split}.csv", encoders.rows(count, start))
    load = sources.load

    def fold_of(config):
        return load(config.model_copy(update={"data": str(tmp_path / f"fold{config.seed % 3}")}))

    monkeypatch.setattr(finetuning.sources, "load", fold_of)


@pytest.mark.usefixtures("folds")
def test_folds_of_disjoint_tests_are_pooled(run, tmp_path):
    result = run(data="sentiment", seeds=(0, 1, 2), epochs=1)
    hits = sum(round(one["test"]["accuracy"] * 8) for one in result["runs"])
    assert result["pooled"]["n"] == 24
    assert result["pooled"]["accuracy"] == pytest.approx(hits / 24)
    low, high = result["pooled"]["ci"]
    assert 0 <= low <= hits / 24 <= high <= 1
    assert f"; pooled accuracy {hits / 24:.3f} ({low:.3f} to {high:.3f})" in in_words(result)
    assert run(data="sentiment", seeds=(0, 3), epochs=1, out="same")["pooled"] is None  # fold 0 twice


@pytest.mark.usefixtures("folds")
def test_every_fold_has_a_search_of_its_own(run, tmp_path):
    """Validation of one fold is test of another: settings found there would have seen it."""
    result = run(data="sentiment", seeds=(0, 1, 3), epochs=2, trials=1)
    made = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert made == {"trials-seed0", "trials-seed1", "teacher-seed0", "teacher-seed1", "teacher-seed3"}
    assert len(result["runs"]) == 3
