"""Scaled dot products of the tokens of a text with each other, and how far two models' are apart."""

from __future__ import annotations

import torch
from torch import Tensor

from lilliput.compress.objectives import LayerStates
from lilliput.compress.objectives._distributions import divergence, log_softmax, widen
from lilliput.errors import ConfigError


def check_equal_heads(student: LayerStates, teacher: LayerStates, objective: str) -> None:
    """Raise :class:`ConfigError` unless both have as many heads."""
    if student.heads != teacher.heads:
        raise ConfigError(
            f"--objective {objective}: compares head by head, but the student has {student.heads} heads and the "
            f"teacher {teacher.heads}; use relations, which takes any numbers of heads"
        )


def split_heads(projected: Tensor | None, heads: int, mask: Tensor) -> Tensor:
    """A projection by heads, zero at padding.

    Args:
        projected: ``[B, T, A]``; may hold anything at padding.
        heads: divides A.
        mask: ``[B, T]``, 0 at padding.

    Returns:
        ``[B, heads, T, A / heads]``.
    """
    if projected is None:
        raise ConfigError("--objective: this loss needs a block's query, key and value; the embeddings have none")
    if not projected.shape[-1]:
        raise ConfigError("--objective: this loss compares attention, and a block has no heads; use hidden-states")
    batch, tokens, _ = projected.shape
    projected = widen(projected).masked_fill(~mask.bool()[:, :, None], 0)
    return projected.view(batch, tokens, heads, -1).transpose(1, 2)  # [B, T, A] -> [B, T, h, d] -> [B, h, T, d]


def scores(left: Tensor, right: Tensor) -> Tensor:
    """left right^T / sqrt(d) for ``[B, heads, T, d]``: ``[B, heads, T, T]``, in full precision even under autocast."""
    with torch.autocast(left.device.type, enabled=False):
        return left @ right.transpose(-1, -2) / left.shape[-1] ** 0.5


def mean_divergence(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL(softmax(teacher) || softmax(student)) over real keys; the mean over heads and real queries.

    Args:
        student: scores ``[B, heads, T, T]``, queries before keys; of vectors that are 0 at padding, so that the
            queries of padding are equally far from all keys in both models, and their divergence is 0.
        teacher: scores of the same shape.
        mask: ``[B, T]``, 0 at padding.
    """
    keys = mask.bool()[:, None, None, :]
    each = divergence(log_softmax(student, keys), log_softmax(teacher, keys))  # [B, heads, T]
    return each.sum() / (keys.sum() * each.shape[1]).clamp(min=1)
