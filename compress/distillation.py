"""Distil a student from one or several teachers.

The student reads the labelled training texts, unlabelled texts, and changed copies; for each it learns what the
teachers say, and perhaps what they compute inside. Labels are used on the training texts only, and only if
``--hard-label-weight`` is above 0.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from lilliput import classifier_head, encoder, models, processes, tasks
from lilliput.compress import distillation_loss, objectives, outcome, predictions, students, teachers, transfer
from lilliput.compress.calibration_texts import CalibrationTexts
from lilliput.compress.distillation_check import check
from lilliput.compress.distillation_loss import DistillationLoss, WithTeacher, without_key
from lilliput.compress.general import distill_general
from lilliput.compress.online import ChangedTexts
from lilliput.compress.rounding import rounded, rounding_for
from lilliput.compress.stages import Schedule, stages
from lilliput.compress.teachers import Teacher
from lilliput.compress.transfer import Transfer
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError, ModelError, RunError
from lilliput.runs import Run, Stage
from lilliput.tasks import Task
from lilliput.train import evaluate, features, loop, precision, sources
from lilliput.train.batches import Collate
from lilliput.train.data import Dataset
from lilliput.train.evaluate import Progress
from lilliput.train.watch import Validate

_PLACES = ("out", "teacher", "teacher_outputs", "initial_model", "augment_model", "unlabelled", "save_every")
"""Settings that decide nothing of the outcome, but for what lies there."""

BATCH = 64
"""Validation texts that are read at a time."""

FITTED = 1024
"""Training texts on which a transformer is fitted before it is trained; fewer windows of them where they are long."""
FITTED_BYTES = 1 << 30
"""Of what the fit holds of them in memory."""


def distill(config: DistillConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Distil ``config.teacher`` into a student and save it to ``config.out/student``, a Hugging Face folder.

    With ``config.corpus`` the student is an encoder without a task (see :mod:`lilliput.compress.general`). Interrupted
    and called again, it goes on from the last checkpoint; called once more, it returns the finished result.

    Returns:
        The stage's result: metrics on validation and test, fidelity to the teacher, where the student is.

    Raises:
        DataError, ModelError, ConfigError: something given is not usable; see the message.
        TrainingError: the loss became NaN or infinite.
    """
    if config.corpus:
        return distill_general(config, progress)
    check(config)
    streamed = config.unlabelled is None
    if streamed:  # a folder's own unlabelled file is read as the flag's is: it may be larger than memory
        config = config.model_copy(update={"unlabelled": sources.unlabelled_of(config.data)})
    dataset = sources.load(config, transfer=not streamed)
    with Run(config.out, "distill") as run, _shared(config.teacher_outputs):
        stage = distill_stage(run, "student", config, dataset, progress, cache=config.teacher_outputs)
    return {**stage.result, "folder": str(stage.folder), "reused": stage.reused}


@contextlib.contextmanager
def _shared(outputs: Path | None) -> Iterator[None]:
    """Holds ``--teacher-outputs``, in which one run writes at a time."""
    if outputs is None or not processes.is_main():
        yield
        return
    outputs.mkdir(parents=True, exist_ok=True)
    lock = FileLock(outputs / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"--teacher-outputs {outputs}: another run uses it; wait for it, or give another") from None
    try:
        yield
    finally:
        lock.release()


def distill_stage(
    run: Run,
    name: str,
    config: DistillConfig,
    dataset: Dataset,
    progress: Progress | None = None,
    *,
    cache: Path | None = None,
) -> Stage:
    """The stage that :func:`distill` consists of, for runs with more than one student.

    Args:
        cache: folder of the teachers' outputs; one in the run's by default.
    """
    check(config)
    config = students.with_defaults(config)
    identity = {
        # Models and texts count by what they hold, not by where they lie.
        **config.model_dump(mode="json", exclude=set(_PLACES)),
        "teacher_fingerprints": [models.fingerprint(teacher, config.revision) for teacher in config.teacher],
        "initial_fingerprint": models.fingerprint(config.initial_model) if config.initial_model else None,
        "augment_fingerprint": models.fingerprint(config.augment_model) if config.augment_model else None,
        "data_fingerprint": dataset.fingerprint,
        "unlabelled_fingerprint": _digest(config.unlabelled),
        **objectives.sources(config.objective, config.stage),
    }
    work = Distillation(config, dataset, cache or run.folder / "teacher-outputs", progress, name)
    return run.stage(name, identity, work.run, config=config.model_dump(mode="json"))


@dataclass(frozen=True)
class Distillation:
    """One distillation.

    Args:
        cache: folder of the teachers' outputs, which other students of the run read again.
        what: its name, for progress.
    """

    config: DistillConfig
    dataset: Dataset
    cache: Path
    progress: Progress | None = None
    what: str = "student"

    def run(self, folder: Path) -> dict[str, Any]:
        """Read, match, choose, save; then read the test split, once."""
        config, dataset, task = self.config, self.dataset, tasks.get(self.config.task)
        teaching = teachers.load(config, task, dataset, self.cache)
        weights = teachers.weigh(teaching, dataset)
        tokenizer = self._tokenizer(task, teaching[0])
        student, initial_layers = self._first_student(task, teaching[0])
        texts = Transfer(dataset, task, config, self.progress)
        for schedule in stages(config):
            distillation_loss.check(schedule, predictions.kind_of(task), student, teaching[0])
        rows = self._encode(
            texts, tokenizer, [one for one, w in zip(teaching, weights, strict=True) if w], student, folder
        )
        validate = Validation(task, tokenizer, config.max_length, dataset, teaching, weights)
        for number, schedule in enumerate(stages(config), start=1):
            student, best = self._fit(number, schedule, student, rows, teaching, weights, validate, folder)
        encoder.word_embeddings_of(student).weight.requires_grad_(True)
        return {
            "teachers": dict(zip(config.teacher, weights, strict=True)),
            "student": config.student,
            "shape": vars(encoder.shape_of(student)),
            "parameters": sum(weight.numel() for weight in student.parameters()),
            "initial_layers": initial_layers,
            "texts": {**dict(texts.counts), "all": texts.counts.total()},
            "rejected": texts.rejected,
            "best_epoch": best["epoch"],
            **outcome.save(
                folder,
                task,
                self.dataset,
                student,
                tokenizer,
                config.max_length,
                teaching[weights.index(max(weights))].predict,
                config.slice_column,
            ),
        }

    def _first_student(self, task: Task, teacher: Teacher) -> tuple[Any, tuple[int, ...] | None]:
        """The student before training, and the layers that it was given."""
        config, source = self.config, teacher.model
        torch.manual_seed(config.seed)
        if config.initial_model:
            source = self._initial(task, teacher)
        student, layers = students.build(
            config.student,
            source,
            teacher.tokenizer,
            initial_layers=config.initial_layers,
            seed=config.seed,
            batches=self._fitted_on(task, source, teacher) if config.reconstruct else None,
        )
        student.requires_grad_(True)
        encoder.word_embeddings_of(student).weight.requires_grad_(config.train_embeddings)
        return student, layers

    def _fitted_on(self, task: Task, source: Any, teacher: Teacher) -> CalibrationTexts | None:
        """Training texts on which a transformer is fitted to the one that it is cut from; None for other students."""
        if not encoder.has_blocks(source) or not students.is_transformer(self.config.student):
            return None
        config = self.config
        return CalibrationTexts(
            self.dataset,
            task,
            source,
            self._tokenizer(task, teacher),
            count=FITTED,
            max_length=config.max_length,
            seed=config.seed,
        ).within(FITTED_BYTES)

    def _initial(self, task: Task, teacher: Teacher) -> Any:
        """``--initial-model``, with its labels in the data's order; an encoder without a head gets the teacher's."""
        source = str(self.config.initial_model)
        if models.is_headless(source) and task.head != "AutoModel":
            return classifier_head.with_head_of(teacher.model, models.load_for(task, source, self.dataset.label_names))
        model = models.load_finetuned(task, source)
        if self.dataset.label_names:
            if sorted(models.labels_of(model)) != sorted(models.labels_of(teacher.model)):
                raise ModelError(f"--initial-model {source}: its labels are not the teacher's")
            classifier_head.reorder_labels(model, models.match_labels(model, self.dataset.label_names, source))
        return model

    def _tokenizer(self, task: Task, teacher: Teacher) -> Any:
        """The student's tokenizer: its teacher's, or its own where ``--initial-model`` has a smaller vocabulary.

        Raises:
            ConfigError: answers or states are one a token, and tokens of two vocabularies are not the same.
        """
        if self.config.initial_model is None:
            return teacher.tokenizer
        own = models.load_tokenizer(self.config.initial_model)
        if own.get_vocab() == teacher.tokenizer.get_vocab():
            return teacher.tokenizer
        states = any(stage.reads_states for stage in stages(self.config))
        if states or self.config.augment_online or predictions.kind_of(task) in ("tokens", "span"):
            what = "--objective" if states else "--augment-online" if self.config.augment_online else "--task"
            raise ConfigError(
                f"{what}: compares student and teacher token by token, but {self.config.initial_model} has another "
                "vocabulary than the teacher; leave it out, or prune the vocabulary last"
            )
        own.model_max_length = self.config.max_length
        return own

    def _encode(self, texts: Transfer, tokenizer: Any, teaching: Sequence[Teacher], student: Any, folder: Path) -> Any:
        """The training rows on disk; the teachers have read them where their answers are wanted before training."""
        config = self.config
        online = config.augment_online > 0
        readers = [] if online or not any(stage.reads_predictions for stage in stages(config)) else teaching
        path = folder / "checkpoints" / "texts.arrow"
        labels = student.config.num_labels
        return transfer.write(texts, tokenizer, config.max_length, labels, path, readers, self.progress)

    def _fit(
        self,
        number: int,
        schedule: Schedule,
        student: Any,
        rows: Any,
        teaching: Sequence[Teacher],
        weights: Sequence[float],
        validate: Validation,
        folder: Path,
    ) -> tuple[Any, dict[str, float]]:
        """Train one stage; the last one works in ``folder`` itself."""
        task = validate.task
        prior = task.prior(self.dataset.train.targets)
        encoder.set_dropout(student, self.config.dropout)
        torch.manual_seed(self.config.seed + number)  # what is drawn must not depend on whether a stage was resumed
        objective = DistillationLoss(
            schedule,
            predictions.kind_of(task),
            student,
            teaching,
            weights,
            **{name: prior[name] for name in ("mean", "deviation") if name in prior},
        )
        if number > 1:
            objective.go_on(loop.beside_of(folder / "checkpoints" / f"stage-{number - 1}"))
        last = number == len(stages(self.config))
        place = folder if last else folder / "checkpoints" / f"stage-{number}"
        place.mkdir(parents=True, exist_ok=True)
        with rounded(student, rounding_for(self.config)):
            student, best = loop.fit(
                student,
                validate.tokenizer,
                rows,
                schedule.config,
                place,
                validate.of(schedule, objective),
                objective=objective,
                collate=self._collate(validate, schedule, teaching, weights),
                progress=self.progress,
                what=self.what if last else f"{self.what}, stage {number}",
            )
        objective.close()
        if not last:
            if processes.is_main():
                shutil.copy(place / "log.jsonl", folder / f"log-stage-{number}.jsonl")
            encoder.word_embeddings_of(student).weight.requires_grad_(self.config.train_embeddings)
        return student, best

    def _collate(
        self, validate: Validation, schedule: Schedule, teaching: Sequence[Teacher], weights: Sequence[float]
    ) -> Collate:
        pad = features.Collate(validate.tokenizer, validate.task.per_token)
        config, kind = self.config, validate.kind
        if config.augment_online:
            unlabelled = predictions.unknown(kind, len(self.dataset.label_names), 0)
            changed = ChangedTexts(pad, validate.tokenizer, config.augment_online, unlabelled, config.max_length)
            return without_key(changed)
        return WithTeacher(pad, teaching, weights) if schedule.reads_predictions else without_key(pad)


class Validation:
    """Measures a student in training on the validation split, against labels and against the teachers.

    Among epochs of one student the distance to the teachers says more than the metric, which on a thousand texts moves
    by a point by chance.
    """

    def __init__(
        self,
        task: Task,
        tokenizer: Any,
        max_length: int,
        dataset: Dataset,
        teaching: Sequence[Teacher],
        weights: Sequence[float],
    ) -> None:
        self.task = task
        self.kind = predictions.kind_of(task)
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.split = dataset.validation
        self.names = dataset.label_names
        self.windows = features.windows_of(task, tokenizer, self.split.inputs, max_length)
        said = [teacher.outputs(self.split.inputs) for teacher in teaching]
        self.teacher = [sum(w * one for w, one in zip(weights, some, strict=True)) for some in zip(*said, strict=True)]
        self.teacher_labels = self._labels(self.teacher)

    def of(self, schedule: Schedule, objective: DistillationLoss) -> Validate:
        """The measure of a stage: the distance to the teachers' answers, or what the stage minimises where it does
        not look at answers."""
        return self if schedule.reads_predictions else functools.partial(self._inner, objective=objective)

    def __call__(self, model: Any) -> dict[str, float]:
        """The task's metrics, ``agreement`` where a label is one out of several, and ``score``."""
        bf16 = precision.bf16_is_fast(next(model.parameters()).device)
        flat = [window for found in self.windows for window in found]
        outputs = evaluate.outputs_of(model, self.tokenizer, flat, bf16=bf16)
        each = iter(outputs)
        found = [
            self.task.predict(item, some, [next(each) for _ in some], {})
            for item, some in zip(self.split.inputs, self.windows, strict=True)
        ]
        settings = self.task.fit(found, self.split.targets)
        metrics = self.task.metrics(found, self.split.targets, self.names, settings)
        distances = [predictions.distance(self.kind, a, b) for a, b in zip(outputs, self.teacher, strict=True)]
        metrics["score"] = -float(np.mean(distances))
        if self.kind == "classes":
            metrics["agreement"] = float(np.mean(self._labels(outputs) == self.teacher_labels))
        return metrics

    def _labels(self, outputs: Sequence[Any]) -> Any:
        return np.stack(outputs).argmax(axis=1) if self.kind == "classes" else None

    def _inner(self, model: Any, objective: DistillationLoss) -> dict[str, float]:
        """The objective's mean over the validation texts."""
        pad = features.Collate(self.tokenizer)
        flat = sorted((window for found in self.windows for window in found), key=lambda window: len(window.ids))
        device, training, losses = next(model.parameters()).device, model.training, []
        model.eval()
        with torch.no_grad():
            for start in range(0, len(flat), BATCH):
                some = flat[start : start + BATCH]
                batch = pad([features.model_inputs(window, self.tokenizer) for window in some])
                value = objective(model, {name: tensor.to(device) for name, tensor in batch.items()})
                losses += [float(value)] * len(some)
        model.train(training)
        return {"score": -float(np.mean(losses))}


def _digest(path: Path | None) -> str | None:
    if path is None:
        return None
    with path.open("rb") as file:
        return (
            f"{path.suffix.lower()} {hashlib.file_digest(file, 'sha256').hexdigest()}"  # the ending says how to read it
        )
