"""Data sets of the Hugging Face Hub: ``org/name``, or ``org/name:configuration``. No code of a repository is run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilliput.errors import DataError
from lilliput.train.tables import PARQUET_ROWS, TABLES, Table, arrow_table

_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?")


@dataclass(frozen=True)
class HubSplit:
    """A split of a data set of the Hub; its rows are numbered from 1."""

    id: str
    split: str
    rows: Any

    def __str__(self) -> str:
        return f"{self.id}/{self.split}"

    def table(self) -> Table:
        """Its columns and rows."""
        return arrow_table(self.rows.features.arrow_schema, self.rows.with_format("arrow").iter(PARQUET_ROWS))


def is_id(name: str) -> bool:
    """Whether ``name`` looks like the id of a data set of the Hub, and not like a file."""
    return _ID.fullmatch(name) is not None and not name.lower().endswith((*TABLES, ".txt"))


def splits(id: str, stems: Mapping[str, Sequence[str]], notes: list[str]) -> dict[str, HubSplit]:
    """The splits of a data set, downloaded once and cached, by their usual names.

    A split that has no labels (the number -1 stands for each, as in the test splits of GLUE) is left out, with a note.

    Args:
        id: ``org/name`` or ``org/name:configuration``.
        stems: the names that each split may have.

    Raises:
        DataError: there is no such data set, no network, or no training split.
    """
    name, _, configuration = id.partition(":")
    found = _load(id, name, configuration or None)
    kept: dict[str, HubSplit] = {}
    for split, names in stems.items():
        there = next((one for one in names if one in found), None)
        if there is None:
            continue
        rows = HubSplit(id, there, found[there])
        if split != "unlabelled" and _is_unlabelled(rows.rows):
            notes.append(f"{rows}: has no labels, so it is left out")
        else:
            kept[split] = rows
    if "train" not in kept:
        raise DataError(f"{id}: has no train split with labels; its splits are {', '.join(found)}")
    return kept


def _load(id: str, name: str, configuration: str | None) -> Any:
    import datasets
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()  # it tells of every attempt to reach the Hub
    try:
        return datasets.load_dataset(name, configuration)
    except (OSError, ValueError, RuntimeError, NotImplementedError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join((str(error) or type(error).__name__).split())[:300]
        raise DataError(
            f"{id}: no file or folder of this name is here, and the data set can't be had from the Hub: {reason}"
        ) from error
    finally:
        logging.set_verbosity(before)


def _is_unlabelled(rows: Any) -> bool:
    from datasets import ClassLabel

    names = [name for name, feature in rows.features.items() if isinstance(feature, ClassLabel)]
    return any(rows.unique(name) == [-1] for name in names)
