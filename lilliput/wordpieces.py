"""The tokens of plain English text, many times faster than the library, and the same.

Where a tokenizer is BERT's (BertNormalizer, BertPreTokenizer, WordPiece), text of printable ASCII falls into words of
letters and digits, and single other characters; and the pieces of a word don't depend on what stands around it. So they
are looked up in a table of words, and only a word that is not in it is split: by the longest piece that it begins with,
and so on. Of any other text, or tokenizer, nothing is claimed: `WordPieces.encode` gives None, and the caller asks the
library.

Reference: Wu et al. 2016, "Google's Neural Machine Translation System", section 4.1, on word pieces.
"""

from __future__ import annotations

import re
from itertools import chain

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

WORDS = 200_000
"""Words that the table may hold; beyond, a word is split each time."""
_LOWER = re.compile(r"[a-z0-9]+|[^a-z0-9 ]").findall
_CASED = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9 ]").findall
_SAMPLES = ("", "a", "A joy from START to finish!", "it's -- (not) 10/10 <b>unbelievably</b> qzxjk $5.99", "word " * 40)
"""Texts on which the table must agree with the library before it is used."""


class WordPieces:
    """A table of words and their pieces. Made by `of`."""

    def __init__(self, tokenizer: Tokenizer, first: int, last: int, max_length: int) -> None:
        vocabulary = tokenizer.get_vocab()
        self._longest = tokenizer.model.max_input_chars_per_word
        self._unknown = (vocabulary[tokenizer.model.unk_token],)
        self._first, self._last = first, last
        self._room = max_length - 1
        self._lowers = tokenizer.normalizer.lowercase
        self._words = _LOWER if self._lowers else _CASED
        self._whole = {word: number for word, number in vocabulary.items() if not word.startswith("##")}
        self._pieces: dict[str, tuple[int, ...]] = {
            word: (number,) for word, number in self._whole.items() if len(word) <= self._longest
        }
        self._rest = {piece[2:]: number for piece, number in vocabulary.items() if piece.startswith("##")}

    @classmethod
    def of(cls, tokenizer: Tokenizer, max_length: int) -> WordPieces | None:
        """The table of a tokenizer, which cuts texts to ``max_length`` tokens; None where it can't have one."""
        is_bert = (
            isinstance(tokenizer.model, WordPiece)
            and tokenizer.model.continuing_subword_prefix == "##"
            and tokenizer.token_to_id(tokenizer.model.unk_token) is not None
            and isinstance(tokenizer.normalizer, BertNormalizer)
            and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
            # Added tokens are found anywhere in a text; with a bracket in each, a text without one has none.
            and all("[" in token.content for token in tokenizer.get_added_tokens_decoder().values())
        )
        ends = tokenizer.encode("").ids if is_bert else []
        if len(ends) != 2:
            return None
        found = cls(tokenizer, ends[0], ends[1], max_length)
        for text in _SAMPLES:
            expected = tokenizer.encode(text)
            if found.encode(text) != expected.ids or any(expected.type_ids):
                return None
        return found

    def encode(self, text: str) -> list[int] | None:
        """Token ids of ``text``, special tokens included, cut to the length; None where the library must be asked."""
        if not text.isascii() or not text.isprintable() or "[" in text:
            return None
        words = self._words(text.lower() if self._lowers else text)
        pieces = self._pieces
        ids = [self._first]
        try:
            ids += chain.from_iterable(map(pieces.__getitem__, words))
        except KeyError:
            ids = [self._first]
            for word in words:
                ids += pieces.get(word) or self._learn(word)
        del ids[self._room :]
        ids.append(self._last)
        return ids

    def _learn(self, word: str) -> tuple[int, ...]:
        found = self._split(word)
        if len(self._pieces) < WORDS:
            self._pieces[word] = found
        return found

    def _split(self, word: str) -> tuple[int, ...]:
        """The pieces of a word that is not one itself: each time the longest that what is left begins with."""
        if len(word) > self._longest:
            return self._unknown
        found, start, known = [], 0, self._whole
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = known.get(word[start:end])
                if piece is not None:
                    break
            else:
                return self._unknown
            found.append(piece)
            start, known = end, self._rest
        return tuple(found)
