"""Training a tokenizer: what it learns, that it is repeatable, what is saved and reported, and what is refused."""

import itertools
import json
import random
import re
import sys
from collections import Counter

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertTokenizer

from lilliput import cli
from lilliput.config import TokenizerConfig, build
from lilliput.errors import ConfigError, DataError
from lilliput.train import train_tokenizer, wordpiece

WORDS = [
    "movie",
    "movies",
    "moving",
    "moved",
    "film",
    "films",
    "filming",
    "filmed",
    "good",
    "better",
    "café",
    "naïve",
    "Great",
    "漢字",
    "été",
    "wasn't",
    "3,50",
]


@pytest.fixture
def documents():
    source = random.Random(0)
    return [" ".join(source.choices(WORDS, k=8)) + f" {number}" for number in range(300)]


@pytest.fixture
def train(tmp_path, documents):
    def train(texts=None, out="out", progress=None, **settings):
        path = tmp_path / f"{out}.txt"
        path.write_text("\n".join(texts or documents) + "\n", encoding="utf-8")
        settings = {"vocab_size": 160, "held_out": 0.1, **settings}
        return train_tokenizer(TokenizerConfig(corpus=(str(path),), out=tmp_path / out, **settings), progress)

    return train


def learn(texts, size, min_frequency=1, cased=False):
    config = TokenizerConfig(corpus=("x.txt",), min_frequency=min_frequency, out="out")
    config = config.model_copy(update={"vocab_size": size})  # smaller than a flag may be
    special = {token: place for place, token in enumerate(wordpiece.SPECIAL)}
    pipeline = wordpiece.bert_tokenizer(special, cased).backend_tokenizer
    counts = Counter("".join(pipeline.normalizer.normalize_str(text) for text in texts))
    kept = sorted(character for character in counts if not character.isspace())
    return wordpiece.learn(iter(texts), kept, pipeline, config)


# --- what is learnt --------------------------------------------------------------------------------------------------


def test_merges_worked_out_by_hand():
    """4 "abab", 3 "ab", 2 "ac", 1 "cc". Pairs: a+##b 7, ##b+##a 4, ##a+##b 4, a+##c 2, c+##c 1; after ab: ab+##a 4,
    ##a+##b 4, where the pair of the smaller ids comes first; after ##ab: ab+##ab 4; then ac 2, then cc 1."""
    texts = ["abab"] * 4 + ["ab"] * 3 + ["ac"] * 2 + ["cc"]
    start = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##a", "##b", "##c", "a", "b", "c"]
    merged = ["ab", "##ab", "abab", "ac", "cc"]
    assert list(learn(texts, 100)) == start + merged
    assert list(learn(texts, 100).values()) == list(range(len(start + merged)))
    assert list(learn(texts, 100, min_frequency=2)) == start + merged[:-1]
    assert list(learn(texts, 13)) == start + merged[:2]


def test_what_the_normaliser_does():
    assert {"cafe", "##a"} <= set(learn(["Café"] * 3, 100))
    assert "Café" in learn(["Café"] * 3, 100, cased=True)
    chinese = learn(["漢字漢字", "x\u0000y\u00ad"], 100)
    assert {"漢", "字"} <= set(chinese)
    assert not {"##漢", "##字", "漢字"} & set(chinese)  # each is a word of its own
    assert "##." not in learn(["a.b", "a...b"], 100)


def test_equal_text_makes_equal_tokenizers_in_any_order(train, documents, tmp_path):
    train(out="one")
    train(documents[::-1], out="other")
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        one, other = ((tmp_path / out / "tokenizer" / name).read_bytes() for out in ("one", "other"))
        assert one == other, name


@given(st.lists(st.text(st.sampled_from("ab cd é漢."), max_size=12), min_size=1, max_size=10))
def test_what_was_seen_is_never_unknown(texts):
    """Every text of the training part gives back its normalised words, and no [UNK]."""
    tokenizer = wordpiece.bert_tokenizer(learn(texts, 60), cased=True)
    for text in texts:
        tokens = tokenizer.tokenize(text.lower().replace("é", "e"))
        assert "[UNK]" not in tokens
        joined = "".join(token.removeprefix("##") for token in tokens)
        assert joined == text.lower().replace("é", "e").replace(" ", "")


# --- what is saved ---------------------------------------------------------------------------------------------------


def test_it_is_saved_as_a_tokenizer_of_bert(train, tmp_path):
    result = train()
    folder = tmp_path / "out" / "tokenizer"
    assert result["folder"] == str(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(tokenizer) is BertTokenizer
    assert (len(tokenizer), tokenizer.model_max_length) == (result["vocabulary"], 512)
    assert [tokenizer.convert_tokens_to_ids(token) for token in wordpiece.SPECIAL] == [0, 1, 2, 3, 4]
    special = [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.cls_token_id]
    assert [*special, tokenizer.sep_token_id, tokenizer.mask_token_id] == [0, 1, 2, 3, 4]
    names = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert names == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert json.loads((folder / "special_tokens_map.json").read_text())["mask_token"] == "[MASK]"
    encoded = tokenizer("Cafe MOVIES!", "a film [MASK]")
    assert tokenizer.decode(encoded["input_ids"]) == "[CLS] cafe movies [UNK] [SEP] a film [MASK] [SEP]"
    first = encoded["input_ids"].index(3)
    assert encoded["token_type_ids"] == [0] * (first + 1) + [1] * (len(encoded["input_ids"]) - first - 1)
    assert tokenizer.decode(tokenizer("filmmovie")["input_ids"], skip_special_tokens=True) == "filmmovie"
    # Its own classic form, without tokenizer.json, splits texts in the same way.
    plain = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True)
    assert plain("filmmovie café 漢字wasn't")["input_ids"] == tokenizer("filmmovie café 漢字wasn't")["input_ids"]


def test_capitals_and_accents_are_kept_where_asked_for(train, tmp_path):
    train(cased=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "tokenizer")
    assert tokenizer.tokenize("Great café") == ["Great", "café"]
    train(out="uncased")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "uncased" / "tokenizer")
    assert tokenizer.tokenize("Great café") == ["great", "cafe"]


def test_the_stage_is_reused_and_its_configuration_can_be_given_again(train, tmp_path):
    first = train()
    again = train()
    assert again == {**first, "reused": True}
    saved = tmp_path / "out" / "tokenizer" / "config.yaml"
    config = build(TokenizerConfig, saved)
    assert yaml.safe_load(saved.read_text()) == config.model_dump(mode="json")
    assert train_tokenizer(config)["reused"]
    assert not train(vocab_size=118)["reused"]
    result = json.loads((tmp_path / "out" / "tokenizer" / "result.json").read_text())
    assert result["vocabulary"] == 118


# --- what is reported ------------------------------------------------------------------------------------------------


def test_figures_worked_out_by_hand():
    vocabulary = [*wordpiece.SPECIAL, "film", "##s", "good", ".", "c"]
    tokenizer = wordpiece.bert_tokenizer({token: place for place, token in enumerate(vocabulary)}, cased=False)
    figures = wordpiece.evaluate(tokenizer, ["Films.", "good xyz films", "", "[SEP]"])
    # films | . | good | xyz | films | [ | sep | ]: 8 words; film ##s | . | good | UNK | film ##s | UNK | UNK | UNK
    assert figures == {
        "held_out_words": 8,
        "held_out_tokens": 10,
        "tokens_per_word": 10 / 8,
        "unknown_rate": 4 / 10,
        "word_coverage": 1 - 4 / 8,
        "character_coverage": 1 - 8 / (5 + 1 + 4 + 3 + 5 + 5),
    }


def test_the_report_is_on_held_out_documents(train, documents, tmp_path):
    """What is in a held-out document alone is unknown, and the documents add up."""
    from lilliput.train.corpus import position

    held_out = [text for text in documents if position(text) < 0.1]
    strange = next(f"жжж {number}" for number in itertools.count() if position(f"жжж {number}") < 0.1)
    result = train([*documents, strange])
    assert result["held_out_documents"] == len(held_out) + 1
    assert result["documents"] == len(documents) - len(held_out)
    assert result["rejected"] == {}
    words = [re.findall(r"\w+|[^\w\s]", text.replace("漢字", "漢 字")) for text in [*held_out, strange]]
    assert result["held_out_words"] == sum(map(len, words))
    assert result["word_coverage"] == pytest.approx(1 - 1 / result["held_out_words"])
    assert result["unknown_rate"] == pytest.approx(1 / result["held_out_tokens"])
    characters = sum(len(word) for found in words for word in found)
    assert result["character_coverage"] == pytest.approx(1 - 3 / characters)


def test_lines_that_are_not_utf_8_are_in_the_result(tmp_path, documents):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\n" + "\n".join(documents).encode())
    result = train_tokenizer(TokenizerConfig(corpus=(str(path),), vocab_size=160, out=tmp_path / "out"))
    assert result["rejected"] == {"invalid UTF-8": 1}
    assert result["rejected_examples"] == [f"{path}:1: invalid UTF-8"]


def test_progress_is_told(train):
    told = []
    train(progress=lambda done, total, what: told.append(what.split(":")[0]))
    assert list(dict.fromkeys(told)) == ["counting characters", "learning"]


# --- small vocabularies ----------------------------------------------------------------------------------------------


def test_a_vocabulary_too_small_for_the_characters_says_what_would_do(train):
    with pytest.raises(ConfigError, match=r"--vocab-size 30: too small for the 3\d characters of this corpus") as found:
        train(vocab_size=30)
    enough = int(re.search(r"give ([\d,]+) or more", str(found.value))[1].replace(",", ""))
    assert 60 < enough < 160
    assert train(vocab_size=enough)["vocabulary"] <= enough
    with pytest.raises(ConfigError, match="too small"):
        train(vocab_size=enough - 1)


def test_the_rarest_characters_are_left_out_of_a_small_vocabulary(train, documents):
    rare = "".join(map(chr, range(0x400, 0x450)))
    result = train([*documents * 4, *(f"{rare} {number}" for number in range(3))], vocab_size=120)
    assert result["characters_left_out"] > 0
    assert result["vocabulary"] <= 120
    assert train([*documents * 4, *(f"{rare} {n}" for n in range(3))], vocab_size=600)["characters_left_out"] == 0


def test_noise_is_left_out_of_a_large_one():
    pipeline = wordpiece.bert_tokenizer({"[UNK]": 0}, cased=False).backend_tokenizer
    counts = {"a": 20_000_000, "b": 3, "c": 1}
    assert wordpiece.alphabet(counts, pipeline, 100) == ["a", "b"]


def test_nothing_but_control_characters(train):
    with pytest.raises(DataError, match="nothing is left of the training documents without their control characters"):
        train([f"\u00ad{chr(0x200B + number % 4)}" * (number + 1) for number in range(80)])


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capfd):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["lilliput", "tokenizer", "train", *map(str, arguments)])
        monkeypatch.setattr("logging.basicConfig", lambda **_: None)
        with pytest.raises(SystemExit) as ending:
            cli.main()
        return ending.value.code or 0, *capfd.readouterr()

    return command


def test_the_command(command, documents, tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(documents), encoding="utf-8")
    flags = ["--corpus", tmp_path / "a.txt", "--vocab-size", 160, "--out", tmp_path / "out"]
    code, out, _ = command(*flags, "--json", tmp_path / "r.json")
    result = json.loads((tmp_path / "r.json").read_text())
    assert code == 0
    assert out == (
        f"{result['vocabulary']} tokens; {result['tokens_per_word']:.2f} tokens a word, "
        f"{result['unknown_rate']:.2%} unknown; saved in {tmp_path / 'out' / 'tokenizer'}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--corpus is missing"),
        (["--corpus", "none.txt"], "--corpus none.txt: there is no such file or folder"),
        (["--corpus", "a.txt", "--corpus", "none.txt"], "--corpus none.txt: there is no such file or folder"),
        (["--corpus", "empty.txt"], "--corpus empty.txt: there is no document"),
        (["--corpus", "a.txt", "--held-out", "1"], "--held-out: input should be less than 1 (got 1.0)"),
        (
            ["--corpus", "a.txt", "--vocab-size", "3"],
            "--vocab-size: input should be greater than or equal to 16 (got 3)",
        ),
        (["--corpus", "a.csv"], "a.csv: no text column: none of text, "),
    ],
)
def test_errors_are_one_line(command, documents, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("\n".join(documents), encoding="utf-8")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    (tmp_path / "empty.txt").touch()
    code, out, err = command("--out", "out", *arguments)
    lines = [line for line in err.splitlines() if line.strip() and "of 1" not in line]  # progress, that is
    assert (code, out) == (2, "")
    assert len(lines) == 1, err
    assert lines[0].startswith(f"error: {message}")
