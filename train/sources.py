"""What ``--data`` names, as a data set."""

from __future__ import annotations

from pathlib import Path

from lilliput import tasks
from lilliput.config import DataConfig
from lilliput.errors import ConfigError
from lilliput.train import data, embedded, readers, sentiment
from lilliput.train.data_report import Ledger

SENTIMENT = "sentiment"


def load(
    config: DataConfig, unlabelled: Path | None = None, ledger: Ledger | None = None, *, transfer: bool = True
) -> data.Dataset:
    """The data set of a configuration: the embedded one, fetched once and cached, the user's files, or the Hub's.

    The embedded data have three folds with disjoint test sets; seed k uses fold k modulo 3.

    Args:
        unlabelled: a file of transfer text.
        transfer: read the unlabelled file of a folder too (see `unlabelled_of`).
        ledger: of `readers.read`.

    Raises:
        ConfigError: there is no such task.
        DataError: the files are not usable; the message names file and line.
        FetchError: the embedded data are neither cached nor to be had.
    """
    if config.task not in tasks.names():
        raise ConfigError(f"--task {config.task}: unknown; known are {', '.join(tasks.names())}")
    task = tasks.get(config.task)
    if task.command != "finetune":
        raise ConfigError(f"--task {config.task}: its models are made by 'lilliput {task.command}', from raw text")
    if config.data == SENTIMENT:  # a file of this name is ./sentiment
        if unlabelled is not None:
            raise ConfigError("--unlabelled: the embedded data bring their own; use it with --data FILES")
        if task.name != "classification":
            raise ConfigError(f"--task {config.task}: the embedded data are for classification; give --data")
        return sentiment.sentiment(embedded.fetch_sentiment(), fold=config.seed % 3)
    return readers.read(
        config.data,
        task,
        unlabelled=unlabelled,
        columns=named_columns(config),
        slice_column=config.slice_column,
        allow_overlap=config.allow_overlap,
        transfer=transfer,
        ledger=ledger,
    )


def unlabelled_of(name: str) -> Path | None:
    """The unlabelled file of the folder that ``--data`` names; None where there is no folder, or none in it."""
    return readers.unlabelled_in(Path(name)) if name != SENTIMENT and Path(name).is_dir() else None


def named_columns(config: DataConfig) -> dict[str, str]:
    """The columns that flags name, by role."""
    named = {"text": config.text_column, "pair": config.pair_column, "label": config.label_column}
    return {role: column for role, column in named.items() if column is not None}
