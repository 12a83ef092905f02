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
