"""Configurations of what makes and measures bundles."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from lilliput.config.base import BlockSize, DataConfig, Device, TargetCpu, TextDataConfig


class ExportConfig(DataConfig):
    """``lilliput export``: a bundle with ONNX graphs, its parity checked against the model."""

    command: ClassVar[str] = "export"

    model: str = Field(min_length=1)
    revision: str | None = None
    name: str | None = Field(None, description="the bundle's name; the folder's by default")
    precisions: tuple[Literal["fp32", "int8"], ...] = ("fp32", "int8")
    max_length: int = Field(128, ge=4, le=8192)
    max_difference: float = Field(
        1e-4, gt=0, description="largest difference to torch allowed for fp32, by the largest logit"
    )
    min_agreement: float = Field(0.985, ge=0, le=1, description="how alike int8 must answer: share of labels")
    gate_texts: int = Field(1000, ge=1, description="transfer texts that the gates read, beside all validation texts")
    sign: Path | None = Field(None, description="PEM file with a private Ed25519 key that the bundle is signed with")
    out: Path

    @field_validator("precisions")
    @classmethod
    def _has_fp32(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "fp32" not in value:
            raise ValueError("must include fp32, which every other precision is made from and checked against")
        return value


class QuantizeConfig(DataConfig):
    """``lilliput quantize``: a bundle with a graph of another precision, its accuracy checked against fp32."""

    command: ClassVar[str] = "quantize"

    model: str = Field(min_length=1, description="a bundle with an fp32 graph")
    precision: Literal["int8", "int8-static", "int8-weights", "int4", "fp16", "bf16"] = "int8"
    max_drop: float = Field(0.3, ge=0, le=100, description="points of the validation metric that may be lost")
    strict: bool = Field(False, description="the upper end of the drop's 95% interval must meet it too")
    min_agreement: float = Field(0.985, ge=0, le=1, description="how alike it must answer: share of labels")
    sensitivity: bool = Field(False, description="rank the layers even where no gate fails")
    target_cpu: TargetCpu = Field(
        "auto", description="processor that int8 is for: x86 without VNNI needs weights of 7 bits; this one's, for auto"
    )
    calibration: Literal["minmax", "percentile", "entropy"] = Field(
        "minmax", description="how int8-static finds the range of an activation"
    )
    calibration_texts: int = Field(256, ge=1, description="training texts that show how large activations are")
    block_size: BlockSize = Field(32, description="weights that share a scale, below 8 bits")
    gate_texts: int = Field(1000, ge=1, description="transfer texts that the gates read, beside all validation texts")
    train: int = Field(0, ge=0, le=1000, description="epochs of training under the rounding, taught by the fp32 model")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="of --train")
    device: Device = "auto"
    sign: Path | None = Field(None, description="PEM file with a private Ed25519 key that the bundle is signed with")
    out: Path

    @model_validator(mode="after")
    def _rounds_something(self) -> Self:
        if self.train and self.precision in ("fp16", "bf16"):
            raise ValueError(f"--train: {self.precision} has 16 bits, which need no training; leave it out")
        return self


class BenchmarkConfig(TextDataConfig):
    """``lilliput benchmark``: models side by side, accuracy and latency in one pass over the test texts."""

    command: ClassVar[str] = "benchmark"

    bundles: tuple[str, ...] = Field(
        min_length=1, description="bundles, Hugging Face folders or Hub ids (ID@REVISION); the first one is the teacher"
    )
    scenario: tuple[str, ...] = Field(("single-stream",), min_length=1, description="what is measured beside accuracy")
    provider: tuple[str, ...] = Field(("cpu",), min_length=1, description="where bundles run, the CPU beside others")
    latency_bound: float = Field(50.0, gt=0, le=60_000, description="milliseconds that the server's p99 must keep")
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
