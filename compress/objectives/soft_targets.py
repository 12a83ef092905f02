"""Match the teacher's softened probabilities.

Equation:
    L = T^2 / B sum_b KL(softmax(z_t[b] / T) || softmax(z_s[b] / T))

The factor T^2 keeps the size of the gradient when T changes.

Reference: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2. They write the
cross-entropy, which differs from this divergence by the teacher's entropy, a constant: the gradients are the same, and
this one is 0 where the student equals the teacher.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence of the student's from the teacher's softened probabilities.

    Args:
        student: logits ``[B, C]``.
        teacher: logits ``[B, C]``, without gradient.
        temperature: T > 0; higher values weigh the unlikely classes more.

    Returns:
        Scalar tensor, 0 where the student equals the teacher.
    """
    log_student = F.log_softmax(student / temperature, dim=-1)  # [B, C]
    log_teacher = F.log_softmax(teacher / temperature, dim=-1)  # [B, C]
    return temperature**2 * F.kl_div(log_student, log_teacher, log_target=True, reduction="batchmean")
