"""Configurations of compression: distillation and pruning."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lilliput.config.base import BlockSize, Rounded, TargetCpu, TrainingConfig


class DistillConfig(TrainingConfig):
    """``lilliput distill``: a student from one or several teachers."""

    command: ClassVar[str] = "distill"

    teacher: tuple[str, ...] = Field(min_length=1, description="fine-tuned Hugging Face folders or Hub ids")
    revision: str | None = None
    student: str = Field("layers=3", description="layers=3, layers=2,hidden=192,heads=6,ffn=768, conv or static")
    initial_model: str | None = Field(None, min_length=1, description="a larger student to start from, not the teacher")
    initial_layers: tuple[int, ...] | None = Field(None, description="layers of it that the student starts from")
    reconstruct: bool = Field(True, description="fit a transformer to what it is cut from, by least squares, at first")
    corpus: tuple[str, ...] = Field((), description="raw text to distil an encoder on, before any task")
    held_out: float = Field(0.05, gt=0, lt=1, description="share of the corpus' documents kept for evaluation")
    unlabelled: Path | None = Field(None, description="transfer text: .txt (a text a line), CSV, TSV, JSONL or Parquet")
    teacher_outputs: Path | None = Field(
        None, description="folder of what the teachers said, for several runs to share"
    )
    objective: tuple[str, ...] = Field(
        ("logit-mse",), min_length=1, description="names in lilliput.compress.objectives, each perhaps with =WEIGHT"
    )
    stage: tuple[str, ...] = Field((), description="stages before it: objectives, epochs=N, learning-rate=R, by commas")
    mapping: str = Field("uniform", description="the teacher's layers to learn from: uniform, skip, last, learned, 1,4")
    relation_heads: int | None = Field(None, ge=1, le=4096, description="heads of the relations; the teacher's own")
    temperature: float = Field(1.0, gt=0, le=100)
    hard_label_weight: float = Field(0.0, ge=0, le=1, description="weight of the loss with the labels")
    augment: int = Field(0, ge=0, le=100, description="augmented copies of every training text")
    augment_model: str | None = Field(
        None, min_length=1, description="masked language model that replaces words in the copies"
    )
    augment_online: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the texts changed anew in every step, read by the teacher then",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="of the student while it learns from its teacher")
    train_embeddings: bool = Field(
        False, description="train the word embeddings too, which are copied from the teacher"
    )
    rounding: Rounded | None = Field(None, description="precision under whose rounding the student is trained")
    target_cpu: TargetCpu = Field("auto", description="processor that --rounding int8 is for")
    block_size: BlockSize = Field(32, description="weights that share a scale in --rounding below 8 bits")
    epochs: int = Field(4, ge=1, le=1000)
    learning_rate: float = Field(3e-4, gt=0, le=1)
    out: Path

    @field_validator("teacher")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value) or len(set(value)) < len(value):
            raise ValueError("must name different folders or Hub ids")
        return value

    @model_validator(mode="after")
    def _copies_for_the_model(self) -> Self:
        if self.augment_model and not self.augment:
            raise ValueError("--augment-model: needs --augment, the number of copies of every text")
        return self


TARGETS = ("speedup", "latency", "parameters", "size", "flops")
"""Settings of `PruneConfig` of which exactly one says how small the model is to become."""

_UNITS = {
    "latency": {"us": 1e-3, "ms": 1.0, "s": 1e3, "": 1.0},
    "size": {"kb": 1e3, "mb": 1e6, "gb": 1e9, "b": 1.0, "": 1.0},
    "budget": {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "": 1.0},
}
"""What a value may be followed by, and how many milliseconds, bytes or seconds that is."""


def with_unit(name: str, value: Any) -> Any:
    """A value of the setting ``name`` in milliseconds, bytes or seconds; what is no text stays as it is.

    Raises:
        ValueError: it is no number with one of the units.
    """
    units = _UNITS[name]
    if not isinstance(value, str):
        return value
    number = value.strip().lower().rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = value.strip().lower().removeprefix(number).strip()
    try:
        return float(number) * units[unit]
    except (ValueError, KeyError):
        named = ", ".join(name for name in units if name)
        raise ValueError(f"must be a number, with one of {named} behind it if it likes") from None


class PruneConfig(TrainingConfig):
    """``lilliput prune``: a smaller dense model that meets a target."""

    command: ClassVar[str] = "prune"

    model: str = Field(min_length=1, description="fine-tuned Hugging Face folder or Hub id")
    revision: str | None = None
    speedup: float | None = Field(None, gt=1, le=1000, description="times faster than the model, end to end")
    latency: float | None = Field(None, gt=0, description="of a text, end to end, such as 1.5ms or 800us")
    parameters: float | None = Field(None, gt=0, lt=1, description="share of the parameters that stays")
    size: float | None = Field(None, gt=0, description="of all files that an app needs, such as 5MB")
    flops: float | None = Field(None, gt=0, lt=1, description="share of the encoder's multiplications that stays")
    per_layer: bool = Field(False, description="every layer may get a shape of its own (loads with lilliput only)")
    vocabulary: int | None = Field(None, ge=1, description="tokens that stay, the most frequent ones of the texts")
    importance: str = Field("reconstruction", description="a criterion in lilliput.compress.importance")
    calibration: int = Field(1024, ge=1, description="training texts that the pruning looks at")
    reconstruct: bool = Field(True, description="fit what remains to what was cut off, by least squares")
    precision: Literal["fp32", "int8"] = Field("int8", description="whose latency or size is meant")
    threads: int = Field(1, ge=1, le=1024, description="of the engine whose latency is measured")
    lengths: tuple[int, ...] = Field((), description="tokens of the texts that are timed; those of the data by default")
    recover: bool = Field(False, description="distil from the unpruned model afterwards")
    steps: int = Field(1, ge=1, le=100, description="prunings, each followed by recovery, on the way to the target")
    teacher: str | None = Field(None, min_length=1, description="model to recover from; the unpruned one by default")
    objective: tuple[str, ...] = Field(
        ("logit-mse",), min_length=1, description="of the recovery, as of 'lilliput distill'"
    )
    unlabelled: Path | None = Field(None, description="transfer text: .txt (a text a line), CSV, TSV, JSONL or Parquet")
    augment: int = Field(0, ge=0, le=100, description="augmented copies of every training text, for the recovery")
    learning_rate: float = Field(3e-4, gt=0, le=1)
    modeling_file: bool = Field(False, description="also write code that loads a per-layer model without lilliput")
    out: Path

    @field_validator("latency", "size", mode="before")
    @classmethod
    def _with_unit(cls, value: Any, info: ValidationInfo) -> Any:
        return with_unit(str(info.field_name), value)

    @field_validator("lengths")
    @classmethod
    def _lengths_of_texts(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= length <= 8192 for length in value):
            raise ValueError("must be numbers of tokens from 1 to 8192, such as 16,32,128")
        return value

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) > 1 or not (given or self.vocabulary):
            flags = ", ".join(f"--{name}" for name in TARGETS)
            raise ValueError(f"--speedup: give one target, of {flags}, or --vocabulary alone")
        if self.steps > 1 and not self.recover:
            raise ValueError("--steps: makes a difference only with --recover")
        return self
