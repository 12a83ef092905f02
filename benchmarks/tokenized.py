"""Hosts a text classifier of another engine: the fast tokenizers library, arrays of tokens, and softmax.

Peers are hosted as quickly as a careful user would host them: transformers' wrapper around the tokenizer costs more
than a small model does, and would make them look slower than they need be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

BATCH = 32

Run = Callable[[dict[str, NDArray[np.int64]]], NDArray[np.float32]]
"""Logits [n, labels] of arrays of tokens [n, tokens], by the names of the inputs."""


class TokenizedPeer:
    """A graph and a tokenizer, as a peer of `lilliput.benchmarks.peers`.

    Args:
        run: the graph.
        inputs: names of its inputs, of ``input_ids``, ``attention_mask`` and ``token_type_ids``.
        tokenizer: cuts and pads already.
        facts: ``labels`` and ``parameters``.
        size: bytes of the files that were opened.
    """

    def __init__(
        self, run: Run, inputs: Sequence[str], tokenizer: Tokenizer, facts: Mapping[str, Any], size: int | None
    ) -> None:
        self._run, self._inputs, self._tokenizer = run, list(inputs), tokenizer
        self.labels = list(facts["labels"])
        self.parameters: int | None = facts["parameters"]
        self.bytes = size

    def one(self, text: str) -> NDArray[np.float32]:
        """Probabilities [labels] of one text."""
        return self.batch([text])[0]

    def batch(self, texts: list[str]) -> NDArray[np.float32]:
        """Probabilities [n, labels], 32 texts at a time in the order given, padded to the longest of them."""
        return np.concatenate([self._answer(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)])

    def _answer(self, texts: list[str]) -> NDArray[np.float32]:
        encodings = self._tokenizer.encode_batch(texts) if len(texts) > 1 else [self._tokenizer.encode(texts[0])]
        columns = {
            "input_ids": [encoding.ids for encoding in encodings],
            "attention_mask": [encoding.attention_mask for encoding in encodings],
            "token_type_ids": [encoding.type_ids for encoding in encodings],
        }
        logits = self._run({name: np.array(columns[name], dtype=np.int64) for name in self._inputs})  # [n, labels]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def see_lengths(run: Run, inputs: Sequence[str], facts: Mapping[str, Any]) -> None:
    """Run the graph once on every length up to ``max_length``: engines that compile for each shape that they meet would
    otherwise be timed while they compile, and an app that has run for a while has met them all.
    """
    for length in range(1, facts["max_length"] + 1):
        run({name: np.full((1, length), name != "token_type_ids", dtype=np.int64) for name in inputs})


def tokenizer_of(path: Path, facts: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a file, which cuts to ``max_length`` tokens and pads with ``pad_token``, ``pad_id``."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(facts["max_length"])
    tokenizer.enable_padding(pad_id=facts["pad_id"], pad_token=facts["pad_token"])
    return tokenizer
