"""Trimming tiny vocabularies: what is kept, what is merged, coverage and refusals, all by hand."""

from __future__ import annotations

import json
from collections import Counter
from types import ModuleType

import pytest
from tokenizers import Tokenizer
from tokenizers import models as kinds
from transformers import PreTrainedTokenizerFast

from lilliput.compress.vocabulary import count_tokens, coverage, keep, trim
from lilliput.errors import ConfigError, DataError


def test_tokens_that_nothing_could_stand_for_are_kept(vocabularies: ModuleType) -> None:
    tokens = [
        *vocabularies.NAMES.values(),
        "a",
        "b",
        "##a",
        "aa",
        "ab",
        "##ba",
        "##aa",
        "cab",
    ]  # neither ##b nor c is a token
    tokenizer = vocabularies.word_piece({token: number for number, token in enumerate(tokens)})
    kept = tokenizer.convert_ids_to_tokens(keep(tokenizer, Counter()))
    assert kept == [*vocabularies.NAMES.values(), "a", "b", "##a", "ab", "##ba", "cab"]


def test_the_most_frequent_tokens_are_kept(vocabularies: ModuleType) -> None:
    tokens = [*vocabularies.NAMES.values(), "a", "b", "##a", "##b", "aa", "ab", "ba", "bb"]
    tokenizer = vocabularies.word_piece({token: number for number, token in enumerate(tokens)})
    counts = count_tokens(tokenizer, ["ab ba bb", "bb ba", "BB unknown"])
    assert counts == Counter({10: 1, 11: 2, 12: 3, 1: 1})  # ab, ba, bb, [UNK]
    assert keep(tokenizer, counts) == (*range(9), 10, 11, 12)
    assert keep(tokenizer, counts, 13) == (*range(9), 10, 11, 12)  # what no text has is not kept to fill the size
    assert keep(tokenizer, counts, 11) == (*range(9), 11, 12)
    assert keep(tokenizer, Counter({9: 1, 10: 1}), 10) == tuple(range(10))  # the lower of equally frequent ones
    with pytest.raises(ConfigError, match=r"--vocabulary 8: 9 tokens .* so give 9 or more"):
        keep(tokenizer, counts, 8)


def test_a_merged_token_is_kept_with_those_it_is_merged_of(vocabularies: ModuleType) -> None:
    tokenizer = vocabularies.byte_level([("j", "o"), ("jo", "y"), ("o", "y"), ("b", "a"), ("ba", "d")])
    first = 5 + 256
    counts = count_tokens(tokenizer, ["joy", "joy", "bad"])
    assert counts == Counter({first + 1: 2, first + 4: 1})
    assert keep(tokenizer, counts, first + 3) == (*range(first), first, first + 1)  # bad would need ba as well
    assert keep(tokenizer, Counter({first: 1}), first + 3) == tuple(range(first + 1))
    kept = keep(tokenizer, counts)
    assert kept == (*range(first), first, first + 1, first + 3, first + 4)
    trimmed = trim(vocabularies.table_of(tokenizer), tokenizer, kept)[1]
    merges = json.loads(trimmed.backend_tokenizer.to_str())["model"]["merges"]
    assert merges == [["j", "o"], ["jo", "y"], ["b", "a"], ["ba", "d"]]
    assert trimmed.tokenize("joyboy") == ["joy", "b", "o", "y"]


def test_coverage_by_hand(vocabularies: ModuleType) -> None:
    tokens = [*vocabularies.NAMES.values(), "a", "b", "##a", "##b", "aa", "ab", "ba", "bb"]
    tokenizer = vocabularies.word_piece({token: number for number, token in enumerate(tokens)})
    model = vocabularies.table_of(tokenizer)
    smaller, trimmed = trim(model, tokenizer, keep(tokenizer, count_tokens(tokenizer, ["ba bb"])))
    found = coverage((model, tokenizer), (smaller, trimmed), ["ba bb", "ab ba", "unknown bb", "aaab"])
    # Before: ba bb | ab ba | [UNK] bb | aa ##a ##b; after: ba bb | a ##b ba | [UNK] bb | a ##a ##a ##b.
    assert (found.tokens, found.texts) == (7 / 9, 2 / 4)
    assert (found.unknown_before, found.unknown_after) == (1 / 9, 1 / 11)
    assert (found.tokens_per_text_before, found.tokens_per_text_after) == (9 / 4, 11 / 4)
    assert found.bytes_saved == 2 * 4 * 4  # two rows, aa and ab, of four numbers in float32
    with pytest.raises(DataError, match="there is none"):
        coverage((model, tokenizer), (smaller, trimmed), [])


def test_tokenizers_of_other_kinds_are_refused_by_name(vocabularies: ModuleType) -> None:
    class OldTokenizer:
        is_fast = False

    unigram = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(kinds.Unigram([("<unk>", 0.0), ("a", -1.0)], 0)))
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(kinds.WordLevel({"a": 0, "b": 1}, unk_token="b")))
    characters = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(kinds.BPE({"a": 0, "b": 1}, [])))
    for tokenizer, name in (
        (unigram, "Unigram tokenizer"),
        (words, "WordLevel tokenizer"),
        (characters, "BPE without a ByteLevel pre-tokenizer"),
        (vocabularies.byte_level([("a", "b")], ignore_merges=True), "BPE with ignore_merges tokenizer"),
        (OldTokenizer(), "OldTokenizer is a slow tokenizer"),
    ):
        with pytest.raises(ConfigError, match=name):
            count_tokens(tokenizer, ["a"])
        with pytest.raises(ConfigError, match="can't be trimmed"):
            keep(tokenizer, Counter())
