"""Match how the teacher's queries relate to each other, its keys, and its values; any numbers of heads and any widths.

Equation:
    L = sum_(M in Q, K, V) 1/(r n) sum_a sum_(real token x) KL(R(M_t)[a, x] || R(M_s)[a, x])
    R(M)[a] = softmax(M_a M_a^T / sqrt(d)), over the real tokens of the text; M's A dimensions, all heads side by
    side, are cut anew into r relation heads of d = A / r dimensions; n the real tokens of the batch

Reference: Wang et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing Pretrained
Transformers", Findings of ACL 2021, section 3. They use it on one block, average text by text, and found more relation
heads than the teacher has heads to be better; here every token of the batch weighs the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lilliput.compress.objectives import LayerStates
from lilliput.compress.objectives._attention import mean_divergence, scores, split_heads
from lilliput.errors import ConfigError

ON = "layers"


def loss(student: LayerStates, teacher: LayerStates, mask: Tensor, *, relation_heads: int | None = None) -> Tensor:
    """Sum of the divergences of the three relations.

    Args:
        student: ``query``, ``key`` and ``value`` are ``[B, T, A]``; A may differ from the teacher's.
        teacher: the same, without gradient.
        mask: ``[B, T]``, 0 at padding.
        relation_heads: r, which divides both widths A. By default the largest such number up to the teacher's heads.

    Returns:
        Scalar tensor, 0 where the student equals the teacher.

    Raises:
        ConfigError: ``relation_heads`` does not divide both widths.
    """
    heads = _relation_heads(student, teacher, relation_heads)
    pairs = ((student.query, teacher.query), (student.key, teacher.key), (student.value, teacher.value))
    parts = [mean_divergence(_relation(s, heads, mask), _relation(t, heads, mask), mask) for s, t in pairs]
    return torch.stack(parts).sum()


def _relation(projected: Tensor | None, heads: int, mask: Tensor) -> Tensor:
    """Scores of a text's vectors with each other: ``[B, T, A]`` to ``[B, heads, T, T]``."""
    vectors = split_heads(projected, heads, mask)
    return scores(vectors, vectors)


def _relation_heads(student: LayerStates, teacher: LayerStates, wanted: int | None) -> int:
    widths = [0 if states.query is None else states.query.shape[-1] for states in (student, teacher)]
    common = math.gcd(*widths)
    fitting = [heads for heads in range(1, common + 1) if common % heads == 0]
    if wanted is None:
        return max((heads for heads in fitting if heads <= teacher.heads), default=1)
    if wanted not in fitting:
        raise ConfigError(
            f"--relation-heads {wanted}: must divide the widths of the student's and the teacher's attention, "
            f"{widths[0]} and {widths[1]}; fitting are {', '.join(map(str, fitting))}"
        )
    return wanted
