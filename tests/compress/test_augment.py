"""Augmented texts: repeatable, made of the given words, and as many as were asked for."""

from hypothesis import given
from hypothesis import strategies as st

from lilliput.compress import augment as module


def augment(*given, **named):
    """All texts at once."""
    return list(module.augment(*given, **named))


TEXTS = [f"{a} {b} {c} {d} {e}" for a in "pq" for b in "rs" for c in "tu" for d in "vw" for e in "xyz"]


def test_no_copies_are_no_texts():
    assert augment(TEXTS, 0, seed=0) == []
    assert augment([], 3, seed=0) == []


def test_the_same_seed_gives_the_same_texts_and_another_seed_others():
    assert augment(TEXTS, 2, seed=1) == augment(TEXTS, 2, seed=1)
    assert augment(TEXTS, 2, seed=1) != augment(TEXTS, 2, seed=2)


def test_a_further_copy_does_not_change_those_before():
    assert augment(TEXTS, 3, seed=1)[: 2 * len(TEXTS)] == augment(TEXTS, 2, seed=1)


@given(st.lists(st.text(max_size=40), max_size=8), st.integers(0, 3), st.integers(0, 2**31 - 1))
def test_every_text_gives_its_copies_out_of_words_that_there_are(texts, copies, seed):
    made = augment(texts, copies, seed)
    assert len(made) == copies * len(texts)
    words = {word for text in texts for word in text.split()}
    assert all(set(text.split()) <= words for text in made)
    # A text with words never becomes an empty one.
    for number, text in enumerate(made):
        assert bool(text.split()) or not texts[number % len(texts)].split()


def test_spans_are_whole_runs_of_words_of_the_length_that_is_documented():
    """One text has small letters and the other capitals: so it shows which words came from which."""
    small = " ".join(f"a{i}" for i in range(100))
    capital = " ".join(f"B{i}" for i in range(100))
    mixed = single = 0
    for text in augment([small, capital], 500, seed=0)[::2]:  # those that begin with the first text
        own = [int(word[1:]) for word in text.split() if word[0] == "a"]
        other = [int(word[1:]) for word in text.split() if word[0] == "B"]
        if other:
            mixed += 1
            assert 30 <= len(own) <= 80
            assert 30 <= len(other) <= 80
            assert own == list(range(own[0], own[0] + len(own)))
            assert other == list(range(other[0], other[0] + len(other)))
        elif own == sorted(own):
            single += 1
            assert len(own) <= 100
    # Half of the texts are mixed, and half of those with the text itself.
    assert 80 < mixed < 170
    assert 200 < single < 310


def test_words_are_left_out_at_the_documented_rate():
    text = " ".join(str(i) for i in range(1000))
    kept = [list(map(int, made.split())) for made in augment([text], 400, seed=0)]
    alone = [words for words in kept if words == sorted(words)]
    spans = [words[-1] - words[0] + 1 for words in alone]
    shares = [1 - len(words) / span for words, span in zip(alone, spans, strict=True) if len(words) < span]
    assert 0.095 < sum(shares) / len(shares) < 0.105
