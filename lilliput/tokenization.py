"""Text to token ids with the tokenizer of a bundle, in bounded time.

A tokenizer reads the whole of a text before it truncates: 10 MB take many seconds for 128 tokens. Where a text is cut,
a prefix is read instead, and its tokens are taken only where the rest of the text can't have changed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from lilliput.errors import BundleError, InputError
from lilliput.tasks import Tokens
from lilliput.wordpieces import WordPieces

_FIRST_PREFIX = 16  # characters per token of max_length
_LAST_PREFIX = 256
_MARGIN = 64  # characters: longer than any look-ahead of a pre-tokenizer
_TOGETHER = 64  # texts: until their rests are let go, they are in memory at the same time


class _Prefixes:
    """The encodings of single texts with a tokenizer that cuts them, from as much of each text as decides them.

    Of a text longer than ``16 * max_length`` characters first that prefix is read. Its tokens are taken when they fill
    ``max_length`` and end in a word that is complete before the prefix's last one; else a prefix four times as long is
    tried. Nothing beyond ``256 * max_length`` characters is ever read: a text that has fewer than ``max_length`` tokens
    in that many characters (a page of spaces, one endless word) is answered from those.

    Args:
        tokenizer: cuts at ``max_length`` tokens whenever this is called, without a stride.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        added = tokenizer.get_added_tokens_decoder().values()
        self._tokenizer = tokenizer
        self._margin = _MARGIN + max((len(token.content) for token in added), default=0)
        self.first = _FIRST_PREFIX * max_length
        self._last = _LAST_PREFIX * max_length

    def encode(self, text: str) -> Encoding:
        """The encoding of a text."""
        if len(text) <= self.first:
            return self._tokenizer.encode(text)
        return self._encode_long(text, self._tokenizer.encode(text[: self.first]))

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """The encodings of texts, as `encode` gives them but that ``overflowing`` need not hold the whole rest."""
        pieces = (texts[start : start + _TOGETHER] for start in range(0, len(texts), _TOGETHER))
        return [encoding for some in pieces for encoding in self._encode_some(some)]

    def _encode_some(self, texts: Sequence[str]) -> list[Encoding]:
        encodings = self._tokenizer.encode_batch([text[: self.first] for text in texts])
        for number, text in enumerate(texts):
            if len(text) > self.first:
                encodings[number] = self._encode_long(text, encodings[number])
        # An encoding holds all that was cut off, some 135 bytes a token, and nothing takes that away again. One that is
        # made anew, from little more text than its own tokens are of, holds little of it: up to a window may stay.
        lengths = {
            number: max(end for _, end in encoding.offsets) + self._margin
            for number, encoding in enumerate(encodings)
            if len(encoding.overflowing) > 1
        }
        anew = self._tokenizer.encode_batch([texts[number][:length] for number, length in lengths.items()])
        for (number, length), encoding in zip(lengths.items(), anew, strict=True):
            if self._is_settled(encoding, length):
                encodings[number] = encoding
        return encodings

    def _encode_long(self, text: str, encoding: Encoding) -> Encoding:
        """The encoding of a text that is longer than the first prefix, whose encoding is given."""
        text.encode("utf-8")  # a lone surrogate is refused wherever it is, read or not
        length = self.first
        while not self._is_settled(encoding, length):
            length *= 4
            if length >= min(len(text), self._last):
                return self._tokenizer.encode(text[: self._last])
            encoding = self._tokenizer.encode(text[:length])
        return encoding

    def _is_settled(self, encoding: Encoding, length: int) -> bool:
        """Whether the tokens of a prefix of ``length`` characters are those of every text that begins with it.

        What follows the prefix can change its last word, and what a pre-tokenizer sees a few characters ahead
        ("'r" + "e", "[MAS" + "K]"), but no word that ends well before the cut.
        """
        rest = encoding.overflowing
        if not rest:
            return False
        kept = [
            (word, end) for word, (_, end) in zip(encoding.word_ids, encoding.offsets, strict=True) if word is not None
        ]
        beyond = [word for word in rest[-1].word_ids if word is not None]
        if not kept or not beyond:
            return False
        word, end = kept[-1]
        return word < beyond[-1] and end <= length - self._margin


class TextEncoder:
    """The tokens of a text, cut to ``max_length``, special tokens included; equal to those of transformers.

    A long text is read as far as that decides them (see `_Prefixes`), and no further than ``256 * max_length``
    characters.

    Args:
        serialized: the bytes of a ``tokenizer.json``.
        max_length: tokens.
        path: where the bytes are from, for error messages.

    Raises:
        BundleError: the tokenizer can't be used.
    """

    def __init__(self, serialized: bytes, *, max_length: int, path: Path) -> None:
        self._path = path
        try:
            self._tokenizer = Tokenizer.from_str(serialized.decode("utf-8"))
            special = self._tokenizer.num_special_tokens_to_add(False)
            if max_length <= special:
                raise ValueError(f"max_length {max_length} leaves no room beside {special} special tokens")
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(max_length)
            self._prefixes = _Prefixes(self._tokenizer, max_length)
            self._words = WordPieces.of(self._tokenizer, max_length)
        except BaseException as error:
            _let_exits_pass(error)
            raise BundleError(f"{path}: this tokenizer can't be used: {error}") from error
        self.tokenizer = self._tokenizer  # for what answers read of it

    def __call__(self, text: str, index: int) -> tuple[list[int], list[int]]:
        """Token ids and token types of ``text``; ``index`` is its number in the caller's list, for error messages.

        Raises:
            InputError: ``text`` holds a lone surrogate.
            BundleError: the tokenizer fails.
        """
        try:
            ids = self._words.encode(text) if self._words and len(text) <= self._prefixes.first else None
            if ids is not None:
                return ids, [0] * len(ids)
            encoding = self._prefixes.encode(text)
        except BaseException as error:
            _let_exits_pass(error)
            _refuse_surrogates(text, index)
            raise BundleError(f"{self._path}: the tokenizer failed on item {index}: {error}") from error
        return encoding.ids, encoding.type_ids


class WindowEncoder:
    """The windows of token ids in which a task reads its inputs, special tokens included.

    An input of more than ``max_length`` tokens is cut, or, where ``overlap`` is above 0, read in several windows, each
    of which repeats that share of the one before. Of a pair the second text alone is cut, unless that would leave
    nothing of it.

    A single text that is cut is read as far as that decides its tokens (see `_Prefixes`), and no further than
    ``256 * max_length`` characters. Pairs and words are read as a whole.

    Args:
        tokenizer: is copied, not changed.
        max_length: tokens.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, overlap: float = 0.0) -> None:
        self.max_length = max_length
        self.overlap = overlap
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_padding()
        self._special = {
            False: self._tokenizer.num_special_tokens_to_add(False),
            True: self._tokenizer.num_special_tokens_to_add(True),
        }
        self._prefixes = _Prefixes(self._tokenizer, max_length)
        self._words_apart = Tokenizer.from_str(self._tokenizer.to_str())  # reads inputs that are split into words
        if isinstance(self._words_apart.pre_tokenizer, ByteLevel):
            # Each word stands alone there: without this it would be read as the middle of a word.
            self._words_apart.pre_tokenizer = ByteLevel(add_prefix_space=True)

    def __call__(self, inputs: Sequence[Tokens]) -> list[list[Encoding]]:
        """The windows of each input, in order; at least one."""
        alike = groupby(inputs, key=lambda item: (isinstance(item.first, str), item.second is None))
        return [windows for _, some in alike for windows in self._encode(list(some))]

    def _encode(self, inputs: Sequence[Tokens]) -> list[list[Encoding]]:
        """The windows of inputs that are all of one kind: texts or words, single or in pairs."""
        words = not isinstance(inputs[0].first, str)
        pairs = inputs[0].second is not None
        tokenizer = self._words_apart if words else self._tokenizer
        firsts: list[Any] = [item.first for item in inputs]
        if self.overlap and pairs:
            firsts = self._short(firsts)
        self._cut(tokenizer, pairs)
        if not (words or pairs or self.overlap):
            return [[encoding] for encoding in self._prefixes.encode_batch(firsts)]
        given = [(first, item.second) if pairs else first for first, item in zip(firsts, inputs, strict=True)]
        encodings = tokenizer.encode_batch(given, is_pretokenized=words)
        return [[encoding, *encoding.overflowing] if self.overlap else [encoding] for encoding in encodings]

    def _short(self, texts: list[Any]) -> list[Any]:
        """The texts, cut where they would leave less than half of a window to the second one."""
        room = (self.max_length - self._special[True]) // 2
        self._tokenizer.no_truncation()
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [
            text[: encoding.offsets[room - 1][1]] if len(encoding) > room else text
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _cut(self, tokenizer: Tokenizer, pairs: bool) -> None:
        room = self.max_length - self._special[pairs]
        if self.overlap and pairs:
            tokenizer.enable_truncation(self.max_length, stride=int(room * self.overlap / 2), strategy="only_second")
        else:
            tokenizer.enable_truncation(self.max_length, stride=int(room * self.overlap))


def _refuse_surrogates(text: str, index: int) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"item {index} has a lone surrogate (U+{ord(text[error.start]):04X}) at character {error.start}, which no "
            'Unicode text has; clean it with text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")'
        ) from error


def _let_exits_pass(error: BaseException) -> None:
    """Raise ``error`` again if it is no failure of the tokenizer.

    A tokenizers call fails with a plain Exception, a TypeError for a lone surrogate, or, where a hostile file makes
    its Rust code panic, with a PanicException that derives from BaseException.
    """
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        raise error
