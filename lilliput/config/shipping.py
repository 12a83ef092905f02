"""Configurations of what makes and measures bundles."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from lilliput.config.base import Device, TextDataConfig


class ExportConfig(TextDataConfig):
    """``lilliput export``: a bundle with ONNX graphs, its parity checked against the model."""

    command: ClassVar[str] = "export"

    model: str = Field(min_length=1)
    revision: str | None = None
    name: str | None = Field(None, description="the bundle's name; the folder's by default")
    precisions: tuple[Literal["fp32", "int8"], ...] = ("fp32", "int8")
    max_length: int = Field(128, ge=4, le=8192)
    max_difference: float = Field(1e-4, gt=0, description="largest logit difference to torch allowed for fp32")
    min_agreement: float = Field(0.985, ge=0, le=1, description="share of labels that int8 must share with torch")
    gate_texts: int = Field(1000, ge=1, description="transfer texts that the gates read, beside all validation texts")
    out: Path

    @field_validator("precisions")
    @classmethod
    def _has_fp32(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "fp32" not in value:
            raise ValueError("must include fp32, which every other precision is made from and checked against")
        return value


class BenchmarkConfig(TextDataConfig):
    """``lilliput benchmark``: bundles side by side, accuracy and latency in one pass over the test texts."""

    command: ClassVar[str] = "benchmark"

    bundles: tuple[Path, ...] = Field(min_length=1, description="the first one is the teacher")
    threads: int = Field(1, ge=1, le=1024)
    rounds: int = Field(10, ge=2, le=1000)
    limit: int | None = Field(None, ge=20, description="test texts read; all by default")
    out: Path


class DemoConfig(TextDataConfig):
    """``lilliput demo``: the whole way on the embedded default."""

    command: ClassVar[str] = "demo"

    model: str = Field("embedded", min_length=1)
    teacher: str | None = Field(
        None, description="a model fine-tuned on the data already; the teacher is not trained then"
    )
    fast: bool = Field(False, description="smoke run on a subset; its figures say nothing about the models")
    device: Device = "auto"
    results: Path | None = Field(None, description="also write the report with its figures to this JSON file")
    out: Path = Path("runs/demo")

    @model_validator(mode="after")
    def _publishes_full_runs_only(self) -> Self:
        if self.fast and self.results:
            raise ValueError("--results: a smoke run's figures count for nothing; leave out --fast")
        return self
