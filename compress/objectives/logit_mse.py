"""Match the teacher's logits directly.

Equation:
    L = 1/|V| sum_(n, c) in V (z_s[n, c] - z_t[n, c])^2, V the valid entries: all N C of them, or those of ``valid``

Reference: Ba & Caruana, "Do Deep Nets Really Need to be Deep?", NeurIPS 2014, section 3.1. They report that logits, not
yet squashed to probabilities, teach more than the probabilities do. It is the limit of the soft-target loss at high
temperature for logits of zero mean (Hinton et al. 2015, section 2.1), up to a constant factor.
"""

from __future__ import annotations

from torch import Tensor

from lilliput.compress.objectives._distributions import widen

ON = "predictions"


def loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    labels: Tensor | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """Mean squared difference of the logits.

    Args:
        student: logits ``[N, C]``.
        teacher: logits ``[N, C]``, without gradient.
        temperature: not used; a scale would only rescale the loss.
        labels: not used.
        valid: bool ``[N, C]``; an entry where it is False counts for nothing.

    Returns:
        Scalar tensor, 0 where the student equals the teacher.
    """
    difference = widen(student) - widen(teacher)
    if valid is None:
        return difference.square().sum() / max(difference.numel(), 1)
    return difference.masked_fill(~valid, 0).square().sum() / valid.sum().clamp(min=1)
