"""Match where the teacher attends, and how its values relate to each other.

Equation:
    L = 1/(h n) sum_a sum_(real token x) [ KL(A_t[a, x] || A_s[a, x]) + KL(V_t[a, x] || V_s[a, x]) ]
    A[a] = softmax(Q_a K_a^T / sqrt(d)), V[a] = softmax(V_a V_a^T / sqrt(d)), over the real tokens of the text,
    for h heads of d dimensions each; n the real tokens of the batch

Reference: Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained
Transformers", NeurIPS 2020, section 3. They use it on the last block only, and average text by text; here every
token of the batch weighs the same.
"""

from __future__ import annotations

from torch import Tensor

from lilliput.compress.objectives import LayerStates
from lilliput.compress.objectives._attention import check_equal_heads, mean_divergence, scores, split_heads

ON = "layers"


def loss(student: LayerStates, teacher: LayerStates, mask: Tensor, *, relation_heads: int | None = None) -> Tensor:
    """Divergence of the attention distributions plus that of the relations of values.

    Args:
        student: ``query``, ``key`` and ``value`` are ``[B, T, A]``; A may differ from the teacher's.
        teacher: the same, without gradient.
        mask: ``[B, T]``, 0 at padding.
        relation_heads: not used; the heads are those of the attention.

    Returns:
        Scalar tensor, 0 where the student equals the teacher.

    Raises:
        ConfigError: the numbers of heads differ.
    """
    check_equal_heads(student, teacher, "minilm")
    student_attention, student_relation = _attention_and_relation(student, mask)
    teacher_attention, teacher_relation = _attention_and_relation(teacher, mask)
    return mean_divergence(student_attention, teacher_attention, mask) + mean_divergence(
        student_relation, teacher_relation, mask
    )


def _attention_and_relation(states: LayerStates, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of queries with keys, and of values with values, each ``[B, heads, T, T]``."""
    query, key, value = (split_heads(part, states.heads, mask) for part in (states.query, states.key, states.value))
    return scores(query, key), scores(value, value)
