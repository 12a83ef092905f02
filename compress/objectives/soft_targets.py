"""Match the teacher's softened probabilities.

Equation:
    L = T^2 / N sum_n KL(softmax(z_t[n] / T) || softmax(z_s[n] / T))

The factor T^2 keeps the size of the gradient when T changes. Rows without a valid entry are not among the N.

Logits z of independent labels (several may be right) become rows of two classes, (z, 0) each: softmax((z, 0) / T) is
(sigmoid(z / T), 1 - sigmoid(z / T)), so the loss is the divergence of Bernoulli variables, the mean over texts and
labels, and class 0 is "the label holds".

Reference: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2. They write the
cross-entropy, which differs from this divergence by the teacher's entropy, a constant: the gradients are the same, and
this one is 0 where the student equals the teacher.
"""

from __future__ import annotations

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
) -> Tensor:
    """Kullback-Leibler divergence of the student's from the teacher's softened probabilities.

    Args:
        student: logits ``[N, C]``.
        teacher: logits ``[N, C]``, without gradient.
        temperature: T > 0; higher values weigh the unlikely classes more.
        labels: not used.
        valid: bool ``[N, C]``; an entry where it is False has probability 0 in both.

    Returns:
        Scalar tensor, 0 where the student equals the teacher.
    """
    log_student = log_softmax(student / temperature, valid)  # [N, C]
    log_teacher = log_softmax(teacher / temperature, valid)  # [N, C]
    return temperature**2 * mean_of_rows(divergence(log_student, log_teacher), valid)
