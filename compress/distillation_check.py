"""What a distillation refuses before anything is read: what contradicts the task, and settings that nothing reads."""

from __future__ import annotations

from collections.abc import Sequence

from lilliput import processes, tasks
from lilliput.compress import mapping, predictions, students
from lilliput.compress.stages import Schedule, stages
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError
from lilliput.tasks import Task
from lilliput.train import sources

WITH_TEMPERATURE = ("soft-targets", "decoupled")
"""Objectives that ``--temperature`` is of, beside a user's own."""


def check(config: DistillConfig) -> None:
    """Raise :class:`ConfigError` for what is wrong whatever data and teacher are."""
    students.check(config.student)
    schedules = stages(config)
    mapping.check(config.mapping)
    refuse_unread(config, schedules)
    if config.held_out != DistillConfig.model_fields["held_out"].default:
        raise ConfigError(f"--held-out {config.held_out}: is the share of a --corpus; data have a validation split")
    if config.hard_label_weight and not any(stage.reads_predictions for stage in schedules):
        raise ConfigError(
            f"--hard-label-weight {config.hard_label_weight}: objectives that compare layers alone have no part for "
            "the labels; add one that compares answers, such as --objective logit-mse"
        )
    if config.task in tasks.names():
        _check_task(tasks.get(config.task), config, schedules)
    if config.unlabelled is not None and config.data == sources.SENTIMENT:
        raise ConfigError("--unlabelled: the embedded data bring their own; use it with --data FILES")
    if config.unlabelled is not None and not config.unlabelled.is_file():
        raise ConfigError(f"--unlabelled {config.unlabelled}: no such file")


def refuse_unread(config: DistillConfig, schedules: Sequence[Schedule]) -> None:
    """Raise :class:`ConfigError` for a setting that no objective of these reads, which somebody may count on."""
    named = [objective.name for stage in schedules for _, objective in stage.terms]
    inner = any(stage.reads_states for stage in schedules)
    softened = any(":" in name or name in WITH_TEMPERATURE for name in named)
    read = {
        "mapping": (inner, "no objective compares layers"),
        "relation_heads": (inner, "no objective compares layers"),
        "temperature": (softened, f"no objective has one; it is of {' and '.join(WITH_TEMPERATURE)}"),
        "target_cpu": (config.rounding is not None, "is of --rounding"),
        "block_size": (config.rounding is not None, "is of --rounding"),
    }
    for name, (is_read, why) in read.items():
        value = getattr(config, name)
        if not is_read and value != DistillConfig.model_fields[name].default:
            raise ConfigError(f"--{name.replace('_', '-')} {value}: {why}; leave it out, or give both")


def _check_task(task: Task, config: DistillConfig, schedules: Sequence[Schedule]) -> None:
    """Raise :class:`ConfigError` for what does not work with this task's inputs or outputs."""
    kind = predictions.kind_of(task)
    if not students.is_transformer(config.student) and task.head != "AutoModelForSequenceClassification":
        raise ConfigError(
            f"--student {config.student}: gives a text labels or a score, which is not what {task.name} needs; use "
            "layers=N"
        )
    if processes.count() > 1 and any(stage.reads_states for stage in schedules):
        raise ConfigError("--objective: layers are compared by one process only so far; start it without a launcher")
    if config.augment and task.new_tokens:
        raise ConfigError(f"--augment {config.augment}: would cut the markers of {task.name} out of the texts")
    if config.augment_online and (kind in ("tokens", "span", "vector") or task.new_tokens):
        raise ConfigError(f"--augment-online {config.augment_online}: works with single texts, not with {task.name}")
    if config.hard_label_weight and kind == "vector":
        raise ConfigError(f"--hard-label-weight {config.hard_label_weight}: there are no labels of a vector")
    named = [one.name for stage in schedules for _, one in stage.terms]
    if kind == "vector" and (unfit := [name for name in named if name in WITH_TEMPERATURE]):
        raise ConfigError(f"--objective {unfit[0]}: says nothing of vectors, which are no scores; use cosine")
    unfit = [name for name in named if name in predictions.NEED_SEVERAL]
    if "cosine" in unfit and kind == "labels":
        raise ConfigError("--objective cosine: says nothing of labels that are each a choice of its own; use logit-mse")
    if unfit and kind == "score":
        raise ConfigError(f"--objective {unfit[0]}: says nothing of a score, which is one number; use logit-mse")
