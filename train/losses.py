"""What fine-tuning minimises: the loss of the task's head, or one of ours where transformers has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lilliput.errors import ConfigError
from lilliput.tasks import IGNORED, Task
from lilliput.train.contrastive import Contrastive, CoSENT
from lilliput.train.data import Split
from lilliput.train.loop import Objective, label_loss


@dataclass(frozen=True)
class WeightedCrossEntropy:
    """Cross-entropy in which each label has a weight.

    Equation:
        L = sum_i w[y_i] CE(z_i, y_i) / sum_i w[y_i] over the labelled items of a batch.
    """

    weights: tuple[float, ...]

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a batch with ``labels``, ``[B]`` or, one a token, ``[B, T]``."""
        labels = batch.pop("labels")
        logits = model(**batch).logits.float()  # [B, C] or [B, T, C]
        weights = torch.tensor(self.weights, device=logits.device)
        return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), weights, ignore_index=IGNORED)


@dataclass(frozen=True)
class RDrop:
    """Cross-entropy of two passes with different dropout, which must also agree with each other.

    Equation:
        L = 1/2 [CE(z1, y) + CE(z2, y)] + a/2 [KL(p1 || p2) + KL(p2 || p1)], p = softmax(z), both means over the
        labelled items; the cross-entropy is weighted as in `WeightedCrossEntropy` where there are weights.

    A step costs two passes. Reference: Liang et al. 2021, R-Drop, equation 4, which sums the cross-entropies, so that
    the divergence weighs half as much there for the same a. The mean is that of the authors' code.
    """

    consistency: float
    weights: tuple[float, ...] | None = None

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a batch with ``labels``, ``[B]`` or, one a token, ``[B, T]``."""
        labels = batch.pop("labels").flatten()
        twice = {name: torch.cat([values, values]) for name, values in batch.items()}  # one pass over [2B, T]
        logits = model(**twice).logits.float().flatten(0, -2)  # [2N, C]
        known = labels != IGNORED
        one, two = (half[known] for half in logits.chunk(2))
        weights = None if self.weights is None else torch.tensor(self.weights, device=logits.device)
        hard = sum(F.cross_entropy(half, labels[known], weights) for half in (one, two)) / 2
        p, q = one.log_softmax(-1), two.log_softmax(-1)
        apart = ((p.exp() - q.exp()) * (p - q)).sum(-1).mean()  # KL(p || q) + KL(q || p)
        return hard + self.consistency / 2 * apart


def balanced(labels: Sequence[int], count: int) -> tuple[float, ...]:
    """Weights in inverse proportion to how often each label occurs: ``n / (count * n_label)``; 1 where it never does.

    Reference: King & Zeng 2001; scikit-learn's ``class_weight="balanced"``.
    """
    found = Counter(label for label in labels if label != IGNORED)
    whole = sum(found.values())
    return tuple(whole / (count * found[label]) if found[label] else 1.0 for label in range(count))


@dataclass(frozen=True)
class Standardised:
    """Squared error in units of the training scores' deviation.

    Equation:
        L = 1/B sum_i (z_i - (y_i - mean) / deviation)^2
    """

    mean: float
    deviation: float

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a batch with ``labels``, ``[B]``."""
        labels = (batch.pop("labels").float() - self.mean) / self.deviation
        return F.mse_loss(model(**batch).logits.float().squeeze(-1), labels)


LOSSES: dict[str, Callable[..., Objective]] = {
    "standardised": Standardised,
    "contrastive": Contrastive,
    "cosent": CoSENT,
}
"""Losses that tasks name; each is made with the task's prior settings."""


def of(task: Task, train: Split, names: Sequence[str], class_weights: str, consistency: float = 0.0) -> Objective:
    """The loss of a task.

    Raises:
        ConfigError: class weights or consistency are asked for where a label is not one out of several.
    """
    kind = task.loss(train.targets)
    if class_weights == "none" and consistency == 0:
        return label_loss if kind == "head" else LOSSES[kind](**task.prior(train.targets))
    labels = [label for target in train.targets for label in (target if task.per_token else [target])]
    if not all(isinstance(label, int) for label in labels):
        flag = f"--consistency {consistency}" if consistency else f"--class-weights {class_weights}"
        raise ConfigError(f"{flag}: works where a label is one out of several, which {task.name} is not")
    weights = balanced(labels, len(names)) if class_weights == "balanced" else None
    if consistency:
        return RDrop(consistency, weights)
    return label_loss if weights is None else WeightedCrossEntropy(weights)
