"""Match the teacher's logits directly.

Equation:
    L = 1/(B C) sum_b sum_c (z_s[b, c] - z_t[b, c])^2

Reference: Ba & Caruana, "Do Deep Nets Really Need to be Deep?", NeurIPS 2014, section 3.1. They report that logits, not
yet squashed to probabilities, teach more than the probabilities do. It is the limit of the soft-target loss at high
temperature for logits of zero mean (Hinton et al. 2015, section 2.1), up to a constant factor.
"""

from __future__ import annotations

from torch import Tensor


def loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean squared difference of the logits.

    Args:
        student: logits ``[B, C]``.
        teacher: logits ``[B, C]``, without gradient.
        temperature: not used; a scale would only rescale the loss.

    Returns:
        Scalar tensor, 0 where the student equals the teacher.
    """
    return (student - teacher).square().mean()
