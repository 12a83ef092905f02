"""Tokens are those of transformers, whatever the text and however long it is."""

import itertools
import json
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from lilliput.errors import BundleError, InputError
from lilliput.tokenization import TextEncoder

TEXTS = {
    "empty": "",
    "spaces": " \t\n\u00a0\u3000 ",
    "plain": "A joy from START to finish!",
    "accents": "Café naïve Straße ñandú ΣΊΣΥΦΟΣ",
    "composed and decomposed": "caf\u00e9 cafe\u0301",
    "combining pile": "e\u0301\u0302\u0303\u0304 z\u0351\u036b\u0343 \u0301alone",
    "chinese": "漢字日本語中文混合text漢a字",
    "japanese": "ひらがなとカタカナ、日本語。",
    "korean": "한글 한국어 \u1112\u1161\u11ab",
    "arabic": "مرحبا بالعالم \u202bالعالم\u202c مَرْحَبًا",
    "hebrew": "שלום עולם שָׁלוֹם",
    "hindi": "हिन्दी भाषा क्षत्रिय",
    "thai": "ภาษาไทย",
    "emoji": "😀🚀 good😀movie 👍🏽 🇫🇷",
    "emoji joined": "👩\u200d👩\u200d👧 👨\u200d👩\u200d👧\u200d👦 ❤\ufe0f\u200d🔥",
    "controls": "a\x00b\x07c\x7fd\u200be\ufefff\u2028g\x85h",
    "replacement": "\ufffd \U0010ffff \ue000",
    "special tokens": "[CLS] good [SEP] [MASK] bad [PAD] [UNK] [sep]",
    "long word": "a" * 99 + " " + "b" * 100 + " " + "c" * 101 + " good",
    "punctuation": "...!?!?---(a)[b]{c}«d»„e“¿f?",
    "more than fits": "good " * 200,
    "surrogate pair as one": "\U0001f469",
}


@pytest.fixture(scope="module")
def reference(tiny_bundle):
    """The tokenizer of transformers, loaded from the bundle's folder."""
    from transformers import AutoTokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AutoTokenizer.from_pretrained(tiny_bundle)


@pytest.fixture(scope="module")
def make(tiny_bundle):
    """Makes text encoders of the bundle's tokenizer."""
    serialized = (tiny_bundle / "tokenizer.json").read_bytes()
    return lambda max_length: TextEncoder(serialized, max_length=max_length, path=tiny_bundle / "tokenizer.json")


def expected(reference, text, max_length):
    found = reference(text, truncation=True, max_length=max_length, return_token_type_ids=True)
    return found["input_ids"], found["token_type_ids"]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("max_length", [3, 8, 24, 512])
def test_tokens_of_transformers(reference, make, name, max_length):
    assert make(max_length)(TEXTS[name], 0) == expected(reference, TEXTS[name], max_length)


def test_the_scripts_are_not_all_unknown(tiny, make):
    unknown = tiny.vocabulary()["[UNK]"]
    for name in ("chinese", "arabic", "hebrew", "thai", "emoji", "accents"):
        ids, _ = make(512)(TEXTS[name], 0)
        assert sum(token != unknown for token in ids) > 4, name


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60))
def test_tokens_of_transformers_for_any_text(reference, make, text):
    assert make(12)(text, 0) == expected(reference, text, 12)


PIECES = [
    "good ",
    "bad, ",
    "漢",
    "😀",
    "a" * 120 + " ",
    "e\u0301",
    "   ",
    "[MASK]",
    "\u200d",
    "it're ",
    ". ",
    "x",
    "\u0301",
]


@settings(max_examples=150, deadline=None)
@given(parts=st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 60)), min_size=3, max_size=12))
def test_a_prefix_gives_the_tokens_of_the_whole(reference, make, parts):
    # 256 * 8 = 2048 characters are the most that is ever read; up to there the answer is exact.
    text = "".join(piece * times for piece, times in parts)[:2048]
    assert make(8)(text, 0) == expected(reference, text, 8)


def byte_level():
    """A byte-level BPE as RoBERTa's, whose pre-tokenizer looks ahead and joins "'" with what follows."""
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    built.train_from_iterator(["it's they're we'll I've   good   movie", "it're  the the 're"] * 3, trainer)
    built.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return built


def test_no_cut_changes_the_tokens_of_byte_level_bpe():
    built = byte_level()
    encoder = TextEncoder(built.to_str().encode(), max_length=8, path=Path("tokenizer.json"))
    built.enable_truncation(8)
    for tail, head in itertools.product(("it're the", "a   b", "<mask> x", "''''ll", "é漢😀"), ("", "w" * 60, "   ")):
        for shift in range(24):
            text = head + "x" * shift + tail * 60
            found = built.encode(text)
            assert encoder(text, 0) == (found.ids, found.type_ids), text[:140]


def test_a_word_that_goes_on_after_the_prefix(reference, make):
    # The first prefix is 16 * 8 = 128 characters: five words and 88 letters of the sixth, whose first piece would be
    # the eighth token. The whole word has over 100 letters, so it is one [UNK].
    text = "good    " * 5 + "a" * 200
    assert make(8)(text, 0) == expected(reference, text, 8)
    assert make(8)(text, 0)[0][-2] == 1


@pytest.mark.parametrize("start", range(120, 130))
def test_a_special_token_across_the_cut(reference, make, start):
    text = ("good " * 5).ljust(start) + "[MASK]" + " bad" * 50
    assert make(8)(text, 0) == expected(reference, text, 8)


def test_a_long_text_is_read_up_to_the_limit(make):
    # Words of over 100 letters are one [UNK] each, so 256 * 8 characters hold 10 of them; the sixth fills 8 tokens.
    encode = make(8)
    assert encode(("a" * 200 + " ") * 50_000, 0)[0][1:-1] == [1] * 6
    # What lies beyond 256 * max_length characters is never read, which the documentation says.
    assert encode("good" + " " * 2048 + "bad", 0) == encode("good", 0)
    assert encode("good" + " " * 2000 + "bad", 0) == encode("good bad", 0)


HUGE = {
    "words": "hello world ",
    "one word": "a",
    "spaces": " ",
    "chinese": "漢字",
    "emoji": "👩\u200d👩\u200d👧",
    "combining": "e\u0301\u0302",
    "only combining": "\u0301",
    "punctuation": ".",
    "controls": "\x07",
    "right to left": "مرحبا ",
    "special": "[MASK]",
    "joiners": "\u200d",
}


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("max_length", [24, 128, 512])
def test_ten_megabytes_take_no_time(make, name, max_length):
    encode = make(max_length)
    text = HUGE[name] * (10_000_000 // len(HUGE[name]))
    start = time.perf_counter()
    ids, _ = encode(text, 0)
    assert time.perf_counter() - start < 1.5  # 0.1 on a machine that does nothing else; all of it takes 20
    assert len(ids) <= max_length


def test_a_lone_surrogate_is_found_wherever_it_is(make):
    encode = make(8)
    for position in (0, 3, 100_000):
        text = "x" * position + "\udc9f" + "y"
        with pytest.raises(InputError, match=rf"item 5 .*U\+DC9F.* character {position},"):
            encode(text, 5)


def test_the_advice_for_surrogates_works(make):
    pair, lone = "\ud83d\ude00", "a\ud800b"
    cleaned = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in (pair, lone)]
    assert cleaned == ["😀", "a\ufffdb"]
    for text in (pair, lone):
        with pytest.raises(InputError, match="surrogatepass"):
            make(8)(text, 0)
    for text in cleaned:
        make(8)(text, 0)


def test_what_the_file_says_of_padding_and_truncation_does_not_count(make, tiny_bundle):
    content = json.loads((tiny_bundle / "tokenizer.json").read_text())
    content["truncation"] = {"direction": "Left", "max_length": 4, "strategy": "OnlyFirst", "stride": 1}
    content["padding"] = {
        "strategy": {"Fixed": 50},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    encode = TextEncoder(json.dumps(content).encode(), max_length=8, path=Path("t"))
    for text in ("good", "good bad " * 20):
        assert encode(text, 0) == make(8)(text, 0)


def broken(tiny_bundle, **changes):
    return json.dumps({**json.loads((tiny_bundle / "tokenizer.json").read_text()), **changes}).encode()


TEMPLATE = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}], "pair": []}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "?", "continuing_subword_prefix": "##"}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
        {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}},
        {"post_processor": {**TEMPLATE, "single": [{"Sequence": {"id": "B", "type_id": 0}}], "special_tokens": {}}},
        {"post_processor": {**TEMPLATE, "single": [{"SpecialToken": {"id": "?", "type_id": 0}}], "special_tokens": {}}},
        {"version": "9"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_hostile_tokenizer_is_one_clear_error(tiny_bundle, changes):
    # Several of these make the Rust code panic, which is no Exception in Python.
    with pytest.raises(BundleError, match=r"tokenizer\.json: "):
        TextEncoder(broken(tiny_bundle, **changes), max_length=8, path=Path("tokenizer.json"))("good movie", 0)


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"[" * 100_000, b"null"], ids=repr)
def test_no_tokenizer_at_all(raw):
    with pytest.raises(BundleError, match=r"tokenizer\.json: this tokenizer can't be used"):
        TextEncoder(raw, max_length=8, path=Path("tokenizer.json"))


def test_a_length_without_room_for_text(make):
    with pytest.raises(BundleError, match="max_length 2 leaves no room"):
        make(2)
