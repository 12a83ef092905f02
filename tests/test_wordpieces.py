"""The table of words gives the library's tokens on every text that it answers, and answers plain text."""

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer, Lowercase
from tokenizers.pre_tokenizers import BertPreTokenizer, Whitespace
from tokenizers.processors import TemplateProcessing

from lilliput import wordpieces
from lilliput.wordpieces import WordPieces

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = [*SPECIAL, *string.ascii_lowercase[:20], *string.digits, *"!'()-./$", "film", "good", "A", "Good"]
VOCABULARY += [f"##{one}" for one in (*string.ascii_lowercase[:18], *string.digits, "ing", "ness")]


def tokenizer(max_length=12, lowercase=True, **parts):
    """A small BERT tokenizer; ``parts`` replace its own."""
    made = Tokenizer(WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    made.normalizer = parts.get("normalizer", BertNormalizer(lowercase=lowercase))
    made.pre_tokenizer = parts.get("pre_tokenizer", BertPreTokenizer())
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = TemplateProcessing(single=parts.get("template", "[CLS] $A [SEP]"), special_tokens=ends)
    made.add_special_tokens([*SPECIAL, *parts.get("added", ())])
    made.enable_truncation(max_length)
    return made


@pytest.mark.parametrize("lowercase", [True, False])
@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60) | st.text(string.printable, max_size=60) | st.text("aàA ##go[]od'1-", max_size=40))
def test_tokens_are_the_library_s_or_none(lowercase, text):
    library = tokenizer(lowercase=lowercase)
    table = WordPieces.of(library, 12)
    for _ in range(2):  # the second time with the words learnt
        found = table.encode(text)
        assert found is None or found == library.encode(text).ids


def test_plain_text_is_answered_and_cut():
    library = tokenizer(max_length=6)
    table = WordPieces.of(library, 6)
    assert table.encode("good film") == [2, VOCABULARY.index("good"), VOCABULARY.index("film"), 3]
    assert len(table.encode("good film " * 9)) == 6
    assert table.encode("good film " * 9) == library.encode("good film " * 9).ids
    assert table.encode("x" * 101) == library.encode("x" * 101).ids  # longer than any word: unknown
    assert table.encode("naïve") is None
    assert table.encode("a [MASK]") is None
    assert table.encode("two\nlines") is None


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": Lowercase()},
        {"pre_tokenizer": Whitespace()},
        {"template": "$A [SEP]"},
        {"template": "[CLS]:1 $A:1 [SEP]:1"},
        {"added": [AddedToken("film")]},
    ],
)
def test_other_tokenizers_have_no_table(parts):
    assert WordPieces.of(tokenizer(**parts), 12) is None


def test_a_piece_longer_than_words_may_be_is_unknown_as_in_the_library():
    made = tokenizer()
    made.model.max_input_chars_per_word = 3
    table = WordPieces.of(made, 12)
    for text in ("good", "abc", "abcd good"):
        assert table.encode(text) == made.encode(text).ids
    assert table.encode("good") == [2, VOCABULARY.index("[UNK]"), 3]


def test_a_vocabulary_without_the_unknown_token_has_no_table():
    made = tokenizer()
    made.model.unk_token = "[NONE]"
    assert WordPieces.of(made, 12) is None


def test_the_table_does_not_grow_without_end(monkeypatch):
    library = tokenizer()
    table = WordPieces.of(library, 12)
    monkeypatch.setattr(wordpieces, "WORDS", len(table._pieces) + 3)
    draw = random.Random(0)
    for _ in range(50):
        word = "".join(draw.choices(string.ascii_lowercase, k=8))
        assert table.encode(word) == library.encode(word).ids
    assert len(table._pieces) == wordpieces.WORDS
