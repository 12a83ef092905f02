"""A user's own data: a folder of split files, named files, a data set of the Hub, or one file that is split by the
bucket rule."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lilliput.errors import DataError
from lilliput.tasks import NEVER_TRAINED, RowFault, Task
from lilliput.train import hub
from lilliput.train.data import Dataset, Row, assemble, bucket_of, normalise
from lilliput.train.data_report import Ledger, Unusable
from lilliput.train.hub import HubSplit
from lilliput.train.row_files import COLUMNS, SLICE, read_rows
from lilliput.train.tables import TABLES

VALIDATION_BUCKET, TEST_BUCKET = 8, 9
PAIRS = (("train", "validation"), ("train", "test"), ("validation", "test"))
"""Splits that must have no text in common."""

_STEMS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
    "unlabelled": ("unlabelled", "unlabeled", "transfer"),
}
OVERLAP = "text in two splits"
MISSING = frozenset({"nan", "null", "none", "n/a"})
"""Names of labels, in lower case, that other programs write where a value is missing."""

logger = logging.getLogger(__name__)

Source = Path | HubSplit


def read(
    name: str | Path,
    task: Task,
    *,
    validation: Path | None = None,
    test: Path | None = None,
    unlabelled: Path | None = None,
    columns: Mapping[str, str] | None = None,
    slice_column: str | None = None,
    allow_overlap: bool = False,
    transfer: bool = True,
    ledger: Ledger | None = None,
) -> Dataset:
    """Read a data set for ``task``; faulty rows are rejected and counted, faults of the whole raise DataError.

    Args:
        name: a folder with train, validation, test and perhaps unlabelled files (.csv, .tsv, .jsonl, .parquet;
            unlabelled also .txt), or the training file, or the id of a data set of the Hub. Where there is no
            validation or no test file, the training rows of bucket 8 or 9 of :func:`lilliput.train.data.bucket` are
            taken for it.
        validation, test, unlabelled: files that stand for those in the folder.
        columns: columns by role (``text``, ``pair``, ``label``), where their names are not among the usual ones.
        slice_column: column whose values the evaluation is broken down by.
        transfer: read the unlabelled file of a folder.
        allow_overlap: report texts that two labelled splits share instead of refusing them.
        ledger: a lenient one keeps faults of the whole instead of raising the first; the data set then has what could
            be read, and may have empty splits.

    Raises:
        DataError: names the file, the line where there is one, and what to do.
    """
    ledger = ledger or Ledger()
    given = {"validation": validation, "test": test, "unlabelled": unlabelled}
    files = _find(name, ledger) | {split: Path(file) for split, file in given.items() if file is not None}
    if not transfer and isinstance(files.get("unlabelled"), Path):
        del files["unlabelled"]
    rows = {
        split: read_rows(file, ledger, task, columns or {}, labelled=split != "unlabelled", slice_column=slice_column)
        for split, file in files.items()
    }
    _refuse_unlike(task, rows, files, ledger)
    unseen = rows.pop("unlabelled", [])
    _split_off(rows, ledger)
    names = _label_names(task, rows, files["train"], ledger)
    if not ledger.lenient:  # else the report tells of it
        _warn_of_missing(task, [row for found in rows.values() for row in found], names)
    for split in ("validation", "test"):
        rows[split] = _with_known_labels(task, rows[split], names, ledger)
    for split, found in rows.items():
        source = files.get(split, files["train"])
        if not found and not ledger.blames(source):
            ledger.refuse(_nothing_left(source, split, ledger))
    if not allow_overlap:
        _refuse_overlap(rows, ledger)
    short = str(name) if isinstance(files["train"], HubSplit) else Path(name).resolve().stem
    return assemble(short, task, names, rows, unseen, {}, ledger)


def _find(name: str | Path, ledger: Ledger) -> dict[str, Source]:
    """The file of each split."""
    path = Path(name)
    if not path.exists():
        if hub.is_id(str(name)):
            return dict(hub.splits(str(name), _STEMS, ledger.notes))
        raise DataError(f"{name} does not exist")
    if path.is_file():
        return {"train": path}
    found: dict[str, Source] = {}
    for split in _STEMS:
        if (file := _file_of(path, split)) is not None:
            found[split] = file
    if "train" not in found:
        names = ", ".join(sorted(file.name for file in path.iterdir())[:12]) or "nothing"
        raise DataError(f"{path} has no train file (train.csv, .tsv, .jsonl or .parquet); it holds {names}")
    return found


def unlabelled_in(folder: Path) -> Path | None:
    """The file of unlabelled text in a folder; None where there is none.

    Raises:
        DataError: there are several.
    """
    return _file_of(folder, "unlabelled")


def _file_of(folder: Path, split: str) -> Path | None:
    endings = (*TABLES, ".txt") if split == "unlabelled" else TABLES
    there = [one for one in sorted(folder.iterdir()) if one.stem in _STEMS[split] and one.suffix.lower() in endings]
    if len(there) > 1:
        raise DataError(f"{folder}: which one is {split}? Keep one of {', '.join(file.name for file in there)}")
    return there[0] if there else None


def _refuse_unlike(task: Task, rows: Mapping[str, Sequence[Row]], files: Mapping[str, Source], ledger: Ledger) -> None:
    """Inputs of one text here and of two there, or targets in one file only: no model can be trained on both."""

    def form(row: Row, split: str) -> Any:
        parts = task.parts(row.input)
        return len(parts), task.tokens(parts[0]).second is None, split == "unlabelled" or row.target is None

    for split, found in rows.items():
        if not found or not rows["train"]:
            continue
        of_train = form(rows["train"][0], split)
        if form(found[0], split) != of_train:
            read, expected = (
                ", ".join(sorted(ledger.columns[str(files[name])].keys() - {SLICE})) for name in (split, "train")
            )
            detail = f"it has columns for {read}, but {files['train']} for {expected}"
            ledger.refuse(Unusable(COLUMNS, files[split], 1, detail))


def _split_off(rows: dict[str, list[Row]], ledger: Ledger) -> None:
    """Take the rows of a bucket out of training for each split that has no file."""
    for split, number in (("validation", VALIDATION_BUCKET), ("test", TEST_BUCKET)):
        if split in rows:
            continue
        taken = [bucket_of(row.key) == number for row in rows["train"]]
        rows[split] = [row for row, there in zip(rows["train"], taken, strict=True) if there]
        rows["train"] = [row for row, there in zip(rows["train"], taken, strict=True) if not there]
        ledger.notes.append(f"no {split} file: {len(rows[split]):,} rows of the training file (bucket {number}) are it")


def _label_names(task: Task, rows: Mapping[str, Sequence[Row]], file: Source, ledger: Ledger) -> tuple[str, ...]:
    """The labels that occur in training, where there are enough of them for the task."""
    if not rows["train"]:  # has been refused or will be; the other splits can still be looked at
        return task.label_names([row.target for found in rows.values() for row in found])
    names = task.label_names([row.target for row in rows["train"]])
    if len(names) < task.fewest_labels:
        there = f"every training row has the label {names[0]!r}" if names else "no training row has a label"
        needed = "two" if task.fewest_labels == 2 else "one"
        detail = f"{there}; {task.name} needs at least {needed}"
        ledger.refuse(Unusable("too few labels", file, None, detail, len(rows["train"])))
    return names


def like_missing(name: str) -> str:
    """What to say of a label whose name stands for a missing value; nothing of any other."""
    if name.lower() not in MISSING:
        return ""
    return f"the label {name!r} looks like a missing value, and is learnt as a label; leave such cells empty"


def _warn_of_missing(task: Task, rows: Sequence[Row], names: Sequence[str]) -> None:
    for name in names:
        if said := like_missing(name):
            place = next(row.place for row in rows if name in task.label_names([row.target]))
            logger.warning("%s: %s", place, said)


def _with_known_labels(task: Task, rows: Sequence[Row], names: Sequence[str], ledger: Ledger) -> list[Row]:
    kept = []
    for row in rows:
        try:
            task.index(row.target, names)
        except RowFault as fault:
            detail = _unknown(task, row, names) if str(fault) == NEVER_TRAINED else ""
            ledger.reject(str(fault), row.file, row.line, detail)
        else:
            kept.append(row)
    return kept


def _unknown(task: Task, row: Row, names: Sequence[str]) -> str:
    """The label that training lacks, and the one that may be meant."""
    unknown = [label for label in task.label_names([row.target]) if label not in names]
    forms = {form_of_label(name): name for name in names}
    meant = forms.get(form_of_label(unknown[0])) if unknown else None
    return repr(unknown[0][:60]) + (f"; training has {meant!r}" if meant else "") if unknown else ""


def form_of_label(name: str) -> str:
    """Labels of equal form are most likely meant to be one: "Not sure" and "not_sure", "1" and "1.0"."""
    try:
        return str(float(name))
    except ValueError:
        return re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", normalise(name))


def _nothing_left(file: Source, split: str, ledger: Ledger) -> Unusable:
    if not ledger.rejected:
        detail = f"too few rows to take the {split} rows out of it; add rows, or give a {split} file"
        return Unusable("empty split", file, None, detail)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in ledger.rejected.most_common())
    detail = f"no row is left for {split}. Rejected: {reasons}; the first is {ledger.samples[0]}"
    return Unusable("empty split", file, None, detail)


def _refuse_overlap(rows: Mapping[str, Sequence[Row]], ledger: Ledger) -> None:
    """Equal texts in two labelled splits make the figures too good: an error that names the first one."""
    for one, other in PAIRS:
        first: dict[bytes, Row] = {}
        for row in rows[one]:
            first.setdefault(row.key, row)
        shared = [row for row in rows[other] if row.key in first]
        if shared:
            row = shared[0]
            twin = first[row.key]
            more = f" ({len(shared):,} rows of {other} are also in {one})" if len(shared) > 1 else ""
            detail = (
                f"the same text is in {one}, at {twin.place}{more}. "
                "Remove it from one of them, or read both with --allow-overlap."
            )
            ledger.refuse(Unusable(OVERLAP, row.file, row.line, detail, len(shared)))
