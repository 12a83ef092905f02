"""Texts that are changed anew in every step, on their tokens, for teachers that read along.

What `lilliput.compress.augment` does to words once, this does to the tokens of a batch each time: half of the changed
texts join a span of the text with a span of another one, the others are one span with some tokens masked or left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lilliput.compress.augment import MAX_SPAN, MIN_SPAN, MIX, OMIT
from lilliput.train.batches import Collate


class ChangedTexts:
    """Collates as ``collate`` does, after changing a share of the rows, which lose their labels.

    Draws from torch's generator, whose state the loop sets by seed, epoch and rows.

    Args:
        tokenizer: of the rows.
        share: of the rows that are changed.
        unlabelled: the columns of a row without a label.
        max_length: tokens of a row at most.
    """

    def __init__(
        self, collate: Collate, tokenizer: Any, share: float, unlabelled: Mapping[str, Any], max_length: int
    ) -> None:
        self.collate = collate
        self.share = share
        self.unlabelled = unlabelled
        self.max_length = max_length
        self.special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        self.mask = tokenizer.mask_token_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """A batch."""
        drawn = (torch.rand(len(rows)) < self.share).tolist()
        return self.collate([self._changed(row, rows) if one else row for row, one in zip(rows, drawn, strict=True)])

    def _changed(self, row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
        ids = row["input_ids"]
        words = self._words(row)
        if not words:
            return row
        if float(torch.rand(())) < MIX:
            other = self._words(rows[int(torch.randint(len(rows), ()))]) or words
            middle = _span(words, MAX_SPAN) + _span(other, MAX_SPAN)
        else:
            middle = self._thinned(_span(words, 1.0))
        middle = middle[: self.max_length - 2]
        changed = [ids[0], *middle, ids[-1]]  # [CLS] and [SEP], by whatever names
        fixed = {"attention_mask": [1] * len(changed), "token_type_ids": [0] * len(changed)}
        inputs = {name: values for name, values in fixed.items() if name in row}
        return {**row, **self.unlabelled, **inputs, "input_ids": changed, "length": len(changed)}

    def _words(self, row: dict[str, Any]) -> list[int]:
        return [one for one in row["input_ids"] if one not in self.special]

    def _thinned(self, words: list[int]) -> list[int]:
        """Some tokens left out, and as many masked."""
        draws = torch.rand(len(words)).tolist()
        kept = [
            self.mask if draw < 2 * OMIT and self.mask is not None else one
            for one, draw in zip(words, draws, strict=True)
            if draw >= OMIT
        ]
        return kept or words[:1]


def _span(words: list[int], longest: float) -> list[int]:
    length = max(1, int(len(words) * (MIN_SPAN + (longest - MIN_SPAN) * float(torch.rand(())))))
    start = int(torch.randint(len(words) - length + 1, ()))
    return words[start : start + length]
