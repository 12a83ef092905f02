"""Loading and saving: what transformers reads back, what is refused, and what a label order means."""

import json
import shutil
import stat

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from lilliput import models, tasks
from lilliput.errors import ConfigError, ModelError
from lilliput.train.evaluate import logits_of

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
TEXTS = ["the film is great", "漢字 film was awful 😀", "مرحبا", ""]


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A copy of a checkpoint, with keys of its config.json changed."""

    def make(architecture="bert", **config):
        folder = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(checkpoint(architecture), folder)
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
        return folder

    return make


# --- saving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_folder_answers_the_same_in_plain_transformers(checkpoint, tmp_path, architecture):
    source = checkpoint(architecture)
    model, tokenizer = models.load_finetuned_classifier(source), models.load_tokenizer(source)
    models.save(model, tokenizer, tmp_path / "saved")

    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    plain_tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        assert plain_tokenizer(text)["input_ids"] == ids
        with torch.inference_mode():
            expected = model(input_ids=torch.tensor([ids])).logits
            assert torch.equal(plain(input_ids=torch.tensor([ids])).logits, expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_folder_has_the_files_that_other_loaders_want(checkpoint, tmp_path, architecture):
    source = checkpoint(architecture)
    tokenizer = models.load_tokenizer(source)
    models.save(models.load_finetuned_classifier(source), tokenizer, tmp_path)

    special = json.loads((tmp_path / "special_tokens_map.json").read_text())
    assert special["unk_token"] == ("<unk>" if architecture == "roberta" else "[UNK]")
    assert special["pad_token"] == ("<pad>" if architecture == "roberta" else "[PAD]")
    if architecture == "roberta":
        assert json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8")) == tokenizer.get_vocab()
        assert (tmp_path / "merges.txt").is_file()
    else:
        lines = (tmp_path / "vocab.txt").read_text(encoding="utf-8").splitlines()
        assert {token: number for number, token in enumerate(lines)} == tokenizer.get_vocab()


def test_every_saved_file_can_be_read_by_others(checkpoint, tmp_path):
    source = checkpoint("bert")
    models.save(models.load_finetuned_classifier(source), models.load_tokenizer(source), tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert "model.safetensors" in modes
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o644} == {}


# --- loading ---------------------------------------------------------------------------------------------------------


def test_weights_come_in_float32_whatever_the_file_holds(checkpoint, tmp_path):
    half = AutoModelForSequenceClassification.from_pretrained(checkpoint("bert"), dtype=torch.float16)
    half.save_pretrained(tmp_path)
    loaded = models.load_finetuned_classifier(tmp_path)
    assert {weights.dtype for weights in loaded.parameters()} == {torch.float32}


def test_a_head_for_other_labels_is_replaced_and_the_encoder_kept(checkpoint):
    source = checkpoint("bert")
    torch.manual_seed(0)
    three = models.load_classifier(source, ("a", "b", "c"))
    assert three.classifier.weight.shape == (3, 16)
    assert models.labels_of(three) == ("a", "b", "c")
    assert three.config.label2id == {"a": 0, "b": 1, "c": 2}
    original = models.load_finetuned_classifier(source)
    for name, weights in original.bert.state_dict().items():
        assert torch.equal(three.bert.state_dict()[name], weights), name


def test_a_head_for_as_many_labels_is_kept(checkpoint):
    again = models.load_classifier(checkpoint("bert"), ("no", "yes"))
    assert torch.equal(again.classifier.weight, models.load_finetuned_classifier(checkpoint("bert")).classifier.weight)


def test_a_pretrained_encoder_without_a_head_gets_a_fresh_one(encoders, tmp_path):
    from transformers import AutoModel, AutoModelForMaskedLM

    encoder = AutoModel.from_config(encoders.config("bert"))
    encoder.save_pretrained(tmp_path / "plain")
    loaded = models.load_classifier(tmp_path / "plain", ("no", "yes"))
    assert torch.equal(loaded.bert.embeddings.word_embeddings.weight, encoder.embeddings.word_embeddings.weight)

    # A masked language model has no pooler either: that is fresh as well, and no fault.
    AutoModelForMaskedLM.from_config(encoders.config("bert")).save_pretrained(tmp_path / "mlm")
    assert models.labels_of(models.load_classifier(tmp_path / "mlm", ("no", "yes"))) == ("no", "yes")


def test_the_loss_of_a_loaded_classifier_is_cross_entropy_whatever_its_config_says(copy):
    model = models.load_classifier(copy(problem_type="multi_label_classification"), ("no", "yes"))
    loss = model(input_ids=torch.tensor([[2, 7, 3]]), labels=torch.tensor([1])).loss
    logits = model.eval()(input_ids=torch.tensor([[2, 7, 3]])).logits[0]
    expected = -torch.log_softmax(logits, dim=0)[1]
    assert torch.allclose(model(input_ids=torch.tensor([[2, 7, 3]]), labels=torch.tensor([1])).loss, expected)
    assert torch.isfinite(loss)


def test_a_checkpoint_without_a_trained_head_is_no_finetuned_classifier(encoders, tmp_path):
    from transformers import AutoModel

    AutoModel.from_config(encoders.config("bert")).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"made for BertModel, not for sequence classification.*lilliput finetune"):
        models.load_finetuned_classifier(tmp_path)


def _without(folder, *prefixes):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(prefixes)}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_missing_weights_are_refused_instead_of_made_up(copy):
    headless = _without(copy(), "classifier.")
    with pytest.raises(ModelError, match=r"lacks weights.*classifier"):
        models.load_finetuned_classifier(headless)
    broken = _without(copy(), "bert.encoder.layer.1.")
    for load in (models.load_finetuned_classifier, lambda source: models.load_classifier(source, ("no", "yes"))):
        with pytest.raises(ModelError, match=r"lacks weights.*layer\.1\."):
            load(broken)


def test_an_encoder_of_another_size_than_its_config_says_is_refused(copy):
    source = copy(vocab_size=500)
    for load in (models.load_finetuned_classifier, lambda source: models.load_classifier(source, ("no", "yes"))):
        with pytest.raises(ModelError, match=r"word_embeddings"):
            load(source)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "no such folder"),
        (lambda folder: (folder / "config.json").unlink(), r"holds no config\.json"),
        (lambda folder: (folder / "config.json").write_text("{"), r"no usable config\.json"),
        (lambda folder: (folder / "config.json").write_text("{}"), r"no usable config\.json"),
        (lambda folder: (folder / "config.json").write_text("[]"), r"no usable config\.json"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"), r"no usable config\.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"can't load its weights \(model\.safetensors\)"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), r"can't load its weights"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), r"can't load its weights"),
        (lambda folder: _truncate(folder / "model.safetensors"), r"can't load its weights"),
    ],
)
def test_unusable_folders_are_refused_by_name(copy, spoil, message):
    folder = copy()
    spoil(folder)
    with pytest.raises(ModelError, match=message) as caught:
        models.load_finetuned_classifier(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def _truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_pickled_weights_are_not_read(copy):
    folder = copy()
    torch.save(models.load_finetuned_classifier(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"can't load its weights \(model\.safetensors\)"):
        models.load_finetuned_classifier(folder)


def test_an_unsupported_architecture_is_refused_with_the_supported_ones(copy):
    with pytest.raises(ModelError, match=r"'gpt2' is not supported; supported are bert, roberta, distilbert, electra"):
        models.load_classifier(copy(model_type="gpt2"), ("no", "yes"))


def test_remote_code_is_not_run(copy, tmp_path):
    folder = copy(auto_map={"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"})
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    models.load_finetuned_classifier(folder)
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_a_tokenizer_is_refused(copy):
    folder = copy()
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        models.load_tokenizer(folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="tokenizer"):
        models.load_tokenizer(folder)


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "data", "order"),
    [
        (("negative", "positive"), ("negative", "positive"), (0, 1)),
        (("positive", "negative"), ("negative", "positive"), (1, 0)),
        (("POSITIVE", "Negative"), ("negative", "positive"), (1, 0)),
        (("c", "a", "b"), ("a", "b", "c"), (1, 2, 0)),
        (("b", "B"), ("B", "b"), (1, 0)),  # the exact name counts before the case is given up
    ],
)
def test_label_order_of_a_model_against_the_data(encoders, names, data, order):
    model = encoders.classifier("bert", labels=names)
    assert models.match_labels(model, data, "here") == order
    assert models.labels_of(model) == names


def test_a_model_that_never_got_names_takes_those_of_the_data(encoders):
    model = encoders.classifier("bert", labels=None)
    assert models.labels_of(model) == ("LABEL_0", "LABEL_1")
    assert models.match_labels(model, ("no", "yes"), "here") == (0, 1)
    assert models.labels_of(model) == ("no", "yes")
    assert model.config.label2id == {"no": 0, "yes": 1}


@pytest.mark.parametrize(
    ("names", "data"),
    [
        (("negative", "positive"), ("no", "yes")),
        (("negative", "positive"), ("negative", "neutral", "positive")),
        (("a", "A"), ("a", "b")),
        (("A", "b"), ("a", "a ")),
        (("x", "b"), ("B", "b")),
    ],
)
def test_other_labels_than_the_data_s_are_refused(encoders, names, data):
    model = encoders.classifier("bert", labels=names)
    with pytest.raises(ModelError, match=r"here: its labels are .*, but the data's are"):
        models.match_labels(model, data, "here")


def test_a_score_may_have_any_name(encoders):
    model = encoders.classifier("bert", labels=("toxicity",))
    model.config.problem_type = "regression"
    assert models.match_labels(model, ("score",), "here") == (0,)
    model.config.problem_type = "multi_label_classification"
    with pytest.raises(ModelError, match="name them alike, in the data or as id2label"):
        models.match_labels(model, ("score",), "here")


# --- vectors ----------------------------------------------------------------------------------------------------------


def vectors(folder, encoders, pooling, last=None):
    """A folder as sentence-transformers saves it."""
    from transformers import AutoModel

    AutoModel.from_config(encoders.config("bert")).save_pretrained(folder)
    kinds = ["Transformer", "Pooling", *([last] if last else [])]
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": f"{n}_{kind}"} for n, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    return folder


@pytest.mark.parametrize(
    "pooling", [{"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, {"pooling_mode": "mean"}]
)
def test_vectors_that_are_means_are_read(encoders, tmp_path, pooling):
    folder = vectors(tmp_path, encoders, pooling, "Normalize")
    assert models.load_finetuned(tasks.get("sentence-embedding"), folder).config.model_type == "bert"


@pytest.mark.parametrize(
    ("pooling", "last", "message"),
    [
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, None, "pooled by cls_token; only mean"),
        ({"pooling_mode": "lasttoken"}, None, "pooled by lasttoken; only mean is read"),
        ({"pooling_mode_mean_tokens": True}, "Dense", "its vectors go through a Dense layer, which is not supported"),
    ],
)
def test_vectors_that_are_made_otherwise_are_refused(encoders, tmp_path, pooling, last, message):
    with pytest.raises(ModelError, match=message):
        models.load_finetuned(tasks.get("sentence-embedding"), vectors(tmp_path, encoders, pooling, last))


# --- fingerprints and lengths ----------------------------------------------------------------------------------------


def test_a_fingerprint_follows_the_files_and_not_the_place(copy):
    one, other = copy(), copy()
    assert models.fingerprint(one) == models.fingerprint(other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert models.fingerprint(one) != models.fingerprint(other)
    assert models.fingerprint("owner/name") == "owner/name@main"
    assert models.fingerprint("owner/name", "v1") == "owner/name@v1"


def test_a_length_beyond_the_positions_is_refused(encoders):
    model = encoders.classifier("bert")
    models.check_length(model, 40)
    with pytest.raises(ConfigError, match="--max-length 41: this model reads at most 40 tokens; give --max-length 40"):
        models.check_length(model, 41)
    with pytest.raises(ConfigError, match="--max-length 128, the default: this model reads at most 40 tokens"):
        models.check_length(model, 128)


def test_logits_do_not_depend_on_batches(checkpoint):
    model, tokenizer = models.load_finetuned_classifier(checkpoint("bert")), models.load_tokenizer(checkpoint("bert"))
    together = logits_of(model, tokenizer, TEXTS, 40)
    alone = np.concatenate([logits_of(model, tokenizer, [text], 40) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-5
