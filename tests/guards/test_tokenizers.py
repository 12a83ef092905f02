"""Tokenizers of every supported kind are taken; patterns that could take long are told from those that can't."""

import json
import time

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from lilliput.errors import IntegrityError
from lilliput.guards.tokenizers import check, is_linear

LINEAR = (
    " {2,}",
    r"\s+",
    r"\s{2,}|[\n\r\t]",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",  # GPT-2's
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",  # CLIP's
    r"\p{N}{1,3}",
    r"a?b?c+",
    r"[a|b]|\|",
)
SLOW = (
    r"(a+)+$",
    r"a*a*b",
    r"a+b",
    r"(a|a)*b",
    r"(?:a)*",
    r"(a)\1",
    r"\g<0>",
    r"^a+$",
    r"(?=a)",
    r"[^x]+(?!\S)",
    r"a{1,99999}",
    r"a?a?a?a?a?aaaaa",
    "[a",
    "a**",
    "",
)


@pytest.mark.parametrize("pattern", LINEAR)
def test_patterns_that_take_linear_time(pattern):
    assert is_linear(pattern)
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    start = time.perf_counter()
    for text in ("a" * 20_000, " " * 20_000, "a b" * 7_000, "\x00" * 20_000):
        split.pre_tokenize_str(text)
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize("pattern", SLOW)
def test_patterns_that_could_take_long(pattern):
    assert pattern == "" or not is_linear(pattern)
    with pytest.raises(IntegrityError, match="could take long"):
        checked(pre_tokenizer={"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False})


def content():
    built = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    built.add_special_tokens(["[UNK]"])
    return json.loads(built.to_str())


def checked(rows=3, **parts):
    check(json.dumps({**content(), **parts}).encode(), "tokenizer.json", rows)


def test_tokenizers_of_every_architecture(encoders, tiny, checkpoint, tmp_path):
    for architecture in encoders.ARCHITECTURES:
        serialized = (checkpoint(architecture) / "tokenizer.json").read_bytes()
        top = max(Tokenizer.from_str(serialized.decode()).get_vocab().values())
        check(serialized, "tokenizer.json", top + 1)
        check(serialized, "tokenizer.json", None)
        with pytest.raises(IntegrityError, match=rf"token id {top}, but the model has {top} rows"):
            check(serialized, "tokenizer.json", top)


def test_a_unigram_tokenizer_with_many_steps():
    """As XLM-RoBERTa's is."""
    built = Tokenizer(models.Unigram([("<unk>", 0.0), ("\u2581a", -1.0), ("b", -2.0)], unk_id=0))
    steps = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    built.normalizer = normalizers.Sequence(steps)
    built.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    built.post_processor = processors.TemplateProcessing("$A <unk>", "$A <unk> $B", [("<unk>", 0)])
    check(built.to_str().encode(), "tokenizer.json", 3)
    with pytest.raises(IntegrityError, match="token id 2, but the model has 2 rows"):
        check(built.to_str().encode(), "tokenizer.json", 2)


def test_growth():
    """Each replacement of one letter by three may make three letters and the one, of one."""
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "bbb"}
    checked(normalizer={"type": "Sequence", "normalizers": [step] * 2})
    with pytest.raises(IntegrityError, match="more than 32 times"):
        checked(normalizer={"type": "Sequence", "normalizers": [step] * 3})
    checked(normalizer={"type": "Sequence", "normalizers": [{**step, "content": " "}] * 20})
    checked(normalizer={"type": "Replace", "pattern": {"String": "abc"}, "content": "bbb"})


@pytest.mark.parametrize("value", [5, [], "x", {"type": 5}, {"type": "Sequence", "normalizers": 5}, [None], True])
@pytest.mark.parametrize("key", ["normalizer", "pre_tokenizer", "post_processor", "decoder"])
def test_steps_of_a_wrong_type(key, value):
    with pytest.raises(IntegrityError, match=r"^tokenizer\.json: "):
        checked(**{key: value})


@pytest.mark.parametrize(
    "model",
    [
        5,
        None,
        {},
        {"type": "BPE"},
        {"type": "Unigram", "vocab": {"a": 1}},
        {"type": "BPE", "vocab": {"a": 0}, "merges": 5},
    ],
)
def test_models_of_a_wrong_type(model):
    with pytest.raises(IntegrityError, match=r"^tokenizer\.json: "):
        checked(model=model)
