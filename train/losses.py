"""What fine-tuning minimises: the loss of the task's head, or one of ours where transformers has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lilliput.errors import ConfigError
from lilliput.tasks import IGNORED, Task
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


def balanced(labels: Sequence[int], count: int) -> tuple[float, ...]:
    """Weights in inverse proportion to how often each label occurs: ``n / (count * n_label)``; 1 where it never does.

    Reference: King & Zeng 2001; scikit-learn's ``class_weight="balanced"``.
    """
    found = Counter(label for label in labels if label != IGNORED)
    whole = sum(found.values())
    return tuple(whole / (count * found[label]) if found[label] else 1.0 for label in range(count))


def of(task: Task, train: Split, names: Sequence[str], class_weights: str) -> Objective:
    """The loss of a task.

    Raises:
        ConfigError: class weights are asked for where a label is not one out of several.
    """
    if class_weights == "none":
        return label_loss
    labels = [label for target in train.targets for label in (target if task.per_token else [target])]
    if not all(isinstance(label, int) for label in labels):
        raise ConfigError(f"--class-weights {class_weights}: {task.name} has no single labels to weigh")
    return WeightedCrossEntropy(balanced(labels, len(names)))
