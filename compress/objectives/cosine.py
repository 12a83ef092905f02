"""Match the direction of the teacher's vectors, for models whose outputs are embeddings.

Equation:
    L = 1/N sum_n (1 - <s_n, t_n> / (|s_n| |t_n|))

Reference: Sanh, Debut, Chaumond & Wolf, "DistilBERT, a distilled version of BERT", 2019, section 2, who use it on
hidden states.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lilliput.compress.objectives._distributions import mean_of_rows, widen

ON = "predictions"


def loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    labels: Tensor | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """One minus the cosine of the angle between the two models' vectors, the mean over rows.

    Args:
        student: vectors ``[N, C]``.
        teacher: vectors ``[N, C]``, without gradient.
        temperature: not used; a cosine does not see the vectors' lengths.
        labels: not used.
        valid: bool ``[N, C]``; a dimension where it is False counts for nothing.

    Returns:
        Scalar tensor between 0 and 2, 0 where the directions are equal.
    """
    student, teacher = widen(student), widen(teacher)
    if valid is not None:
        student, teacher = student.masked_fill(~valid, 0), teacher.masked_fill(~valid, 0)
    return mean_of_rows(1 - F.cosine_similarity(student, teacher, dim=-1), valid)
