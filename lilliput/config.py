"""One frozen, self-validating class per command; YAML in and out.

A configuration is built from its defaults, then the ``--config`` file, then the flags, the later winning. Every
field is also a flag of its command (``learning_rate`` is ``--learning-rate``) and a key of the file.
"""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lilliput.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]
C = TypeVar("C", bound="Config")

LARGEST = 100_000
"""Bytes of a configuration file."""
_SHORT = reprlib.Repr()
"""How a wrong value is shown: a few lines of YAML can stand for a value that no memory holds written out."""
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 1, 80, 80


class Config(BaseModel):
    """Base of every command's configuration: frozen, no unknown keys, errors that name the flag."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, protected_namespaces=(), allow_inf_nan=False
    )

    command: ClassVar[str]

    @field_validator("*", mode="before")
    @classmethod
    def _no_nul(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:  # no path can hold one, and no command line can give one
            raise ValueError("must not hold a NUL character")
        return value

    def to_yaml(self) -> str:
        """The effective configuration as YAML that :func:`build` reads back unchanged."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class SeededConfig(Config):
    """What draws at random."""

    seed: int = Field(0, ge=0, lt=2**31, description="of every random choice; embedded data are split by seed modulo 3")


class DataConfig(SeededConfig):
    """Which rows a command reads, and what for."""

    data: str = Field(
        "sentiment",
        min_length=1,
        description="'sentiment' (embedded), a folder, a CSV, TSV, JSONL or Parquet file, or a Hub id",
    )
    text_column: str | None = Field(None, description="column of the text, where its name is not a usual one")
    pair_column: str | None = Field(None, description="column of the second text of a pair")
    label_column: str | None = Field(None, description="column of the label, where its name is not a usual one")
    slice_column: str | None = Field(None, description="column whose values the evaluation is broken down by")
    allow_overlap: bool = Field(False, description="report texts that two splits share instead of refusing them")
    task: str = "classification"


class TextDataConfig(DataConfig):
    """Rows of a command that reads single texts with one label each, as all but training do so far."""

    @field_validator("task")
    @classmethod
    def _reads_single_labels(cls, value: str) -> str:
        if value != "classification":
            raise ValueError("this command works with classification so far")
        return value

    @field_validator("pair_column")
    @classmethod
    def _reads_single_texts(cls, value: str | None) -> str | None:
        if value is not None:
            raise ValueError("this command works with single texts so far")
        return value


class LoopConfig(SeededConfig):
    """What every training loop needs (AdamW, Loshchilov & Hutter 2019; linear warm-up, then linear decay to 0)."""

    epochs: int = Field(3, ge=1, le=1000)
    patience: int | None = Field(None, ge=1, description="epochs without a better score after which training stops")
    learning_rate: float = Field(1e-4, gt=0, le=1)
    batch_size: int = Field(32, ge=1, le=4096, description="texts that one device reads at a time")
    gradient_accumulation: int = Field(1, ge=1, le=4096, description="batches whose gradients one step adds up")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps with a rising learning rate")
    weight_decay: float = Field(0.01, ge=0, le=1)
    max_length: int = Field(128, ge=4, le=8192, description="tokens of a text that are read, special ones included")
    save_every: int = Field(100, ge=1, description="steps between two checkpoints")
    device: Device = "auto"


class TrainingConfig(DataConfig, LoopConfig):
    """Training on a data set for a task."""


class CorpusConfig(SeededConfig):
    """Which raw text a command reads."""

    corpus: tuple[str, ...] = Field(min_length=1, description=".txt, CSV, TSV, JSONL or Parquet files, or a Hub id")
    text_column: str | None = Field(None, description="column of the text, where its name is not a usual one")
    held_out: float = Field(0.05, gt=0, lt=1, description="share of the documents kept for evaluation")


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


class DistillConfig(TrainingConfig):
    """``lilliput distill``: a student from one or several teachers."""

    command: ClassVar[str] = "distill"

    teacher: tuple[str, ...] = Field(min_length=1, description="fine-tuned Hugging Face folders or Hub ids")
    revision: str | None = None
    student: str = Field("layers=3", description="layers=3, layers=2,hidden=192,heads=6,ffn=768, conv or static")
    initial_model: str | None = Field(None, min_length=1, description="a larger student to start from, not the teacher")
    initial_layers: tuple[int, ...] | None = Field(None, description="layers of it that the student starts from")
    corpus: tuple[str, ...] = Field((), description="raw text to distil an encoder on, before any task")
    held_out: float = Field(0.05, gt=0, lt=1, description="share of the corpus' documents kept for evaluation")
    unlabelled: Path | None = Field(None, description="transfer text: .txt (a text a line), CSV, TSV, JSONL or Parquet")
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
    epochs: int = Field(4, ge=1, le=1000)
    learning_rate: float = Field(3e-4, gt=0, le=1)
    out: Path

    @field_validator("teacher", "objective", "stage", "corpus", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

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


def build(kind: type[C], config_file: Path | None = None, **flags: Any) -> C:
    """Build a configuration from a YAML file and flags; flags that are None were not given.

    Raises:
        ConfigError: names the file and key, or the flag, that is wrong, and what it may be.
    """
    values: dict[str, Any] = _read_yaml(config_file) if config_file else {}
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return kind(**{**values, **given})
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(kind, fault, config_file, given) for fault in error.errors())) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from None
    if len(raw) > LARGEST:
        raise ConfigError(f"--config {path}: larger than {LARGEST:,} bytes, which no configuration is")
    try:
        values = yaml.safe_load(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigError(f"--config {path}: not UTF-8 text") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: the 13th month of a date, for example
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"--config {path}{line}: not valid YAML") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"--config {path}: must hold 'key: value' lines, as config.yaml of any stage does")
    return {key.replace("-", "_"): value for key, value in values.items()}


def _explain(kind: type[Config], fault: Any, config_file: Path | None, flags: dict[str, Any]) -> str:
    key = str(fault["loc"][0]) if fault["loc"] else ""
    flag = "--" + key.replace("_", "-")
    where = flag if key in flags or config_file is None else f"{config_file}: {key}"
    if fault["type"] == "extra_forbidden":
        known = ", ".join(sorted(kind.model_fields))
        return f"{where}: unknown key of {kind.command}; it knows {known}"
    if fault["type"] == "missing":
        return f"{flag} is missing"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower() + message[1:]} (got {_SHORT.repr(fault['input'])})"
