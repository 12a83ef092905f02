"""What a ``tokenizer.json`` may ask for: https://huggingface.co/docs/tokenizers.

The library compiles the regular expressions of the file, and runs each step as often as the file says. Here only steps
are let through that take time in proportion to a text, and that make no text much longer than it was; and only token
ids that the model has a row for.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lilliput.errors import IntegrityError
from lilliput.guards import strict_json

TOKENIZER = "tokenizer.json"
TOKENS = 1 << 20
"""Tokens at most."""
STEPS = 64
"""Steps that a text goes through at most."""
GROWTH = 32
"""How many times as long all steps together may make a text."""
_WORD, _PIECE, _CHARACTERS = 256, 64, 1000

_MODELS = ("WordPiece", "BPE", "Unigram", "WordLevel")
_NORMALIZERS = ("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Prepend", "Replace")
_PRE_TOKENIZERS = ("BertPreTokenizer", "CharDelimiterSplit", "Digits", "Metaspace", "Punctuation", "Split")
_POST_PROCESSORS = ("BertProcessing", "RobertaProcessing", "TemplateProcessing")
_DECODERS = ("BPEDecoder", "ByteFallback", "CTC", "Fuse", "Metaspace", "Replace", "Strip", "WordPiece")
_STEPS = {
    "normalizer": (*_NORMALIZERS, "Strip", "StripAccents", "ByteLevel", "Sequence"),
    "pre_tokenizer": (*_PRE_TOKENIZERS, "UnicodeScripts", "Whitespace", "WhitespaceSplit", "ByteLevel", "Sequence"),
    "post_processor": (*_POST_PROCESSORS, "ByteLevel", "Sequence"),
    "decoder": (*_DECODERS, "ByteLevel", "Sequence"),
}
_PARTS = ("normalizers", "pretokenizers", "processors", "decoders")
_KEYS = {"version", "truncation", "padding", "added_tokens", "model", *_STEPS}

_ESCAPE = r"\\[pP]\{\^?\w+\}|\\[sSdDwWrntfv]|\\[^\w\s]"
_ATOM = rf"(?:{_ESCAPE}|\[(?:{_ESCAPE}|[^\[\]\\])+\]|[^\\\[\]{{}}()*+?|^$])"
_FEW, _MANY = r"(?:\?|\{\d(?:,\d)?\})", r"(?:[*+]|\{\d,\})"
_LINEAR = re.compile(rf"(?:{_ATOM}{{0,32}}{_ATOM}{_FEW}){{0,2}}{_ATOM}{{0,32}}(?:{_ATOM}{_MANY})?|\\s\+\(\?!\\S\)")
"""An alternative: single characters, at most two of them optional; and a last one that may repeat without end, after
which nothing can fail and make the library try shorter ones."""


class Fault(ValueError):
    """What is wrong with a tokenizer."""


def check(serialized: bytes, path: Path, rows: int | None) -> None:
    """Refuse a tokenizer that could take long, use much memory, or give ids that its model has no row for.

    Args:
        serialized: the bytes of the file.
        path: where they are from, for error messages.
        rows: token ids that the model has a row for; None where that is not known.

    Raises:
        IntegrityError: the first fault that is found.
    """
    try:
        content = _parse(serialized)
        if unknown := sorted(content.keys() - _KEYS):
            raise Fault(f"key {unknown[0]!r:.80} is unknown")
        known = 2**31 if rows is None else rows
        _check_model(content.get("model"), known)
        _check_added(content.get("added_tokens"), known)
        _check_steps(content, known)
    except (Fault, TypeError, AttributeError) as error:
        fault = error if isinstance(error, Fault) else "a value of a type that none of its kind has"
        raise IntegrityError(f"{path}: {fault}; Lilliput does not load such a tokenizer") from error


def _parse(serialized: bytes) -> dict[str, Any]:
    try:
        content = strict_json.parse(serialized)
    except ValueError as error:
        raise Fault(f"not the JSON of a tokenizer: {error!s:.200}") from error
    if not isinstance(content, dict):
        raise Fault("not the JSON of a tokenizer: no object")
    return content


def _check_model(model: Any, rows: int) -> None:
    if not isinstance(model, dict) or model.get("type") not in _MODELS:
        raise Fault(f"model: none of {', '.join(_MODELS)}")
    words, ids = _vocabulary(model)
    if not 0 < len(words) <= TOKENS:
        raise Fault(f"model: {len(words):,} tokens; from 1 to {TOKENS:,} are allowed")
    if max(map(len, words)) > _WORD:
        raise Fault(f"model: a token of {max(map(len, words)):,} characters; {_WORD} are allowed")
    if len(set(ids)) != len(ids):
        raise Fault("model: vocab gives two tokens one id")
    _check_ids(ids, rows)
    if model.get("dropout") not in (None, 0, 0.0):
        raise Fault("model: dropout, with which a text has other tokens each time")
    limit = model.get("max_input_chars_per_word", 100)
    if type(limit) is not int or not 0 <= limit <= _CHARACTERS:
        raise Fault(f"model: max_input_chars_per_word is {limit!r:.80}; at most {_CHARACTERS} are allowed")
    for key, value in model.items():
        if isinstance(value, str) and len(value) > _WORD:
            raise Fault(f"model: {key!r:.80} has {len(value):,} characters; {_WORD} are allowed")
    if len(model.get("merges") or ()) > TOKENS:
        raise Fault(f"model: more than {TOKENS:,} merges")


def _vocabulary(model: dict[str, Any]) -> tuple[list[str], Sequence[int]]:
    """Tokens and their ids."""
    listed = model.get("vocab")
    if model["type"] == "Unigram":
        if not isinstance(listed, list) or not all(isinstance(one, list) and len(one) == 2 for one in listed):
            raise Fault("model: vocab is no list of tokens and scores")
        words = [one[0] for one in listed]
        if not all(isinstance(word, str) for word in words):
            raise Fault("model: vocab has a token that is no string")
        return words, range(len(words))
    if not isinstance(listed, dict):
        raise Fault("model: vocab is no object")
    ids = list(listed.values())
    if ids and set(map(type, ids)) != {int}:
        raise Fault("model: vocab has a token id that is no whole number")
    return list(listed), ids


def _check_ids(ids: Any, rows: int) -> None:
    for number in (min(ids), max(ids)):
        if not 0 <= number < rows:
            raise Fault(f"token id {number:,}, but the model has {rows:,} rows")


def _check_added(tokens: Any, rows: int) -> None:
    if tokens is None:
        return
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        raise Fault("added_tokens is no list of objects")
    if len(tokens) > TOKENS >> 4:
        raise Fault(f"{len(tokens):,} added tokens; {TOKENS >> 4:,} are allowed")
    for token in tokens:
        content = token.get("content")
        if not isinstance(content, str) or not 0 < len(content) <= _WORD:
            raise Fault(f"an added token that is no string of 1 to {_WORD} characters")
        if type(token.get("id")) is not int:
            raise Fault(f"added token {content!r:.80} has an id that is no whole number")
        _check_ids([token["id"]], rows)


# --- steps -----------------------------------------------------------------------------------------------------------


def _check_steps(content: dict[str, Any], rows: int) -> None:
    growth = 1.0
    for kind, allowed in _STEPS.items():
        for number, step in enumerate(_flat(content.get(kind), kind)):
            if number >= STEPS:
                raise Fault(f"{kind}: more than {STEPS} steps")
            if step["type"] not in allowed:
                raise Fault(f"{kind}: {step['type']!r:.80} is none of {', '.join(allowed)}")
            growth *= _growth(step, kind)
            if growth > GROWTH:
                raise Fault(f"{kind}: makes a text more than {GROWTH} times as long")
            if kind == "post_processor":
                _check_template(step, rows)


def _flat(step: Any, kind: str) -> Iterator[dict[str, Any]]:
    """The steps of a kind one after the other, however they are nested."""
    pending = [step] if step is not None else []
    while pending:
        one = pending.pop()
        if not isinstance(one, dict) or not isinstance(one.get("type"), str):
            raise Fault(f"{kind}: a step without a type")
        yield one
        for key in _PARTS:
            pending += one.get(key) or ()


def _growth(step: dict[str, Any], kind: str) -> float:
    """How many times as long a step can make a text; refuses patterns that could take long."""
    for key, value in step.items():
        if isinstance(value, str) and key != "precompiled_charsmap" and len(value) > _PIECE:
            raise Fault(f"{kind}: {key!r:.80} has {len(value):,} characters; {_PIECE} are allowed")
    pattern = step.get("pattern")
    shortest = 1
    if pattern is not None:
        if not isinstance(pattern, dict) or len(pattern) != 1 or not all(isinstance(v, str) for v in pattern.values()):
            raise Fault(f"{kind}: a pattern that is neither a string nor a regular expression")
        ((form, text),) = pattern.items()
        if not text or len(text) > _WORD or (form != "String" and not is_linear(text)):
            raise Fault(f"{kind}: the pattern {text!r:.80}, which could take long on some texts")
        shortest = len(text) if form == "String" else 1
    if step["type"] == "Precompiled":
        return _longest_replacement(step.get("precompiled_charsmap")) / 4
    added = len(step.get("content") or step.get("prepend") or "")
    return (
        added + 1.0
        if step["type"] in ("Replace", "Prepend") and shortest == 1 and added > 1
        else max(1.0, added / shortest)
    )


def _longest_replacement(charsmap: Any) -> float:
    """Bytes of the longest replacement in a table of sentencepiece: length of a trie, trie, texts that end in NUL."""
    try:
        table = base64.b64decode(charsmap or "", validate=True)
    except (TypeError, ValueError) as error:
        raise Fault("normalizer: precompiled_charsmap is not base64") from error
    size = int.from_bytes(table[:4], "little")
    if len(table) < 4 + size or size % 4:
        raise Fault("normalizer: precompiled_charsmap is cut off")
    texts = table[4 + size :]
    return max((len(text) for text in texts.split(b"\0")), default=0)


def _check_template(step: dict[str, Any], rows: int) -> None:
    """What is put around a text must be short, and known to the model."""
    pieces = [*(step.get("single") or ()), *(step.get("pair") or ())]
    special = step.get("special_tokens") or {}
    if not isinstance(special, dict) or len(pieces) > STEPS:
        raise Fault(f"post_processor: more than {STEPS} pieces")
    each = [token.get("ids") if isinstance(token, dict) else None for token in special.values()]
    ids: list[Any] = [number for some in each for number in (some if isinstance(some, list) else [None])]
    ids += [step[key][1] for key in ("sep", "cls") if isinstance(step.get(key), list) and len(step[key]) == 2]
    if len(ids) > STEPS or not all(type(number) is int for number in ids):
        raise Fault(f"post_processor: more than {STEPS} special tokens, or ids that are no whole numbers")
    if ids:
        _check_ids(ids, rows)


def is_linear(pattern: str) -> bool:
    """Whether a regular expression is of a form that takes time in proportion to a text.

    Its alternatives, none of them in a group, each have at most one part that repeats without end, and that is the
    last one. ``\\s+(?!\\S)``, which GPT-2's has, gives back one character at most.
    """
    return all(_LINEAR.fullmatch(branch) for branch in _branches(pattern))


def _branches(pattern: str) -> list[str]:
    """The alternatives of a pattern: split at each bar that is neither escaped nor in a class."""
    found, start, place, inside = [], 0, 0, False
    while place < len(pattern):
        character = pattern[place]
        if character == "\\":
            place += 1
        elif character == "[":
            inside = True
        elif character == "]":
            inside = False
        elif character == "|" and not inside:
            found.append(pattern[start:place])
            start = place + 1
        place += 1
    return [*found, pattern[start:]]
