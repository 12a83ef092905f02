"""Match the output of the teacher's embeddings.

Equation:
    L = 1/(n H) sum_(real token x) sum_i (e_s[x, i] - e_t[x, i])^2, n the real tokens of the batch

Reference: Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", Findings of EMNLP 2020, equation
9. Its projection W_e of a narrower student is the caller's: give the projected states.
"""

from __future__ import annotations

from torch import Tensor

from lilliput.compress.objectives import LayerStates, hidden_states

ON = "embeddings"


def loss(student: LayerStates, teacher: LayerStates, mask: Tensor, *, relation_heads: int | None = None) -> Tensor:
    """Mean squared difference of the embeddings of real tokens.

    Args:
        student: ``hidden`` is ``[B, T, H]``, what the first block reads.
        teacher: ``hidden`` is ``[B, T, H]``, without gradient.
        mask: ``[B, T]``, 0 at padding.
        relation_heads: not used.

    Returns:
        Scalar tensor, 0 where the student equals the teacher.

    Raises:
        ConfigError: the widths differ.
    """
    return hidden_states.loss(student, teacher, mask)
