"""Configuration of the search for the best models of a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lilliput.config.base import Device, TextDataConfig
from lilliput.config.compression import with_unit

GOALS = ("speedup", "latency", "size")
"""Settings of `CompressConfig` of which at most one says how small the model is to become."""


class CompressConfig(TextDataConfig):
    """``lilliput compress``: what is needed in, the models on the frontier out."""

    command: ClassVar[str] = "compress"

    teacher: str | None = Field(None, min_length=1, description="fine-tuned Hugging Face folder or Hub id")
    model: str | None = Field(None, min_length=1, description="pretrained one, which becomes the teacher first")
    revision: str | None = None
    speedup: float | None = Field(None, gt=1, le=10_000, description="times faster than the teacher, end to end")
    latency: float | None = Field(None, gt=0, description="of a text, end to end, such as 2ms or 800us")
    size: float | None = Field(None, gt=0, description="of all files that an app needs, such as 5MB")
    max_drop: float | None = Field(None, ge=0, le=100, description="points that may be lost against the teacher")
    budget: float | None = Field(None, ge=1, description="time of the whole run, such as 30min or 2h")
    trials: int | None = Field(None, ge=1, le=10_000, description="candidates at most; 24, or what the budget allows")
    workers: int = Field(1, ge=1, le=1024, description="candidates that are worked on at a time")
    ray: str | None = Field(None, min_length=1, description="address of a Ray cluster that works on the candidates")
    precision: Literal["fp32", "int8"] = Field("int8", description="whose latency, size and accuracy are meant")
    threads: int = Field(1, ge=1, le=1024, description="of the engine whose latency is measured")
    uniform: bool = Field(False, description="only shapes that plain AutoModel loads")
    transformers_only: bool = Field(False, description="no convolutional and no static students")
    unlabelled: Path | None = Field(None, description="transfer text: .txt (a text a line), CSV, TSV, JSONL or Parquet")
    family: int = Field(6, ge=1, le=50, description="models of the frontier that are shipped at most")
    max_length: int = Field(128, ge=4, le=8192, description="tokens of a text that are read, special ones included")
    rounds: int = Field(10, ge=2, le=1000, description="of the benchmark at the end")
    limit: int | None = Field(None, ge=20, description="test texts that it reads; all by default")
    device: Device = "auto"
    out: Path

    @field_validator("latency", "size", "budget", mode="before")
    @classmethod
    def _with_unit(cls, value: Any, info: ValidationInfo) -> Any:
        return with_unit(str(info.field_name), value)

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.teacher is None) == (self.model is None):
            raise ValueError("--teacher or --model: give one, a fine-tuned model or one that is to be fine-tuned")
        if sum(getattr(self, name) is not None for name in GOALS) > 1:
            raise ValueError("--speedup, --latency, --size: give one of them at most; --max-drop goes with any")
        return self
