"""A model's outputs on a batch as rows of one form, whatever the task: what losses of predictions read.

kind      outputs     rows
classes   [B, C]      [B, C]
labels    [B, C]      [B C, 2]: each label is a choice between it, z, and its absence, 0
score     [B, 1]      [B, 1], in units of the training scores' deviation
tokens    [B, T, C]   [N, C], N real tokens
span      [B, T, 2]   [2 B, T]: the first and the last token of the answer, each one out of T
vector    [B, H]      [B, H]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lilliput.tasks import IGNORED, Task

Kind = Literal["classes", "labels", "score", "tokens", "span", "vector"]

NEED_SEVERAL = ("soft-targets", "decoupled", "cosine")
"""Objectives that are the same whatever a single number is, as a score."""

IMPOSSIBLE = -1e4
"""Logit of a position that is padding."""


@dataclass(frozen=True)
class Rows:
    """Outputs of student and teacher, float32 ``[N, C]`` each.

    ``labels``, int64 ``[N]``, are -100 where unknown (scores: float, NaN where unknown; None where there is no such
    thing as a label); ``valid``, bool ``[N, C]``, is False at padding, None where there is none.
    """

    student: Tensor
    teacher: Tensor
    labels: Tensor | None = None
    valid: Tensor | None = None


def kind_of(task: Task) -> Kind:
    """The form of the outputs of a task's models."""
    if task.head == "AutoModel":
        return "vector"
    if task.head == "AutoModelForQuestionAnswering":
        return "span"
    if task.per_token:
        return "tokens"
    problems: dict[str | None, Kind] = {"multi_label_classification": "labels", "regression": "score"}
    return problems.get(task.problem, "classes")


def unknown(kind: Kind, labels: int, tokens: int) -> dict[str, Any]:
    """The columns of `Task.training` for a text without a label."""
    if kind == "vector":
        return {}
    if kind == "span":
        return {"start_positions": IGNORED, "end_positions": IGNORED}
    if kind == "score":
        return {"labels": float("nan")}
    return {"labels": {"classes": IGNORED, "labels": [float(IGNORED)] * labels, "tokens": [IGNORED] * tokens}[kind]}


def distance(kind: Kind, one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean squared difference of two models' outputs for an input, in all that decides an answer.

    What a softmax or a cosine does not see is left out: a number that is added to all logits of a choice, and the
    length of a vector.

    Args:
        one, other: a row of a batch of outputs: ``[C]``, ``[1]``, ``[T, C]``, ``[T, 2]`` or ``[H]``.
    """

    def decisive(output: NDArray[np.float32]) -> NDArray[np.float32]:
        if kind == "vector":
            output = output / max(float(np.linalg.norm(output)), float(np.finfo(np.float32).tiny))
        if kind in ("classes", "tokens", "span"):
            output = output - output.mean(axis=0 if kind == "span" else -1, keepdims=True)
        return output

    return float(np.square(decisive(one) - decisive(other)).mean())


def rows(
    kind: Kind, student: Tensor, teacher: Tensor, batch: dict[str, Tensor], *, mean: float = 0.0, deviation: float = 1.0
) -> Rows:
    """Outputs as rows.

    Args:
        student, teacher: outputs of the kind.
        batch: with ``attention_mask`` ``[B, T]`` and, where known, the columns of `Task.training`.
        mean, deviation: of the training scores.
    """
    student, teacher = student.float(), teacher.float()
    labels = batch.get("labels")
    if kind == "labels":
        given = None if labels is None else torch.where(labels < 0, IGNORED, 1 - labels.long()).flatten()
        student, teacher = (torch.stack([z, torch.zeros_like(z)], -1).flatten(0, 1) for z in (student, teacher))
        return Rows(student, teacher, given)
    if kind == "score":
        given = None if labels is None else (labels.float() - mean) / deviation
        return Rows((student - mean) / deviation, (teacher - mean) / deviation, given)
    if kind == "tokens":
        real = batch["attention_mask"].bool()
        return Rows(student[real], teacher[real], None if labels is None else labels[real])
    if kind == "span":
        places = [batch.get("start_positions"), batch.get("end_positions")]
        given = None if places[0] is None else torch.cat([place for place in places if place is not None])
        valid = batch["attention_mask"].bool().repeat(2, 1)  # [2 B, T]
        student, teacher = (torch.cat(z.unbind(-1)).masked_fill(~valid, IMPOSSIBLE) for z in (student, teacher))
        return Rows(student, teacher, given, valid)
    return Rows(student, teacher, labels)


def hard_loss(kind: Kind, found: Rows) -> Tensor | None:
    """The loss with the labels: cross-entropy, of scores the squared error; None where no row has a label."""
    if found.labels is None:
        return None
    if kind == "score":
        known = ~found.labels.isnan()
        return F.mse_loss(found.student.squeeze(-1)[known], found.labels[known]) if known.any() else None
    if bool((found.labels == IGNORED).all()):
        return None
    return F.cross_entropy(found.student, found.labels, ignore_index=IGNORED)
