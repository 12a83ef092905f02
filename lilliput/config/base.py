"""What every configuration is: frozen, self-validating, read from YAML and flags.

A configuration is built from its defaults, then the ``--config`` file, then the flags, the later winning. Every
field is also a flag of its command (``learning_rate`` is ``--learning-rate``) and a key of the file.
"""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from lilliput.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]
Rounded = Literal["int8", "int8-static", "int8-weights", "int4"]
"""Precisions below 16 bits."""
TargetCpu = Literal["auto", "x86", "x86-vnni", "arm"]
BlockSize = Literal[16, 32, 64, 128, 256]
C = TypeVar("C", bound="Config")

MAX_LENGTH = 128
"""Tokens of a text that are read unless more or fewer are asked for."""
ARGUMENTS = {"benchmark": "bundles", "serve": "model", "data check": "data"}
"""What a command takes without a flag: its usage line has the name in capitals."""
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
    def _one_or_several(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        takes_several = tuple in [get_origin(one) for one in (kind, *get_args(kind))]
        return (value,) if takes_several and type(value) in (str, int, float) else value

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
    max_length: int = Field(
        MAX_LENGTH, ge=4, le=8192, description="tokens of a text that are read, special ones included"
    )
    save_every: int = Field(100, ge=1, description="steps between two checkpoints")
    device: Device = "auto"


class TrainingConfig(DataConfig, LoopConfig):
    """Training on a data set for a task."""


class CorpusConfig(SeededConfig):
    """Which raw text a command reads."""

    corpus: tuple[str, ...] = Field(min_length=1, description=".txt, CSV, TSV, JSONL or Parquet files, or a Hub id")
    text_column: str | None = Field(None, description="column of the text, where its name is not a usual one")
    held_out: float = Field(0.05, gt=0, lt=1, description="share of the documents kept for evaluation")


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
    flag = _flag(kind, key)
    where = flag if key in flags or config_file is None else f"{config_file}: {key}"
    if fault["type"] == "extra_forbidden":
        known = ", ".join(sorted(kind.model_fields))
        return f"{where}: unknown key of {kind.command}; it knows {known}"
    if fault["type"] == "missing":
        return f"{flag} is missing"
    message = fault["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list").replace("Tuple", "List")
    if not key:  # of several settings together, which the message names
        return message
    return f"{where}: {message[0].lower() + message[1:]} (got {_SHORT.repr(fault['input'])})"


def _flag(kind: type[Config], key: str) -> str:
    """How the command line calls a key: ``--learning-rate``; an argument is ``BUNDLES``, as in the usage line."""
    command = getattr(kind, "command", "data check")  # the one that has no configuration of its own
    return key.upper() if ARGUMENTS.get(command) == key else "--" + key.replace("_", "-")
