"""Match the teacher's attention scores, before the softmax.

Equation:
    L = 1/(h P) sum_a sum_(pairs x, y of real tokens of a text) (A_s[a, x, y] - A_t[a, x, y])^2
    A[a] = Q_a K_a^T / sqrt(d), for h heads of d dimensions each; P the pairs of the batch

Reference: Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", Findings of EMNLP 2020, equation
7, with section 3.1: scores that are not normalised taught better than probabilities.
"""

from __future__ import annotations

from torch import Tensor

from lilliput.compress.objectives import LayerStates
from lilliput.compress.objectives._attention import check_equal_heads, scores, split_heads

ON = "layers"


def loss(student: LayerStates, teacher: LayerStates, mask: Tensor, *, relation_heads: int | None = None) -> Tensor:
    """Mean squared difference of the attention scores of real tokens to real tokens.

    Args:
        student: ``query`` and ``key`` are ``[B, T, A]``; A may differ from the teacher's.
        teacher: the same, without gradient.
        mask: ``[B, T]``, 0 at padding.
        relation_heads: not used.

    Returns:
        Scalar tensor, 0 where the student equals the teacher.

    Raises:
        ConfigError: the numbers of heads differ.
    """
    check_equal_heads(student, teacher, "attention-maps")
    # Padding has queries and keys of 0, so its scores are 0 in both and add nothing.
    difference = _scores(student, mask) - _scores(teacher, mask)  # [B, heads, T, T]
    pairs = mask.bool().sum(dim=-1).square().sum()
    return difference.square().sum() / (pairs * student.heads).clamp(min=1)


def _scores(states: LayerStates, mask: Tensor) -> Tensor:
    query, key = (split_heads(projected, states.heads, mask) for projected in (states.query, states.key))
    return scores(query, key)
