"""Match the outputs of the teacher's blocks.

Equation:
    L = 1/(n H) sum_(real token x) sum_i (h_s[x, i] - h_t[x, i])^2, n the real tokens of the batch

Reference: Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", Findings of EMNLP 2020, equation
8. Its projection W_h of a narrower student is the caller's: give the projected states.
"""

from __future__ import annotations

from torch import Tensor

from lilliput.compress.objectives import LayerStates
from lilliput.compress.objectives._distributions import widen
from lilliput.errors import ConfigError

ON = "layers"


def loss(student: LayerStates, teacher: LayerStates, mask: Tensor, *, relation_heads: int | None = None) -> Tensor:
    """Mean squared difference of the hidden states of real tokens.

    Args:
        student: ``hidden`` is ``[B, T, H]``.
        teacher: ``hidden`` is ``[B, T, H]``, without gradient.
        mask: ``[B, T]``, 0 at padding.
        relation_heads: not used.

    Returns:
        Scalar tensor, 0 where the student equals the teacher.

    Raises:
        ConfigError: the widths differ.
    """
    widths = student.hidden.shape[-1], teacher.hidden.shape[-1]
    if widths[0] != widths[1]:
        raise ConfigError(
            f"--objective hidden-states: the student is {widths[0]} wide, the teacher {widths[1]}; project the "
            "student's states, or use relations"
        )
    real = mask.bool()
    difference = (widen(student.hidden) - widen(teacher.hidden)).masked_fill(~real[:, :, None], 0)  # [B, T, H]
    return difference.square().sum() / (real.sum() * widths[0]).clamp(min=1)
