"""The vocabulary of a fast tokenizer: what can be dropped from it, and the tokenizer without that.

WordPiece takes from the left the longest token that fits (Wu et al. 2016; Devlin et al. 2019). Let the tokens
p_1 ... p_n of a word be kept. Where p_i began, every longer token that fitted was missing from the vocabulary, so it
is missing from the part that is kept; p_i is there; so p_i is taken again, and p_{i+1} begins where it did. Dropped
tokens that were longer than p_i did not fit, or they would have been taken.

A word becomes [UNK] when some place of it is begun by no token. If each character of each token is a token of its own
(c, or ##c inside a word), that happens at the first character without one, whatever else is kept: so the same words are
[UNK] as before. Tokens with characters that are not are always kept (trained vocabularies have none); only a word with
such a character can be read otherwise than before.

Byte-pair encoding needs the tokens through which a token is made, and its merges; see `byte_pairs`.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lilliput.compress.byte_pairs import Merges
from lilliput.errors import ConfigError, ModelError


class Vocabulary:
    """What can be dropped from a tokenizer: one that transformers holds as a tokenizer.json.

    Raises:
        ConfigError: a tokenizer that can't be trimmed.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.state = state_of(tokenizer)
        self._number: dict[str, int] = tokenizer.get_vocab()
        self._token = {number: token for token, number in self._number.items()}
        self._pieces: dict[str, int] = self.state["model"]["vocab"]
        self._library = Tokenizer.from_str(json.dumps(self.state))
        self._merges = Merges(tuple(pair) for pair in self.state["model"].get("merges", ()))

    def required(self) -> set[int]:
        """Ids of what must stay: added tokens, the special ones among them, and the single characters."""
        state = self.state
        found = {token["id"] for token in state["added_tokens"]}
        found |= set(self._library.encode("", "").ids)  # what stands around every text
        found |= {self._pieces[token] for token in (state["model"]["unk_token"],) if token in self._pieces}
        found |= {number for token, number in self._pieces.items() if self._is_basic(token)}
        return set().union(*map(self.closure, found))

    def closure(self, number: int) -> set[int]:
        """Ids of a token and of those that it is made through."""
        return {self._number[token] for token in self._merges.closure(self._token[number])}

    def check(self, kept: Sequence[int]) -> None:
        """Raise :class:`ConfigError` unless ``kept`` is as `keep` makes it."""
        unknown = [number for number in kept if number not in self._token]
        if unknown or any(first >= second for first, second in pairwise(kept)):
            fault = f"{unknown[0]} is not the id of a token" if unknown else "they must be rising"
            raise ConfigError(f"the tokens to keep: {fault}; choose them with lilliput.compress.vocabulary.keep")
        missing = set().union(self.required(), *map(self.closure, kept)).difference(kept)
        if missing:
            names = ", ".join(repr(self._token[number]) for number in sorted(missing)[:3])
            names += " ..." * (len(missing) > 3)
            raise ConfigError(
                f"the tokens to keep: {len(missing):,} are missing that must stay ({names}); "
                "choose them with lilliput.compress.vocabulary.keep"
            )

    def trimmed(self, place: dict[int, int]) -> dict[str, Any]:
        """The tokenizer.json with the tokens that are keys of ``place`` only; its values are their new ids."""
        state = copy.deepcopy(self.state)
        model = state["model"]
        model["vocab"] = {token: place[number] for token, number in self._pieces.items() if number in place}
        if "merges" in model:
            model["merges"] = [list(pair) for pair in self._merges.of(model["vocab"])]
        for token in state["added_tokens"]:
            token["id"] = place[token["id"]]
        if state["padding"]:
            state["padding"]["pad_id"] = place[state["padding"]["pad_id"]]
        if state["post_processor"]:
            _renumber(state["post_processor"], place)
        return state

    def _is_basic(self, token: str) -> bool:
        """Whether a token is a single character, or part of a word that has one that is no token.

        Nothing could stand for such a token. What is no part of a word is never read (BERT's ``[unused0]``).
        """
        prefix = self.state["model"]["continuing_subword_prefix"] or ""
        inside = bool(prefix) and token.startswith(prefix) and token != prefix
        characters = token.removeprefix(prefix) if inside else token
        if len(characters) <= 1 or "merges" in self.state["model"]:
            return len(characters) <= 1
        spelled = [prefix + character for character in characters]
        spelled[0] = spelled[0] if inside else characters[0]
        if all(piece in self._pieces for piece in spelled):
            return False
        splitter = self._library.pre_tokenizer
        return splitter is None or len(splitter.pre_tokenize_str(characters)) == 1


def state_of(tokenizer: Any) -> dict[str, Any]:
    """The tokenizer.json of a tokenizer of a kind that can be trimmed."""
    if not tokenizer.is_fast:
        raise ConfigError(
            f"{type(tokenizer).__name__} is a slow tokenizer, whose vocabulary can't be trimmed; "
            "convert it with transformers' fast tokenizers first"
        )
    state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    if model["type"] == "WordPiece":
        return state
    others = [key for key in ("continuing_subword_prefix", "end_of_word_suffix", "ignore_merges") if model.get(key)]
    if model["type"] != "BPE" or others or '"ByteLevel"' not in json.dumps(state["pre_tokenizer"]):
        kind = model["type"] + "".join(f" with {key}" for key in others)
        if model["type"] == "BPE" and not others:
            kind = "BPE without a ByteLevel pre-tokenizer"
        raise ConfigError(
            f"{type(tokenizer).__name__} is a {kind} tokenizer, whose vocabulary can't be trimmed; "
            "supported are WordPiece and byte-level BPE"
        )
    return state


def _renumber(processor: dict[str, Any], place: dict[int, int]) -> None:
    """Change the ids of special tokens in a post-processor of a tokenizer.json."""
    for inner in processor.get("processors", ()):  # Sequence
        _renumber(inner, place)
    for token in processor.get("special_tokens", {}).values():  # TemplateProcessing
        token["ids"] = [place[number] for number in token["ids"]]
    for end in ("cls", "sep"):  # BertProcessing and RobertaProcessing: token and id
        if end in processor:
            processor[end][1] = place[processor[end][1]]


def reread(tokenizer: Any, state: dict[str, Any], place: dict[int, int]) -> Any:
    """A tokenizer like ``tokenizer`` with another tokenizer.json, as transformers reads it from a folder."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        (Path(folder) / "tokenizer.json").write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        trimmed = type(tokenizer).from_pretrained(folder)
    trimmed.name_or_path = tokenizer.name_or_path
    trimmed.model_input_names = list(tokenizer.model_input_names)
    expected = {token: place[number] for token, number in tokenizer.get_vocab().items() if number in place}
    if trimmed.get_vocab() != expected:
        # Tokens beside the vocabulary are numbered after it, whatever number a tokenizer.json gives them.
        raise ModelError(
            f"{type(tokenizer).__name__}: its vocabulary can't be trimmed, because tokens that were added to it have "
            "lower ids than some of its own"
        )
    return trimmed
