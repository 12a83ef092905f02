"""Distributions over the last dimension, some of whose entries may not count."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def widen(tensor: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def log_softmax(scores: Tensor, valid: Tensor | None = None) -> Tensor:
    """Log-probabilities over the entries that are ``valid``.

    Args:
        scores: ``[..., C]``; may hold anything where ``valid`` is False, even NaN.
        valid: bool, broadcast to the scores' shape; None for all.

    Returns:
        ``[..., C]``, finite. Entries that are not valid have probability 0, a row without any valid one is uniform, and
        neither has a gradient.
    """
    scores = widen(scores)
    if valid is not None:
        # Not -inf: a row of nothing else would be NaN, and 0 times the difference of two of them too.
        scores = scores.masked_fill(~valid, torch.finfo(scores.dtype).min)
    return F.log_softmax(scores, dim=-1)


def divergence(log_student: Tensor, log_teacher: Tensor) -> Tensor:
    """KL(teacher || student) over the last dimension, ``[..., C]`` to ``[...]``."""
    return F.kl_div(log_student, log_teacher, log_target=True, reduction="none").sum(dim=-1)


def mean_of_rows(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean of ``values`` ``[N]`` over the rows with any entry in ``valid`` ``[N, C]``; 0 if there is none."""
    if valid is None:
        return values.sum() / max(len(values), 1)
    counted = valid.any(dim=-1)  # [N]
    return values.masked_fill(~counted, 0).sum() / counted.sum().clamp(min=1)
