"""Compute the last block for the first token only: all that the head of a sequence classifier reads.

The classifiers of BERT, RoBERTa, DistilBERT and ELECTRA read position 0 of the last hidden states. Queries, the output
projection and the feed-forward network of the last block are therefore needed for one token; keys and values are
needed for all of them. The logits are the same, up to rounding. Of L blocks of 12 H^2 multiplications a token the last
one keeps 2 H^2 (keys and values): a block less 10 H^2, which is most of a model of one or two blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from transformers.activations import ACT2FN

from lilliput import encoder
from lilliput.encoder import Block

_KNOWN_MASKS = ("sdpa", "eager")
"""Implementations of attention whose mask is ``[B, 1, T or 1, T]``."""


@contextmanager
def first_token_only(model: Any) -> Iterator[None]:
    """Inside, the last hidden states of ``model`` are those of the first token, ``[B, 1, H]``.

    Nothing changes for a model whose head reads other tokens, that has no transformer blocks, or whose attention is
    another implementation than PyTorch's.
    """
    if not encoder.reads_first_token(model) or model.config._attn_implementation not in _KNOWN_MASKS:
        yield
        return
    last = encoder.layers_of(model)[-1]
    last.forward = functools.partial(_forward, last, encoder.blocks_of(model)[-1], encoder.settings_of(model))
    try:
        yield
    finally:
        del last.forward  # the class's own is behind it


def _forward(
    module: Any,
    block: Block,
    settings: encoder.BlockSettings,
    hidden: Tensor,
    mask: Tensor | None = None,
    *_: Any,
    **__: Any,
) -> Tensor:
    """The block's output ``[B, 1, H]`` from ``hidden``, ``[B, T, H]``."""
    training = module.training
    first = hidden[:, :1]
    context = _attend(block, settings, hidden, mask, training) if settings.heads else block.query(first)
    found = F.dropout(block.output(context), settings.output_dropout, training)
    attended = block.attention_norm(found + first)
    inner = ACT2FN[settings.activation](block.ffn_in(attended))
    return block.ffn_norm(F.dropout(block.ffn_out(inner), settings.dropout, training) + attended)


def _attend(
    block: Block, settings: encoder.BlockSettings, hidden: Tensor, mask: Tensor | None, training: bool
) -> Tensor:
    """What the heads find for the first token, ``[B, 1, A]``."""

    def in_heads(values: Tensor) -> Tensor:
        return values.unflatten(-1, (settings.heads, -1)).transpose(1, 2)  # [B, T, A] -> [B, heads, T, A / heads]

    context = F.scaled_dot_product_attention(
        in_heads(block.query(hidden[:, :1])),
        in_heads(block.key(hidden)),
        in_heads(block.value(hidden)),
        attn_mask=None if mask is None else mask[:, :, :1],
        dropout_p=settings.attention_dropout if training else 0.0,
    )  # [B, heads, 1, A / heads]
    return context.transpose(1, 2).flatten(2)
