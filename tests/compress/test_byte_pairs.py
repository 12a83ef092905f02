"""Which merges make a token, by hand and against the tokenizers library."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE

from lilliput.compress.byte_pairs import Merges, Pair


@st.composite
def merge_lists(draw: st.DrawFn) -> list[Pair]:
    """Merges in any order that their parts allow: trained lists are far tamer."""
    tokens, pairs = ["a", "b", "c"], []
    for _ in range(draw(st.integers(0, 12))):
        pair = (draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens)))
        pairs.append(pair)
        tokens.append("".join(pair))
    return draw(st.permutations(pairs))


words = st.lists(st.text("abc", min_size=1, max_size=14), min_size=1, max_size=8)


def test_a_token_is_made_of_the_last_pair_that_is_merged() -> None:
    merges = Merges([("a", "b"), ("ab", "c"), ("b", "c"), ("c", "c")])
    assert merges.encode("abcc") == ["abc", "c"]  # ab c c, then abc c: nothing merges these
    assert merges.origin("abc") == ("ab", "c")
    assert merges.origin("bc") == ("b", "c")
    assert merges.origin("a") is None
    assert merges.closure("abc") == {"abc", "ab", "a", "b", "c"}


def test_a_token_that_other_merges_forestall_is_never_made() -> None:
    merges = Merges([("a", "b"), ("b", "c"), ("a", "bc")])
    assert merges.encode("abc") == ["ab", "c"]
    assert merges.origin("abc") is None
    assert merges.closure("abc") == {"abc"}
    assert merges.of({"abc", "bc", "b", "c"}) == [("b", "c")]


def test_of_two_ways_to_a_token_the_one_taken_counts() -> None:
    merges = Merges([("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")])
    assert merges.origin("abc") == ("a", "bc")
    assert merges.closure("abc") == {"abc", "bc", "a", "b", "c"}
    assert merges.of({"abc", "bc", "a", "b", "c"}) == [("b", "c"), ("a", "bc")]


def test_the_leftmost_of_equal_pairs_is_merged_first() -> None:
    assert Merges([("a", "a")]).encode("aaa") == ["aa", "a"]


@settings(max_examples=40, deadline=None)
@given(merge_lists(), words)
def test_encodes_as_the_library_does(pairs: list[Pair], some: list[str]) -> None:
    tokens = dict.fromkeys(["a", "b", "c", *map("".join, pairs)])
    library = Tokenizer(BPE({token: number for number, token in enumerate(tokens)}, pairs))
    merges = Merges(pairs)
    for word in some:
        assert merges.encode(word) == library.encode(word).tokens


@settings(max_examples=60, deadline=None)
@given(merge_lists(), words, words, st.data())
def test_words_whose_tokens_are_kept_are_encoded_as_before(
    pairs: list[Pair], corpus: list[str], some: list[str], data: st.DataObject
) -> None:
    merges = Merges(pairs)
    used = {"a", "b", "c"}.union(
        *map(merges.encode, corpus), data.draw(st.sets(st.sampled_from([*map("".join, pairs), "a"])))
    )
    kept = set().union(*map(merges.closure, used))
    fewer = Merges(merges.of(kept))
    for token in kept:
        assert merges.closure(token) <= kept
    for word in [*corpus, *some]:
        if kept.issuperset(merges.encode(word)):
            assert fewer.encode(word) == merges.encode(word)
        assert "".join(fewer.encode(word)) == word
        assert kept.issuperset(fewer.encode(word))
