"""Pretraining: what is learnt and reported, every way to start, resuming, and what is refused."""

import json
import logging
import math
import sys

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from lilliput import cli, encoder, language_models, models
from lilliput.config import PretrainConfig, build
from lilliput.errors import ConfigError, DataError, ModelError
from lilliput.train import packing, pretrain, pretraining
from lilliput.train.corpus import position
from lilliput.train.masking import Masking

pytestmark = pytest.mark.usefixtures("quick_training")

LENGTH = 16


@pytest.fixture
def documents(encoders):
    return [text for texts in encoders.corpus().values() for text in texts[::5]]


@pytest.fixture
def corpus(documents, tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(documents) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tokenizer(tiny, tmp_path):
    """A folder with a tokenizer and nothing else."""
    folder = tmp_path / "tokenizer"
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def run(corpus, tmp_path, checkpoint):
    def run(out="out", progress=None, **changes):
        settings = {"epochs": 1, "batch_size": 16, "max_length": LENGTH, "learning_rate": 3e-3, "device": "cpu"}
        settings |= {"corpus": (str(corpus),), "held_out": 0.2, "out": tmp_path / out}
        if "architecture" not in changes:
            settings["model"] = str(checkpoint("bert"))
        return pretrain(PretrainConfig(**{**settings, **changes}), progress)

    return run


@pytest.fixture
def shape(encoders, tmp_path):
    """A config.json of an architecture."""

    def shape(architecture, **changes):
        path = tmp_path / f"{architecture}.json"
        path.write_text(json.dumps({**encoders.config(architecture, **changes).to_dict()}))
        return str(path)

    return shape


def weights_of(folder):
    return load_file(folder / "model.safetensors")


# --- what is learnt and reported -------------------------------------------------------------------------------------


def test_the_result_is_what_the_saved_model_does(run, tmp_path):
    """The figures again, from the saved folder by plain transformers, with the logits of every token."""
    result = run(epochs=2, held_out=0.5)
    folder = tmp_path / "out" / "model"
    assert result["folder"] == str(folder)
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    blocks = packing.blocks_of(tmp_path / "out" / "corpus" / packing.HELD_OUT)
    ids = torch.from_numpy(np.stack(blocks["input_ids"])).long()
    corrupted, labels = Masking(tokenizer, 0.15)(ids, torch.Generator().manual_seed(pretraining.EVALUATION_SEED))
    with torch.no_grad():
        logits = model(input_ids=corrupted, attention_mask=(corrupted != 0).long()).logits
    loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100).item()
    chosen = labels != -100
    assert result["masked_tokens"] == chosen.sum()
    assert result["loss"] == pytest.approx(loss, rel=1e-2)  # measured in bfloat16 where that is fast
    assert result["perplexity"] == math.exp(result["loss"])
    accuracy = (logits.argmax(-1) == labels)[chosen].float().mean().item()
    assert result["masked_accuracy"] == pytest.approx(accuracy, abs=0.02)
    training = packing.blocks_of(tmp_path / "out" / "corpus" / packing.TRAINING)
    counts = np.bincount(np.concatenate(training["input_ids"]), minlength=300)
    counts[:5] = 0
    unigram = (labels[chosen] == int(counts.argmax())).float().mean().item()
    assert result["unigram_accuracy"] == pytest.approx(unigram)
    assert 0 < unigram < 0.5


def test_it_learns(run, tokenizer, shape, corpus):
    """Ten words in a circle: one that is masked follows from its neighbours."""
    circle = ["an", "the", "film", "movie", "joy", "from", "start", "to", "finish", "was"]
    texts = [
        " ".join(circle[(start + i) % 10] for i in range(length)) for start in range(10) for length in range(5, 45)
    ]
    corpus.write_text("\n".join(texts))
    sizes = {"layers": 1, "initializer_range": 0.1, "hidden_size": 64, "intermediate_size": 128}
    config = shape("bert", **sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    learning = {"epochs": 5, "batch_size": 8, "learning_rate": 5e-3, "save_every": 1000}
    result = run(architecture=config, tokenizer=str(tokenizer), **learning)
    assert result["masked_accuracy"] > 0.5 > 3 * result["unigram_accuracy"]
    assert result["loss"] < 1.5 < math.log(10) < result["loss_before"]
    assert result["best_epoch"] > 3


def test_the_result_counts_the_corpus(run, documents, corpus, tmp_path):
    held_out = sum(position(text) < 0.2 for text in documents)
    corpus.write_bytes(corpus.read_bytes() + b"\xff\n")
    result = run()
    assert (result["documents"], result["held_out_documents"]) == (len(documents) - held_out, held_out)
    assert result["rejected"] == {"invalid UTF-8": 1}
    width = LENGTH - 1
    assert result["blocks"] == math.ceil((result["tokens"] + result["documents"]) / width)
    assert result["held_out_blocks"] == math.ceil((result["held_out_tokens"] + held_out) / width)
    saved = json.loads((tmp_path / "out" / "model" / "result.json").read_text())
    assert saved == {key: value for key, value in result.items() if key not in ("folder", "reused")}
    log = [json.loads(line) for line in (tmp_path / "out" / "model" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["event"] == "validation"
    assert log[-1]["loss"] == result["loss"]


def test_runs_are_measured_with_one_masking(run):
    one, other = run(out="one", seed=1), run(out="other", seed=2, batch_size=8)
    assert one["loss"] != other["loss"]
    assert one["loss_before"] != other["loss_before"]  # the fresh head differs, and nothing else
    assert all(one[name] == other[name] for name in ("masked_tokens", "unigram_accuracy"))


def test_whole_words_change_what_is_masked(run, tmp_path):
    assert run(out="one")["masked_tokens"] != run(out="other", whole_words=True)["masked_tokens"]
    assert run(out="third", mask=0.4)["masked_tokens"] > 2 * run(out="one")["masked_tokens"]


def test_the_schedule_ends_with_the_steps_asked_for(run, tmp_path):
    result = run(max_steps=7, save_every=1)
    assert result["best_step"] == 7
    log = [json.loads(line) for line in (tmp_path / "out" / "model" / "log.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in log if line["event"] == "train"]
    assert rates == pytest.approx([0, *(3e-3 * (7 - step) / 6 for step in range(1, 7))])


# --- every way to start ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_a_checkpoint_without_a_head_is_gone_on_with_and_fine_tuned(run, checkpoint, tmp_path, architecture):
    """The head is fresh and shares the word embeddings; the result is a folder that classifiers start from."""
    source = checkpoint(architecture)
    result = run(model=str(source), learning_rate=1e-3)
    folder = tmp_path / "out" / "model"
    assert result["loss"] < result["loss_before"]
    model = language_models.load_masked_lm(folder)
    assert model.get_output_embeddings().weight is encoder.word_embeddings_of(model).weight
    before, after = weights_of(source), weights_of(folder)
    shared = [name for name in before if name.startswith(f"{model.base_model_prefix}.") and "pooler" not in name]
    assert shared
    assert set(shared) <= set(after)
    table = next(name for name in shared if name.endswith("word_embeddings.weight"))
    assert 0 < (before[table] - after[table]).abs().max() < 0.1  # gone on from there, not made anew
    classifier = models.load_classifier(folder, ("negative", "positive"))
    found = {name.removeprefix(f"{model.base_model_prefix}."): value for name, value in classifier.state_dict().items()}
    assert torch.equal(found["embeddings.word_embeddings.weight"], after[table])
    tokenizer = models.load_tokenizer(folder)
    assert tokenizer.model_max_length == encoder.longest_input(model)
    again = run(out="again", model=str(folder), learning_rate=1e-3)  # and with its head from here on
    assert again["loss_before"] == pytest.approx(result["loss"], rel=2e-3)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_a_config_json_is_a_model_from_scratch(run, encoders, tiny, shape, tmp_path, architecture):
    tokenizer = encoders.tokenizer(architecture, tiny.tokenizer)
    tokenizer.save_pretrained(tmp_path / "own")
    result = run(architecture=shape(architecture), tokenizer=str(tmp_path / "own"), max_steps=1)
    model = language_models.load_masked_lm(tmp_path / "out" / "model")
    assert type(model).__name__.lower() == f"{architecture}formaskedlm"
    assert encoder.shape_of(model).vocabulary == len(tokenizer)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert result["loss_before"] > 1


def test_the_shapes_that_have_a_name(tiny):
    tokenizer = tiny.tokenizer()
    shapes = {}
    for name in ("tiny", "mini", "small", "base"):
        with torch.device("meta"):
            model = language_models.new_masked_lm(name, tokenizer, 64)
        found = encoder.shape_of(model)
        shapes[name] = (found.layers, found.hidden, found.heads, found.ffn)
        assert encoder.longest_input(model) == 64
        assert found.vocabulary == len(tokenizer)
    # Turc et al. 2019, table 1
    assert shapes == {
        "tiny": (2, 128, 2, 512),
        "mini": (4, 256, 4, 1024),
        "small": (4, 512, 8, 2048),
        "base": (12, 768, 12, 3072),
    }


def test_weights_from_scratch_depend_on_the_seed_alone(tiny):
    def weights(seed):
        torch.manual_seed(seed)
        return language_models.new_masked_lm("tiny", tiny.tokenizer(), 16).state_dict()

    one, same, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(one[name], same[name]) for name in one)
    table = "bert.embeddings.word_embeddings.weight"
    assert not torch.equal(one[table], other[table])


# --- again, and after an interruption --------------------------------------------------------------------------------


def test_the_same_command_again_is_reused_and_the_corpus_by_others(run, corpus, tmp_path, monkeypatch):
    first = run()
    assert run() == {**first, "reused": True}
    assert run(save_every=7)["reused"]
    moved = corpus.with_name("moved.txt")
    moved.write_text(corpus.read_text())
    assert run(corpus=(str(moved),))["reused"]
    packed = []
    original = packing.pack
    monkeypatch.setattr(packing, "pack", lambda *given: packed.append(1) or original(*given))
    assert not run(learning_rate=1e-3)["reused"]
    assert packed == []
    for changes in ({"max_length": 12}, {"held_out": 0.3}):
        run(**changes)
    corpus.write_text(corpus.read_text() + "one more\n")
    run()
    assert len(packed) == 3


def test_the_saved_configuration_can_be_given_again(run, tmp_path):
    run()
    saved = tmp_path / "out" / "model" / "config.yaml"
    config = build(PretrainConfig, saved)
    assert yaml.safe_load(saved.read_text()) == config.model_dump(mode="json")
    assert pretrain(config)["reused"]


@pytest.mark.parametrize("stop_at", [1, 5, 8])
def test_an_interrupted_run_ends_bit_for_bit_as_if_it_had_not_been(run, tmp_path, monkeypatch, stop_at):
    """Masks and dropout are drawn again as they were; the corpus is not tokenised again."""
    whole = run(out="whole", save_every=2, epochs=2)
    assert whole["best_step"] > 8

    def stop(done, total, what):
        if what.startswith("pretraining") and done == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(out="cut", save_every=2, epochs=2, progress=stop)
    assert not (tmp_path / "cut" / "model").exists()
    monkeypatch.setattr(packing, "pack", None)
    cut = run(out="cut", save_every=2, epochs=2)
    assert {**cut, "folder": ""} == {**whole, "folder": ""}
    one, other = weights_of(tmp_path / "whole" / "model"), weights_of(tmp_path / "cut" / "model")
    assert set(one) == set(other)
    assert all(torch.equal(one[name], other[name]) for name in one)

    def losses(out):
        lines = map(json.loads, (tmp_path / out / "model" / "log.jsonl").read_text().splitlines())
        return [(line["step"], line["loss"]) for line in lines if line["event"] != "resumed"]

    assert losses("whole") == losses("cut")


def test_a_corpus_cut_off_while_it_is_tokenised_is_tokenised_again(run, tmp_path):
    def stop(done, total, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(progress=stop)
    assert not (tmp_path / "out" / "corpus").exists()
    assert run()["loss"] == run(out="other")["loss"]


# --- what is refused -------------------------------------------------------------------------------------------------


def test_weights_that_the_encoder_lacks_are_refused(run, encoders, tiny, tmp_path):
    source = encoders.save(tmp_path / "source", "bert", tiny.tokenizer)
    weights = weights_of(source)
    del weights["bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights .*: bert\.encoder\.layer\.1\.output\.dense\.weight; get"):
        run(model=str(source))


def test_what_is_not_usable_is_refused(run, tiny, encoders, checkpoint, shape, tokenizer, tmp_path, corpus):
    own = {"tokenizer": str(tokenizer)}
    with pytest.raises(ConfigError, match="--max-length 41: this model reads at most 40 tokens"):
        run(max_length=41)
    with pytest.raises(ConfigError, match=r"--architecture huge: neither one of tiny, mini, small, base nor a config"):
        run(architecture="huge", **own)
    with pytest.raises(ConfigError, match="describes no model: "):
        run(architecture=shape("bert", num_attention_heads=3), **own)
    (tmp_path / "a.json").write_text('{"hidden_size": 3}')
    with pytest.raises(ConfigError, match=r"no config\.json: it has no model_type"):
        run(architecture=str(tmp_path / "a.json"), **own)
    (tmp_path / "a.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match=r"a\.json: architecture 'gpt2' is not supported; supported are bert, roberta"):
        run(architecture=str(tmp_path / "a.json"), **own)
    with pytest.raises(ModelError, match="no such folder"):
        run(architecture="tiny", tokenizer=str(tmp_path / "nowhere"))
    small = encoders.config("bert")
    small.vocab_size = 200
    AutoModel.from_config(small).save_pretrained(tmp_path / "small")
    with pytest.raises(ModelError, match=r"--tokenizer .*: has 295 tokens, the model knows 200; use the model's own"):
        run(model=str(tmp_path / "small"), **own)
    unmasked = tiny.tokenizer()
    unmasked.mask_token = None
    unmasked.save_pretrained(tmp_path / "unmasked")
    with pytest.raises(
        ModelError, match="unmasked: its tokenizer has no MASK token, which masked language models need"
    ):
        run(architecture="tiny", tokenizer=str(tmp_path / "unmasked"))
    with pytest.raises(DataError, match="too short for one masked token; use a larger --held-out"):
        run(mask=1e-6)
    assert not (tmp_path / "out" / "model").exists()
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="--device cuda: PyTorch sees no CUDA device here"):
            run(device="cuda")


def test_nothing_of_ours_is_logged_while_all_goes_well(run, caplog):
    with caplog.at_level(logging.WARNING, "lilliput"):
        run()
    assert [record for record in caplog.records if record.name.startswith("lilliput")] == []


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capfd):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["lilliput", "pretrain", *map(str, arguments)])
        monkeypatch.setattr("logging.basicConfig", lambda **_: None)
        with pytest.raises(SystemExit) as ending:
            cli.main()
        return ending.value.code or 0, *capfd.readouterr()

    return command


def test_the_command(command, corpus, checkpoint, tmp_path):
    flags = ["--corpus", corpus, "--model", checkpoint("bert"), "--max-length", LENGTH, "--held-out", 0.2]
    code, out, _ = command(*flags, "--out", tmp_path / "out", "--json", tmp_path / "r.json", "--device", "cpu")
    result = json.loads((tmp_path / "r.json").read_text())
    assert code == 0
    assert out == (
        f"held-out perplexity {result['perplexity']:.1f}, {result['masked_accuracy']:.1%} of masked tokens right; "
        f"saved in {tmp_path / 'out' / 'model'}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corpus", "a.txt"], "--model or --architecture: give one of the two"),
        (["--corpus", "a.txt", "--model", "x", "--architecture", "tiny"], "--model or --architecture: give one of the"),
        (["--corpus", "a.txt", "--architecture", "tiny"], "--tokenizer: a model from scratch needs one"),
        (["--corpus", "a.txt", "--architecture", "tiny", "--tokenizer", "./no"], "./no: no such folder"),
        (["--corpus", "none.txt", "--model", "./no"], "--corpus none.txt: there is no such file or folder"),
        (["--corpus", "a.txt", "--model", "./no"], "./no: no such folder"),
        (["--corpus", "a.txt", "--model", "own", "--mask", "0"], "--mask: input should be greater than 0 (got 0.0)"),
        (
            ["--corpus", "a.txt", "--model", "own", "--max-length", "500"],
            "--max-length 500: this model reads at most 40",
        ),
        (["--corpus", "a.txt", "--model", "own", "--max-length", "16"], "--corpus a.txt: of 1 documents"),
    ],
)
def test_errors_are_one_line(command, checkpoint, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("only one document\n", encoding="utf-8")
    (tmp_path / "own").symlink_to(checkpoint("bert"))
    code, out, err = command("--out", "out", "--device", "cpu", *arguments)
    lines = [line for line in err.splitlines() if line.strip() and "of 1" not in line.partition("error")[0]]
    assert (code, out) == (2, "")
    assert len(lines) == 1, err
    assert message in lines[0]
    assert lines[0].startswith("error: ")
