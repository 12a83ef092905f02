"""Tokenizers that take for ever, fill the memory, or speak of tokens that the model has no row for."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

from lilliput.benchmarks.hostile.forge import Case, Forge
from lilliput.benchmarks.hostile.paths import PICKLE
from lilliput.benchmarks.hostile.victim import WORDS

TOKENIZER = "tokenizer.json"
_EXPONENTIAL = r"^(\s*\S*\s*)+\x00"
_LONG = "b" * 10_000_000


def _part(forge: Forge, **parts: Any) -> None:
    """Other steps of the tokenizer."""
    forge.edit(TOKENIZER, lambda content: content.update(parts))
    forge.seal()


def _model(forge: Forge, **keys: Any) -> None:
    """Other keys of its model."""
    forge.edit(TOKENIZER, lambda content: content["model"].update(keys))
    forge.seal()


def _word(forge: Forge, word: str, number: Any) -> None:
    """One word has another id."""
    forge.edit(TOKENIZER, lambda content: content["model"]["vocab"].update({word: number}))
    forge.seal()


def _added(forge: Forge, tokens: list[tuple[Any, Any]]) -> None:
    """Further added tokens, as pairs of text and id."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    more = [{"id": number, "content": content, **flags} for content, number in tokens]
    forge.edit(TOKENIZER, lambda content: content["added_tokens"].extend(more))
    forge.seal()


def _bytes(forge: Forge, data: bytes) -> None:
    forge.write(TOKENIZER, data)
    forge.seal()


def _swapped(forge: Forge) -> None:
    """The tokenizer of another model, of as many words."""
    forge.edit(TOKENIZER, lambda content: content["model"].update(vocab=dict(zip(WORDS, _turned(), strict=True))))
    forge.seal()


def _turned() -> list[int]:
    """Ids of the words, in another order; special tokens stay."""
    return [*range(5), *range(len(WORDS) - 1, 4, -1)]


def _doubled(forge: Forge) -> None:
    """One word is listed twice, with two ids."""
    text = (forge.folder / TOKENIZER).read_text(encoding="utf-8")
    compact = json.dumps(json.loads(text))
    _bytes(forge, compact.replace('"joy": ', '"joy": 1, "joy": ', 1).encode())


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _steps(part: dict[str, Any], times: int) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": [part] * times}


def _nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "Lowercase"}
    for _ in range(depth):
        found = {"type": "Sequence", "normalizers": [found]}
    return found


def _charsmap(length: int) -> str:
    """A table without a trie, whose one replacement is long."""
    return base64.b64encode(bytes(4) + b"b" * length + b"\0").decode()


def _template(pieces: int, number: int) -> dict[str, Any]:
    special = {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
    single = [{"Sequence": {"id": "A", "type_id": 0}}, *[special] * pieces]
    tokens = {"[SEP]": {"id": "[SEP]", "ids": [number], "tokens": ["[SEP]"]}}
    return {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": tokens}


CASES = (
    Case("a split at a pattern of exponential time", partial(_part, pre_tokenizer=_split(_EXPONENTIAL))),
    Case(
        "a replacement of a pattern of exponential time",
        lambda f: _part(f, normalizer=_replace({"Regex": _EXPONENTIAL}, "")),
    ),
    Case("a pattern of cubic time", partial(_part, pre_tokenizer=_split(r"[^\x00]*[^\x00]*[^\x00]*\x00"))),
    Case("a pattern that is huge once compiled", partial(_part, pre_tokenizer=_split("((a{1,999}){1,999}){1,999}"))),
    Case("a pattern that calls itself", partial(_part, pre_tokenizer=_split(r"(?<a>\(\g<a>*\))"))),
    Case("a pattern that is malformed", partial(_part, pre_tokenizer=_split("[a"))),
    Case(
        "a text grows eightfold, sixteen times",
        partial(_part, normalizer=_steps(_replace({"String": "a"}, "a" * 8), 16)),
    ),
    Case("ten megabytes go before every text", partial(_part, normalizer={"type": "Prepend", "prepend": _LONG})),
    Case("ten megabytes for a letter", partial(_part, normalizer=_replace({"String": "a"}, _LONG))),
    Case(
        "a table of replacements of megabytes",
        partial(_part, normalizer={"type": "Precompiled", "precompiled_charsmap": _charsmap(1 << 22)}),
    ),
    Case(
        "a table of replacements that lies",
        partial(_part, normalizer={"type": "Precompiled", "precompiled_charsmap": "////"}),
    ),
    Case("ten thousand steps", partial(_part, normalizer=_steps({"type": "NFKD"}, 10_000))),
    Case("steps a hundred levels deep", partial(_part, normalizer=_nested(100))),
    Case("a step that is not known", partial(_part, pre_tokenizer={"type": "Shell", "command": "id"})),
    Case("a step that never gets on", partial(_part, pre_tokenizer={"type": "FixedLength", "length": 0})),
    Case("a hundred thousand tokens around a text", partial(_part, post_processor=_template(100_000, 3))),
    Case("an unknown token around a text", partial(_part, post_processor=_template(1, 10**9))),
    Case("a key that is not known", partial(_part, hook="import os")),
    Case("a word beyond the table", partial(_word, word="joy", number=len(WORDS))),
    Case("a word of id 2^31", partial(_word, word="joy", number=1 << 31)),
    Case("a word of a negative id", partial(_word, word="joy", number=-1)),
    Case("a word of an id with a fraction", partial(_word, word="joy", number=1.5)),
    Case("two words of one id", partial(_word, word="joy", number=1)),
    Case("a word twice", _doubled),
    Case("a word of a megabyte", partial(_word, word="b" * 1_000_000, number=1 << 20)),
    Case("a larger vocabulary than the model's", lambda f: _model(f, vocab={str(n): n for n in range(50_000)})),
    Case("no vocabulary", partial(_model, vocab={})),
    Case("words of a billion characters", partial(_model, max_input_chars_per_word=10**9)),
    Case("a model that is not known", partial(_model, type="Shell")),
    Case("other tokens each time", partial(_model, type="BPE", dropout=0.5, merges=[])),
    Case("a hundred thousand added tokens", lambda f: _added(f, [(f"[{n}]", 5) for n in range(100_000)])),
    Case("an added token beyond the table", partial(_added, tokens=[("[NEW]", 10**6)])),
    Case("an added token of a megabyte", partial(_added, tokens=[("[" + "N" * 1_000_000 + "]", 5)])),
    Case("an added token of no characters", partial(_added, tokens=[("", 5)])),
    Case("a tokenizer a million levels deep", partial(_bytes, data=b'{"a":' * 10**6 + b"1" + b"}" * 10**6)),
    Case("a tokenizer of millions of objects", partial(_bytes, data=b'{"model":[' + b"{}," * 9_000_000 + b"{}]}")),
    Case("a tokenizer of 40 MB", partial(_bytes, data=b'{"model":"' + b"b" * (40 << 20) + b'"}')),
    Case("a tokenizer that is a pickle", partial(_bytes, data=PICKLE)),
    Case("a tokenizer that is a list", partial(_bytes, data=b"[]")),
    Case("a tokenizer that is not UTF-8", partial(_bytes, data=b"\xff\xfe{}")),
    Case("the tokenizer of another model", _swapped, opened=False),
)
