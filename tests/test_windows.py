"""Windows of token ids: what transformers gives for the same texts, pairs, words and overlaps."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from lilliput.tasks import Tokens
from lilliput.tokenization import WindowEncoder


@pytest.fixture(params=["bert", "roberta"])
def tokenizer(request, encoders, tiny):
    return encoders.tokenizer(request.param, tiny.tokenizer)


def ids(encoder, *inputs):
    return [[window.ids for window in windows] for windows in encoder(list(inputs))]


TEXT = "the film was a joy from start to finish and not bad"


def test_a_text_and_a_pair_are_cut_as_transformers_cuts_them(tokenizer):
    encoder = WindowEncoder(tokenizer.backend_tokenizer, 8)
    assert ids(encoder, Tokens(TEXT), Tokens("a joy")) == [
        [tokenizer(TEXT, truncation=True, max_length=8)["input_ids"]],
        [tokenizer("a joy")["input_ids"]],
    ]
    assert ids(encoder, Tokens(TEXT, "not good")) == [
        [tokenizer(TEXT, "not good", truncation=True, max_length=8)["input_ids"]]
    ]


def test_words_are_read_as_transformers_reads_split_words(encoders, tiny):
    tokenizer = encoders.tokenizer("bert", tiny.tokenizer)
    words = ("the", "unwatchable", "film", "😀")
    (window,) = WindowEncoder(tokenizer.backend_tokenizer, 16)([Tokens(words)])[0]
    assert window.ids == tokenizer(list(words), is_split_into_words=True)["input_ids"]


def test_byte_level_words_begin_with_a_space(encoders, tiny):
    tokenizer = encoders.tokenizer("roberta", tiny.tokenizer)
    (window,) = WindowEncoder(tokenizer.backend_tokenizer, 32)([Tokens(("the", "film"))])[0]
    assert window.ids == tokenizer(" the film")["input_ids"]
    # Reading words must leave the way that texts are read as it was.
    assert (
        WindowEncoder(tokenizer.backend_tokenizer, 32)([Tokens("the film")])[0][0].ids
        == tokenizer("the film").input_ids
    )


def test_windows_overlap_by_the_share_that_was_asked_for(encoders, tiny):
    tokenizer = encoders.tokenizer("bert", tiny.tokenizer)
    expected = tokenizer(TEXT, truncation=True, max_length=8, stride=3, return_overflowing_tokens=True)["input_ids"]
    assert len(expected) > 2
    assert ids(WindowEncoder(tokenizer.backend_tokenizer, 8, overlap=0.5), Tokens(TEXT)) == [expected]


def test_of_a_question_and_a_context_the_context_is_cut(encoders, tiny):
    tokenizer = encoders.tokenizer("bert", tiny.tokenizer)
    question = "was it good ?"
    (windows,) = WindowEncoder(tokenizer.backend_tokenizer, 16, overlap=0.5)([Tokens(question, TEXT)])
    expected = tokenizer(
        question, TEXT, truncation="only_second", max_length=16, stride=3, return_overflowing_tokens=True
    )
    assert [window.ids for window in windows] == expected["input_ids"]


def test_a_question_longer_than_half_a_window_is_cut_and_the_context_still_read(encoders, tiny):
    tokenizer = encoders.tokenizer("bert", tiny.tokenizer)
    (windows,) = WindowEncoder(tokenizer.backend_tokenizer, 16, overlap=0.5)([Tokens(TEXT * 3, "the end was great")])
    read = {
        place
        for window in windows
        for place, part in zip(window.offsets, window.sequence_ids, strict=True)
        if part == 1
    }
    assert max(end for _, end in read) == len("the end was great")
    assert all(sum(part == 0 for part in window.sequence_ids) <= 6 for window in windows)  # (16 - 3) // 2


@settings(deadline=None, max_examples=60)
@given(words=st.lists(st.sampled_from(["the", "film", "unwatchable", "é", "漢字", "x" * 40]), min_size=1, max_size=60))
def test_every_word_is_in_some_window(words, encoders, tiny):
    encoder = WindowEncoder(tiny.tokenizer().backend_tokenizer, 12, overlap=0.5)
    (windows,) = encoder([Tokens(tuple(words))])
    assert {word for window in windows for word in window.word_ids if word is not None} == set(range(len(words)))
    assert all(len(window.ids) <= 12 for window in windows)


def test_nothing_in_nothing_out(tokenizer):
    assert WindowEncoder(tokenizer.backend_tokenizer, 8)([]) == []


READ = ("ids", "type_ids", "attention_mask", "tokens", "offsets", "word_ids", "sequence_ids", "special_tokens_mask")
ODD = (
    "the film ",
    "unwatchable, ",
    "漢字",
    "😀",
    "a" * 120 + " ",
    "e\u0301",
    "     ",
    "[MASK]",
    "<mask>",
    "it're ",
    "\u200d",
    ". ",
    "x",
    "\n",
)


def read(encoding):
    """All that tasks read of an encoding."""
    return {name: getattr(encoding, name) for name in READ}


@pytest.fixture(scope="module", params=["bert", "roberta"])
def cut(request, encoders, tiny):
    """Makes, for a number of tokens, windows of texts that are cut, and a tokenizer that reads the whole of each."""
    backend = encoders.tokenizer(request.param, tiny.tokenizer).backend_tokenizer

    def made(max_length):
        whole = Tokenizer.from_str(backend.to_str())
        whole.no_padding()
        whole.enable_truncation(max_length)
        return WindowEncoder(backend, max_length), whole

    return made


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.lists(st.tuples(st.sampled_from(ODD), st.integers(1, 60)), max_size=12).map(
            # 256 * 8 characters are the most that is ever read; up to there the answer is exact.
            lambda parts: "".join(piece * times for piece, times in parts)[:2048]
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_prefix_gives_the_encoding_of_the_whole(cut, texts):
    encode, whole = cut(8)
    for text, windows in zip(texts, encode([Tokens(text) for text in texts]), strict=True):
        assert [read(window) for window in windows] == [read(whole.encode(text))]


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=400))
def test_any_text_has_the_encoding_of_the_whole(cut, text):
    encode, whole = cut(6)
    assert [read(window) for window in encode([Tokens(text)])[0]] == [read(whole.encode(text))]


@pytest.mark.parametrize("piece", ["the film was not bad, ", "a", " ", "漢字", "e\u0301", ".", "[MASK]"])
def test_a_megabyte_takes_no_time(cut, piece):
    encode, whole = cut(128)
    text = piece * (1_000_000 // len(piece))
    start = time.perf_counter()
    ((window,),) = encode([Tokens(text)])
    assert time.perf_counter() - start < 0.5  # all of it takes 2 seconds
    assert read(window) == read(whole.encode(text[: 256 * 128]))


def test_what_was_cut_off_is_not_kept_in_memory(cut):
    encode, whole = cut(128)
    texts = ["the film was a joy, and not bad. " * times for times in (1, 30, 60, 500)]
    assert len(whole.encode(texts[-1]).overflowing) > 30
    for (window,) in encode([Tokens(text) for text in texts]):
        assert len(window.overflowing) <= 1


def test_many_texts_keep_their_order(cut):
    encode, whole = cut(8)
    texts = [f"{'x' * (number % 7)} film {number} " * (number % 50) for number in range(150)]
    assert [read(window) for (window,) in encode([Tokens(text) for text in texts])] == [
        read(whole.encode(text)) for text in texts
    ]


@pytest.mark.parametrize("place", [0, 100, 5000])
def test_a_lone_surrogate_is_refused_wherever_it_is(cut, place):
    encode, _ = cut(8)
    with pytest.raises((TypeError, UnicodeEncodeError)):
        encode([Tokens("a " * (place // 2) + "\udc9f")])
