"""Pruning from the command's configuration to the saved model: targets, recovery, repetition, errors."""

import json
import logging
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from lilliput import encoder, models
from lilliput.compress import ancestry, engine, latency, prune, vocabulary
from lilliput.compress.cost import Facts, MacCost, ParameterCost
from lilliput.compress.distillation_loss import DistillationLoss
from lilliput.compress.representations import Matching
from lilliput.config import PruneConfig, build
from lilliput.errors import ConfigError, ModelError
from lilliput.statistics import Estimate
from lilliput.types import BlockShape

pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.fixture
def teacher(save_teacher):
    return save_teacher(layers=3)


@pytest.fixture
def pruned(data, tmp_path):
    """Prunes a model; settings by keyword."""

    def run(model, out="out", **changes):
        settings = {"data": str(data), "max_length": 16, "epochs": 1, "batch_size": 8, "device": "cpu"}
        return prune(PruneConfig(model=str(model), out=tmp_path / out, **{**settings, **changes}))

    return run


def weights_of(folder):
    return sum(p.numel() for p in models.load_finetuned_classifier(folder).parameters())


def test_a_share_of_the_parameters_stays_and_plain_transformers_loads_the_result(teacher, pruned):
    result = pruned(teacher, parameters=0.8)
    whole, left = weights_of(teacher), weights_of(result["folder"])
    assert left <= 0.8 * whole
    assert result["pruning"]["achieved"] == pytest.approx(left / whole)
    assert result["parameters"] == left
    plain = AutoModelForSequenceClassification.from_pretrained(result["folder"])
    assert plain.config.model_type == "bert"
    assert result["fidelity"]["agreement"]["value"] <= 1
    assert "--parameters 0.8" in result["summary"]


def test_half_of_the_multiplications_stay_where_each_layer_has_its_own_shape(teacher, pruned):
    result = pruned(teacher, flops=0.5, per_layer=True)
    model = models.load_finetuned_classifier(result["folder"])
    cost = MacCost(Facts.of(models.load_finetuned_classifier(teacher)), lengths=(7,))
    # In proportions that hold for texts of any length: nearly all multiplications are in matrices.
    shares = cost.encoder(encoder.block_shapes_of(model)) / cost.encoder([BlockShape(2, 24)] * 3)
    assert shares < 0.55
    assert result["pruning"]["achieved"] <= 0.5
    kept = [BlockShape(**block) for block in result["pruning"]["blocks"] if block["heads"] or block["ffn"]]
    assert list(encoder.block_shapes_of(model)) == kept


def test_the_same_command_does_nothing_again_and_gives_the_same(teacher, pruned):
    first = pruned(teacher, flops=0.6)
    second = pruned(teacher, flops=0.6)
    assert second["reused"]
    assert not first["reused"]
    assert {**first, "reused": True} == second


def test_equal_settings_give_equal_models(teacher, pruned):
    folders = [pruned(teacher, out=out, flops=0.5, per_layer=True)["folder"] for out in ("one", "two")]
    states = [models.load_finetuned_classifier(folder).state_dict() for folder in folders]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_recovery_distils_the_unpruned_model_block_by_block_and_dimension_by_dimension(teacher, pruned, monkeypatch):
    seen = []
    original = Matching.__init__

    def noting(self, student, source, *others):
        original(self, student, source, *others)
        seen.append((self.kept, self.layers, encoder.shape_of(source).layers))

    monkeypatch.setattr(Matching, "__init__", noting)
    result = pruned(teacher, parameters=0.4, recover=True, objective=("logit-mse", "hidden-states=0.1"))
    kept = result["pruning"]["kept"]
    assert result["folder"].endswith("pruned-recovered")
    tried, (dimensions, layers, depth) = seen  # losses are tried before the training
    assert tried == seen[1]
    assert (dimensions or list(range(16))) == kept["dimensions"]
    assert (list(layers), depth) == (kept["layers"], 3)


def test_steps_go_to_the_target_by_equal_factors_and_blocks_keep_their_first_numbers(teacher, pruned, tmp_path):
    result = pruned(teacher, flops=0.25, per_layer=True, recover=True, steps=2)
    first = json.loads((tmp_path / "out" / "pruned-1" / "result.json").read_text())["pruning"]
    second = result["pruning"]
    assert first["achieved"] <= 0.5 + 0.01  # a factor of 2 (the head's share aside), then another
    assert second["achieved"] <= 0.25
    assert set(second["kept"]["layers"]) <= set(first["kept"]["layers"])
    assert first["unpruned_cost"] == second["unpruned_cost"]


def test_a_pruned_model_can_be_pruned_again(teacher, pruned):
    first = pruned(teacher, out="first", flops=0.7, per_layer=True)
    second = pruned(first["folder"], out="second", flops=0.6, per_layer=True)
    assert second["pruning"]["achieved"] <= 0.6
    assert second["parameters"] < first["parameters"]
    model = models.load_finetuned_classifier(second["folder"])
    of_first, of_whole = (ancestry.kept_of(model, models.fingerprint(one)) for one in (first["folder"], teacher))
    assert list(of_first.layers) == second["pruning"]["kept"]["layers"]  # numbers in the model that was given
    assert list(of_whole.layers) == [first["pruning"]["kept"]["layers"][i] for i in of_first.layers]


def test_numbers_of_blocks_are_those_of_the_teacher(teacher, pruned, monkeypatch):
    """Of a model that was pruned before, and has lost a block then, another one goes."""
    first = pruned(teacher, out="first", flops=0.6)
    assert len(first["pruning"]["kept"]["layers"]) < 3
    seen = []
    original = Matching.__init__

    def noting(self, student, source, *others):
        original(self, student, source, *others)
        seen.append((encoder.shape_of(source).layers, list(self.layers)))

    monkeypatch.setattr(Matching, "__init__", noting)
    settings = {"parameters": 0.9, "recover": True, "objective": ("logit-mse", "hidden-states=0.1")}
    own = pruned(first["folder"], out="own", **settings)
    pruned(first["folder"], out="whole", teacher=str(teacher), **settings)
    assert seen[::2] == seen[1::2]  # losses are tried before the training
    assert seen[1] == (len(first["pruning"]["kept"]["layers"]), own["pruning"]["kept"]["layers"])
    assert seen[3] == (3, [first["pruning"]["kept"]["layers"][i] for i in own["pruning"]["kept"]["layers"]])


def test_the_vocabulary_goes_alone_without_changing_an_answer(teacher, pruned, data):
    result = pruned(teacher, vocabulary=400)
    whole, small = models.load_finetuned_classifier(teacher), models.load_finetuned_classifier(result["folder"])
    rows = [model.get_input_embeddings().num_embeddings for model in (whole, small)]
    tokens = [len(models.load_tokenizer(folder)) for folder in (teacher, result["folder"])]
    assert rows[1] == tokens[1] < tokens[0] < rows[0]  # unused rows go, and tokens that no text has
    assert result["coverage"]["bytes_saved"] == (rows[0] - rows[1]) * 16 * 4  # a row has 16 floats
    assert result["fidelity"]["agreement"]["value"] == 1
    assert "achieved" not in result["pruning"]


def test_recovery_reads_with_the_trimmed_vocabulary_what_the_teacher_reads_with_its_own(teacher, pruned, monkeypatch):
    seen = []
    original = DistillationLoss.__call__

    def noting(self, model, batch):
        seen.append((int(batch["input_ids"].max()), model.get_input_embeddings().num_embeddings))
        return original(self, model, batch)

    monkeypatch.setattr(DistillationLoss, "__call__", noting)
    whole = models.load_tokenizer(teacher)
    fewest = len(vocabulary.keep(whole, Counter(), None))
    result = pruned(teacher, vocabulary=fewest + 5, recover=True)
    rows = len(models.load_tokenizer(result["folder"]))
    assert rows <= fewest + 5 < len(whole)
    assert seen
    assert all(largest < rows == table for largest, table in seen)


def test_layers_are_not_compared_where_tokens_are_others(teacher, pruned):
    fewest = len(vocabulary.keep(models.load_tokenizer(teacher), Counter(), None))
    with pytest.raises(ConfigError, match="--objective: compares student and teacher token by token"):
        pruned(teacher, vocabulary=fewest, recover=True, objective=("hidden-states",))


def test_a_modeling_file_is_written_where_it_is_asked_for_and_of_use(teacher, pruned):
    plain = pruned(teacher, out="plain", parameters=0.8, modeling_file=True)
    own = pruned(teacher, out="own", flops=0.6, per_layer=True, modeling_file=True, recover=True)
    assert not list(Path(plain["folder"]).glob("*.py"))
    if models.load_finetuned_classifier(own["folder"]).config.model_type != "bert":
        assert list(Path(own["folder"]).glob("modeling*.py"))


def test_latency_is_asked_of_the_stopwatch_until_the_model_is_as_fast_as_it_should_be(teacher, pruned, monkeypatch):
    """The table believes that milliseconds are multiplications; the stopwatch finds a fixed part beside them."""
    whole = models.load_finetuned_classifier(teacher)
    cost = MacCost(Facts.of(whole), lengths=(7,))
    fixed = 0.3 * cost.total(encoder.block_shapes_of(whole))
    bundles, asked = {}, []

    def runnable(model, tokenizer, *, folder, **_):
        folder.mkdir(parents=True)
        bundles[folder] = fixed + cost.total(encoder.block_shapes_of(model))
        return folder

    def compare(folders, texts, **_):
        times = [bundles[folder] for folder in folders]
        asked.append(times[0] / times[1])
        return [engine.Timed(ms, Estimate(times[0] / ms, 0, 9)) for ms in times]

    monkeypatch.setattr(latency, "measure", lambda model, **_: MacCost(Facts.of(model), lengths=(7,)))
    monkeypatch.setattr(engine, "runnable", runnable)
    monkeypatch.setattr(engine, "compare", compare)
    result = pruned(teacher, speedup=1.5, per_layer=True)
    achieved = result["pruning"]["achieved"]
    assert achieved in [pytest.approx(one) for one in asked]
    assert achieved >= 1.5 or achieved == pytest.approx(max(asked))
    assert not list((Path(result["folder"])).glob("timed*"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameters": 0.001}, "--parameters 0.001"),
        ({"flops": 0.0001}, "--flops 0.0001"),
        ({"size": 10**9}, "--size"),
    ],
)
def test_a_target_out_of_reach_says_what_is_within(teacher, pruned, settings, message):
    with pytest.raises(ConfigError, match=message):
        pruned(teacher, **settings)


def test_an_unknown_criterion_and_a_missing_file_are_named_before_any_work(teacher, pruned, tmp_path):
    with pytest.raises(ConfigError, match=r"--importance weight: .*magnitude"):
        pruned(teacher, flops=0.5, importance="weight")
    with pytest.raises(ConfigError, match="no-such"):
        pruned(teacher, flops=0.5, unlabelled=tmp_path / "no-such.txt")


def test_a_student_without_blocks_is_refused(teacher, distil, pruned):
    static = distil(teacher, student="static", train_embeddings=True)["folder"]
    with pytest.raises(ModelError, match="no transformer blocks"):
        pruned(static, out="pruned", flops=0.5)


def test_few_texts_are_warned_about_with_the_number_that_is_needed(teacher, pruned, caplog):
    with caplog.at_level(logging.WARNING):
        pruned(teacher, flops=0.5)
    assert any("24 texts" in record.message and "128" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give one target"),
        ({"speedup": 2, "flops": 0.5}, "give one target"),
        ({"latency": "fast"}, "--latency"),
        ({"speedup": 2, "steps": 2}, "--steps"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        build(PruneConfig, model="m", out="o", **settings)


def test_units_are_understood():
    assert build(PruneConfig, model="m", out="o", latency="800us").latency == pytest.approx(0.8)
    assert build(PruneConfig, model="m", out="o", latency="1.5 ms").latency == 1.5
    assert build(PruneConfig, model="m", out="o", size="5MB").size == 5e6


def test_parameters_are_counted_as_torch_counts_them(teacher):
    model = models.load_finetuned_classifier(teacher)
    assert ParameterCost(Facts.of(model)).total(encoder.block_shapes_of(model)) == weights_of(teacher)
