"""Match how sure the teacher is of the target, and, weighted apart, what it thinks of the other classes.

Equation:
    L = T^2 / N sum_n (alpha TCKD_n + beta NCKD_n)
    TCKD = KL((p_t, 1 - p_t) || (p_s, 1 - p_s)), p the target's probability
    NCKD = KL(q_t || q_s), q the probabilities of the other classes, divided by their sum

The soft-target loss is TCKD + (1 - p_t) NCKD: where the teacher is sure, it hardly teaches what the other classes are
like. With two classes there is one other class, so NCKD is 0 and the loss is alpha times the soft-target loss.

Reference: Zhao, Cui, Song, Qiu & Liang, "Decoupled Knowledge Distillation", CVPR 2022, section 3, equation 7. Texts
without a label are not in the paper: their target is the teacher's most probable class.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lilliput.compress.objectives._distributions import divergence, log_softmax, mean_of_rows

ON = "predictions"


def loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    labels: Tensor | None = None,
    valid: Tensor | None = None,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """Divergence of target against the rest, plus divergence among the rest.

    Args:
        student: logits ``[N, C]``.
        teacher: logits ``[N, C]``, without gradient.
        temperature: T > 0.
        labels: int64 ``[N]``, the targets; -100 where unknown.
        valid: bool ``[N, C]``; an entry where it is False has probability 0 in both, and is no target.
        alpha: weight of the target's part.
        beta: weight of the other classes' part.

    Returns:
        Scalar tensor, 0 where the student equals the teacher.
    """
    log_student = log_softmax(student / temperature, valid)  # [N, C]
    log_teacher = log_softmax(teacher / temperature, valid)  # [N, C]
    target = _targets(log_teacher, labels, valid)
    others = ~F.one_hot(target, student.shape[-1]).bool()  # [N, C]
    target_part = divergence(
        _target_or_other(log_student, target, others), _target_or_other(log_teacher, target, others)
    )
    others_part = divergence(log_softmax(log_student, others), log_softmax(log_teacher, others))
    return temperature**2 * mean_of_rows(alpha * target_part + beta * others_part, valid)


def _targets(log_teacher: Tensor, labels: Tensor | None, valid: Tensor | None) -> Tensor:
    """Each row's label where it is known and valid, else the teacher's most probable class: ``[N]``."""
    likeliest = log_teacher.argmax(dim=-1)
    if labels is None:
        return likeliest
    known = labels >= 0
    if valid is not None:
        known &= valid.gather(-1, labels.clamp(min=0)[:, None])[:, 0]
    return torch.where(known, labels, likeliest)


def _target_or_other(log_probability: Tensor, target: Tensor, others: Tensor) -> Tensor:
    """Log-probabilities of the target and of all other classes together: ``[N, 2]``."""
    rest = log_probability.masked_fill(~others, torch.finfo(log_probability.dtype).min).logsumexp(dim=-1)
    return torch.stack([log_probability.gather(-1, target[:, None])[:, 0], rest], dim=-1)
