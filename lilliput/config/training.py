"""Configurations of training: tokenizers, pretraining and fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from lilliput.config.base import CorpusConfig, LoopConfig, TrainingConfig


class TokenizerConfig(CorpusConfig):
    """``lilliput tokenizer train``: a WordPiece vocabulary."""

    command: ClassVar[str] = "tokenizer train"

    vocab_size: int = Field(30522, ge=16, le=1_000_000)
    min_frequency: int = Field(2, ge=1, description="occurrences that a token needs")
    cased: bool = Field(False, description="keep capitals and accents")
    out: Path


class PretrainConfig(LoopConfig, CorpusConfig):
    """``lilliput pretrain``: masked language modelling, from scratch or continued."""

    command: ClassVar[str] = "pretrain"

    model: str | None = Field(None, min_length=1, description="folder or Hub id to go on from")
    revision: str | None = None
    architecture: str | None = Field(None, min_length=1, description="tiny, mini, small, base, or a config.json")
    tokenizer: str | None = Field(None, min_length=1, description="folder or Hub id; the model's own by default")
    whole_words: bool = Field(False, description="mask whole words")
    mask: float = Field(0.15, gt=0, lt=1, description="share of the tokens that the model must predict")
    max_steps: int | None = Field(None, ge=1, description="steps after which training ends; all epochs by default")
    epochs: int = Field(1, ge=1, le=1000)
    learning_rate: float = Field(1e-4, gt=0, le=1)
    out: Path

    @model_validator(mode="after")
    def _starts_from_something(self) -> Self:
        if (self.model is None) == (self.architecture is None):
            raise ValueError("--model or --architecture: give one of the two, to go on from a model or to start anew")
        if self.architecture is not None and self.tokenizer is None:
            raise ValueError("--tokenizer: a model from scratch needs one; make it with 'lilliput tokenizer train'")
        return self


class FinetuneConfig(TrainingConfig):
    """``lilliput finetune``: a teacher for a task."""

    command: ClassVar[str] = "finetune"

    model: str = Field(
        "embedded", min_length=1, description="Hugging Face folder or Hub id; 'embedded' is all-MiniLM-L6-v2"
    )
    revision: str | None = Field(None, description="branch, tag or commit of a Hub id")
    metric: str | None = Field(None, description="validation metric that chooses the weights; the task's by default")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: a label's weight in the loss is in inverse proportion to its rows"
    )
    consistency: float = Field(
        0.0, ge=0, le=100, description="weight of the agreement between two passes with different dropout (R-Drop)"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="factor on the learning rate from each layer to the one below (1: none)"
    )
    trials: int = Field(0, ge=0, le=10_000, description="hyper-parameter settings tried on validation beforehand")
    seeds: tuple[int, ...] | None = Field(None, description="several seeds: one model each, mean and spread")
    out: Path

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value) or min(value) < 0 or max(value) >= 2**31):
            raise ValueError("must be different whole numbers from 0 to 2147483647")
        return value
