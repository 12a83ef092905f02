"""Distil a student from a teacher.

The student reads the labelled training texts, augmented copies of them, and unlabelled transfer texts; for each it
learns the teacher's logits. Labels are used on the training texts only, and only if ``--hard-label-weight`` is
above 0.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from lilliput import encoder, models
from lilliput.compress import objectives, students
from lilliput.compress.augment import augment
from lilliput.compress.teacher_outputs import teacher_logits
from lilliput.config import DistillConfig
from lilliput.errors import ModelError
from lilliput.runs import Run, Stage
from lilliput.train import loop, sources
from lilliput.train.data import Dataset
from lilliput.train.evaluate import Progress, accuracy, logits_of

NO_LABEL = -100
"""Marks texts without a label; the value that torch's cross-entropy ignores."""


@dataclass(frozen=True)
class DistillationLoss:
    """An objective on the student's and teacher's logits, mixed with the cross-entropy with the labels.

    Equation:
        L = (1 - w) L_objective(z_s, z_t) + w CE(z_s, y), the second term over the labelled texts of the batch;
        L = L_objective(z_s, z_t) for a batch without any.

    Reference: Hinton, Vinyals & Dean 2015, section 2.
    """

    objective: objectives.Loss
    temperature: float
    hard_label_weight: float

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a batch that carries ``teacher_logits`` ``[B, C]`` and ``labels`` ``[B]`` beside the model's
        inputs."""
        teacher = batch.pop("teacher_logits").float()
        labels = batch.pop("labels")
        student = model(**batch).logits.float()  # [B, C]
        soft = self.objective(student, teacher, self.temperature)
        if self.hard_label_weight == 0 or bool((labels == NO_LABEL).all()):
            return soft
        hard = F.cross_entropy(student, labels, ignore_index=NO_LABEL)
        return (1 - self.hard_label_weight) * soft + self.hard_label_weight * hard


def distill(config: DistillConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Distil ``config.teacher`` into a student and save it to ``config.out/student``, a Hugging Face folder.

    Interrupted and called again, it goes on from the last checkpoint; called once more, it returns the finished result.

    Raises:
        DataError, ModelError, ConfigError: something given is not usable; see the message.
        TrainingError: the loss became NaN or infinite.
    """
    dataset = sources.load(config, unlabelled=config.unlabelled)
    with Run(config.out, "distill") as run:
        stage = distill_stage(run, "student", config, dataset, progress)
    return {**stage.result, "folder": str(stage.folder), "reused": stage.reused}


def distill_stage(
    run: Run,
    name: str,
    config: DistillConfig,
    dataset: Dataset,
    progress: Progress | None = None,
) -> Stage:
    """The stage that :func:`distill` consists of, for runs with more than one student."""
    students.parse_shape(config.student)
    objectives.get(config.objective)
    teacher_id = models.fingerprint(config.teacher, config.revision)
    identity = {
        # The teacher counts by its weights, not by where it lies.
        **config.model_dump(mode="json", exclude={"out", "teacher", "initial_model", "save_every"}),
        "teacher_fingerprint": teacher_id,
        "initial_fingerprint": models.fingerprint(config.initial_model) if config.initial_model else None,
        "data_fingerprint": dataset.fingerprint,
    }
    cache = run.folder / "teacher-outputs"
    return run.stage(
        name,
        identity,
        lambda folder: _distill(folder, cache, teacher_id, config, dataset, progress, name),
        config=config.model_dump(mode="json"),
    )


def _distill(
    folder: Path,
    cache: Path,
    teacher_id: str,
    config: DistillConfig,
    dataset: Dataset,
    progress: Progress | None,
    name: str,
) -> dict[str, Any]:
    tokenizer = models.load_tokenizer(config.teacher, config.revision)
    teacher = models.load_finetuned_classifier(config.teacher, config.revision).to(loop.pick_device(config.device))
    models.check_length(teacher, config.max_length)
    tokenizer.model_max_length = config.max_length
    order = models.match_labels(teacher, dataset.label_names, config.teacher)
    student, initial_layers = _first_student(teacher, config)
    encoder.word_embeddings_of(student).weight.requires_grad_(config.train_embeddings)

    texts, labels = _training_texts(config, dataset, order)
    targets = teacher_logits(teacher, tokenizer, teacher_id, texts, config.max_length, cache, progress)
    student, best = loop.fit(
        student,
        tokenizer,
        loop.encode(texts, tokenizer, config.max_length, labels=labels, teacher_logits=targets.tolist()),
        config,
        folder,
        _Validation(teacher, tokenizer, config, dataset, order),
        objective=DistillationLoss(objectives.get(config.objective), config.temperature, config.hard_label_weight),
        progress=progress,
        what=name,
    )
    encoder.word_embeddings_of(student).weight.requires_grad_(True)
    models.save(student, tokenizer, folder)
    gold = [order[label] for label in dataset.test.labels]
    test = logits_of(student, tokenizer, dataset.test.texts, config.max_length)
    return {
        "teacher": str(config.teacher),
        "shape": vars(encoder.shape_of(student)),
        "initial_layers": initial_layers,
        "texts": {"labelled": len(dataset.train.texts), "transfer": len(dataset.transfer), "all": len(texts)},
        "validation_accuracy": best["accuracy"],
        "validation_agreement": best["agreement"],
        "best_epoch": best["epoch"],
        "test_accuracy": accuracy(test, gold),
        "n_test": len(gold),
    }


def _first_student(teacher: Any, config: DistillConfig) -> tuple[Any, tuple[int, ...]]:
    """The student before training, and the layers of the teacher, or of the initial model, that it was given."""
    source = teacher
    if config.initial_model:
        source = models.load_finetuned_classifier(config.initial_model)
        if models.labels_of(source) != models.labels_of(teacher):
            raise ModelError(
                f"--initial-model {config.initial_model}: its labels are not the teacher's, in their order"
            )
    layers = config.initial_layers or students.evenly_spaced(
        students.parse_shape(config.student), encoder.shape_of(source).layers
    )
    return students.from_teacher(source, config.student, layers), layers


def _training_texts(config: DistillConfig, dataset: Dataset, order: tuple[int, ...]) -> tuple[list[str], list[int]]:
    """What the student reads, labelled texts first, and the index of each text's logit, or ``NO_LABEL``."""
    labelled = [order[label] for label in dataset.train.labels]
    texts = [*dataset.train.texts, *dataset.transfer, *augment(dataset.train.texts, config.augment, config.seed)]
    return texts, labelled + [NO_LABEL] * (len(texts) - len(labelled))


class _Validation:
    """Scores a student in training by how near its logits are to the teacher's on the validation texts.

    Among epochs of one student this says more than accuracy, which on a thousand texts moves by chance by a point.
    """

    def __init__(
        self, teacher: Any, tokenizer: Any, config: DistillConfig, dataset: Dataset, order: tuple[int, ...]
    ) -> None:
        self.predict = functools.partial(
            logits_of, tokenizer=tokenizer, texts=dataset.validation.texts, max_length=config.max_length
        )
        self.teacher = self.predict(teacher)
        self.gold = [order[label] for label in dataset.validation.labels]

    def __call__(self, model: Any) -> dict[str, float]:
        logits = self.predict(model, bf16=loop.bf16_is_fast(next(model.parameters()).device))
        return {
            "score": -float(np.square(logits - self.teacher).mean()),
            "accuracy": accuracy(logits, self.gold),
            "agreement": accuracy(logits, self.teacher.argmax(axis=1).tolist()),
        }
