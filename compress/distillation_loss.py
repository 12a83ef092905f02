"""What a step of distillation minimises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lilliput import encoder
from lilliput.compress import ancestry, predictions, teachers
from lilliput.compress.mapping import layer_mapping
from lilliput.compress.predictions import Kind, Rows
from lilliput.compress.representations import Matching, Watched, check_blocks
from lilliput.compress.stages import Schedule
from lilliput.compress.teachers import Teacher
from lilliput.errors import ConfigError, LilliputError
from lilliput.train.batches import Collate
from lilliput.train.evaluate import array_of
from lilliput.train.loop import BESIDE

LABELS = ("labels", "start_positions", "end_positions")


def check(stage: Schedule, kind: Kind, student: Any, teacher: Any) -> None:
    """Raise :class:`ConfigError` where a stage's losses can't compare this student with this teacher.

    Args:
        teacher: as one of `DistillationLoss`.
    """
    spec = stage.config.student
    check_blocks(student, stage.terms, spec)
    if stage.reads_states:
        count = [len(encoder.layers_of(model)) for model in (student, teacher.model)]
        layer_mapping(stage.config.mapping, *count)
    if kind == "vector" and stage.reads_predictions and encoder.shape_of(student).hidden != teacher.store.width:
        raise ConfigError(
            f"--student {spec}: its vectors would have another width than the teacher's, {teacher.store.width}, and "
            "can't be compared with them; leave out hidden, or give --objective relations alone"
        )
    if stage.reads_states or any(":" in objective.name for _, objective in stage.terms):
        _try(stage, kind, student, teacher)


def _try(stage: Schedule, kind: Kind, student: Any, teacher: Any) -> None:
    """Compute the losses of two tokens, before the teacher has read all texts: heads may not fit each other, and a
    function of the user's own may fail. The student is moved to where the teacher is."""
    student.to(teacher.model.device)
    training = student.training
    loss = DistillationLoss(stage, kind, student.eval(), [teacher], (1.0,))
    tokens = torch.arange(2)[None]  # [1, 2]
    unlabelled = predictions.unknown(kind, student.config.num_labels, 2)
    batch = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    batch |= {name: torch.tensor([value]) for name, value in unlabelled.items()}
    try:
        with torch.no_grad():
            loss(student, {name: tensor.to(teacher.model.device) for name, tensor in batch.items()})
    except LilliputError:
        raise
    except Exception as error:
        named = ", ".join(objective.name for _, objective in stage.terms)
        raise ConfigError(f"--objective {named}: fails on two tokens ({type(error).__name__}: {error})") from error
    finally:
        loss.close()
        if hasattr(student, BESIDE):
            delattr(student, BESIDE)
        student.train(training)


class DistillationLoss:
    """The weighted sum of a stage's objectives, mixed with the loss with the labels.

    Equation:
        L = (1 - w) [sum_o a_o L_o(student, teacher)] + w L_labels, the last term over the labelled texts of the batch;
        without w for a batch that has none.

    What is compared inside is computed by the first teacher in every step; predictions come from the batch, where
    `WithTeacher` put them, or else are computed too.

    Args:
        of: teachers: `Teacher`, or for losses of layers alone anything with a ``model`` and its ``fingerprint``.
        mean, deviation: of the training scores, for regression.

    Reference: Hinton, Vinyals & Dean 2015, section 2.
    """

    def __init__(
        self,
        stage: Schedule,
        kind: Kind,
        student: Any,
        of: Sequence[Any],
        weights: Sequence[float],
        *,
        mean: float = 0.0,
        deviation: float = 1.0,
    ) -> None:
        self.stage = stage
        self.kind: Kind = kind
        self.teachers = of
        self.weights = weights
        self.scale = {"mean": mean, "deviation": deviation}
        self.reads_states = stage.reads_states
        if self.reads_states:
            kept = ancestry.kept_of(student, of[0].fingerprint)
            dimensions = None if kept is None else kept.dimensions
            self.matching = Matching(student, of[0].model, stage.config.mapping, dimensions)
            setattr(student, BESIDE, self.matching)
            self.ours, self.theirs = Watched(student), Watched(of[0].model)

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Scalar loss of a batch: the model's inputs, the columns of `Task.training`, and perhaps ``teacher``."""
        stored = batch.pop("teacher", None)
        labels = {name: batch.pop(name) for name in LABELS if name in batch}
        student = array_of(model(**batch), batch["attention_mask"])
        teacher = self._teacher(stored, batch)
        total = student.new_zeros((), dtype=torch.float32)
        rows = None
        if teacher is not None:
            rows = predictions.rows(self.kind, student, teacher, {**batch, **labels}, **self.scale)
            total = total + self._predictions(rows)
        if self.reads_states:
            matching: Matching = getattr(getattr(model, "module", model), BESIDE)
            inner = [term for term in self.stage.terms if term[1].on != "predictions"]
            mask, heads = batch["attention_mask"], self.stage.config.relation_heads
            total = total + matching(inner, self.ours, self.theirs, mask, heads)
            self.ours.forget()
            self.theirs.forget()
        weight = self.stage.config.hard_label_weight
        hard = predictions.hard_loss(self.kind, rows) if weight and rows is not None else None
        return total if hard is None else (1 - weight) * total + weight * hard

    def go_on(self, beside: Mapping[str, Tensor]) -> None:
        """Begin with the projections of the stage before, of which the student's states have become a part."""
        if self.reads_states:
            self.matching.load_state_dict(
                {n: w for n, w in beside.items() if not n.startswith("learned.")}, strict=False
            )

    def close(self) -> None:
        """Let go of the models; call it when the stage is over."""
        if self.reads_states:
            self.ours.close()
            self.theirs.close()

    def _teacher(self, stored: Tensor | None, batch: dict[str, Tensor]) -> Tensor | None:
        """The teachers' outputs, after a pass of the first one where its states are wanted."""
        needed = self.stage.reads_predictions
        if not self.reads_states and (stored is not None or not needed):
            return stored
        with torch.no_grad():
            if self.reads_states and (stored is not None or not needed or len(self.teachers) > 1):
                self.teachers[0].model(**batch)
            if stored is not None or not needed:
                return stored
            return teachers.answer(self.teachers, self.weights, batch)

    def _predictions(self, rows: Rows) -> Tensor:
        options = {"temperature": self.stage.config.temperature, "valid": rows.valid}
        options["labels"] = None if self.kind in ("score", "vector") else rows.labels
        losses = [
            weight * objective.loss(rows.student, rows.teacher, **options)
            for weight, objective in self.stage.terms
            if objective.on == "predictions"
        ]
        return torch.stack(losses).sum()


class WithTeacher:
    """Collates as ``collate`` does, and adds the teachers' outputs, ``teacher``, padded with 0: ``[B, ...]``."""

    def __init__(self, collate: Collate, of: Sequence[Teacher], weights: Sequence[float]) -> None:
        self.collate = collate
        self.teachers = of
        self.weights = weights

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """A batch."""
        batch = self.collate([{name: value for name, value in row.items() if name != "key"} for row in rows])
        found = [self._outputs(row["key"]) for row in rows]
        if self.teachers[0].store.per_token:
            width = batch["input_ids"].shape[1]
            found = [np.pad(output, ((0, width - len(output)), (0, 0))) for output in found]
        return {**batch, "teacher": torch.from_numpy(np.stack(found))}

    def _outputs(self, key: int) -> NDArray[np.float32]:
        found: Any = sum(w * teacher.store[key] for teacher, w in zip(self.teachers, self.weights, strict=True) if w)
        return np.asarray(found, dtype=np.float32)


def without_key(collate: Collate) -> Collate:
    """Collates rows without their keys, where the teachers' outputs are not wanted."""

    def plain(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        return collate([{name: value for name, value in row.items() if name != "key"} for row in rows])

    return plain
