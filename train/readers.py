"""A user's own data: a folder of split files, named files, or one file that is split by the bucket rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lilliput.errors import DataError
from lilliput.tasks import RowFault, Task
from lilliput.train.data import Dataset, Row, assemble, bucket, normalise
from lilliput.train.data_report import Ledger
from lilliput.train.row_files import TABLES, read_rows

VALIDATION_BUCKET, TEST_BUCKET = 8, 9

_STEMS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
    "unlabelled": ("unlabelled", "unlabeled", "transfer"),
}


def read(
    path: Path,
    task: Task,
    *,
    validation: Path | None = None,
    test: Path | None = None,
    unlabelled: Path | None = None,
    columns: Mapping[str, str] | None = None,
    slice_column: str | None = None,
    allow_overlap: bool = False,
) -> Dataset:
    """Read a data set for ``task``; faulty rows are rejected and counted, faults of the whole raise DataError.

    Args:
        path: a folder with train, validation, test and perhaps unlabelled files (.csv, .tsv, .jsonl; unlabelled also
            .txt), or the training file. Where there is no validation or no test file, the training rows of bucket 8
            or 9 of :func:`lilliput.train.data.bucket` are taken for it.
        validation, test, unlabelled: files that stand for those in the folder.
        columns: columns by role (``text``, ``pair``, ``label``), where their names are not among the usual ones.
        slice_column: column whose values the evaluation is broken down by.
        allow_overlap: report texts that two labelled splits share instead of refusing them.

    Raises:
        DataError: names the file, the line where there is one, and what to do.
    """
    given = {"validation": validation, "test": test, "unlabelled": unlabelled}
    files = _find(path) | {name: Path(file) for name, file in given.items() if file is not None}
    ledger = Ledger()
    rows = {
        split: read_rows(file, ledger, task, columns or {}, labelled=split != "unlabelled", slice_column=slice_column)
        for split, file in files.items()
    }
    transfer = rows.pop("unlabelled", [])
    _split_off(rows, task, ledger)
    names = _label_names(task, rows["train"], files["train"])
    for split in ("validation", "test"):
        rows[split] = _with_known_labels(task, rows[split], names, ledger)
    for split, found in rows.items():
        if not found:
            raise DataError(_nothing_left(files.get(split, files["train"]), split, ledger))
    if not allow_overlap:
        _refuse_overlap(task, rows)
    return assemble(Path(path).resolve().stem, task, names, rows, transfer, {}, ledger)


def _find(path: Path) -> dict[str, Path]:
    """The file of each split."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if path.is_file():
        return {"train": path}
    found: dict[str, Path] = {}
    for split, stems in _STEMS.items():
        endings = (*TABLES, ".txt") if split == "unlabelled" else TABLES
        matches = [file for file in sorted(path.iterdir()) if file.stem in stems and file.suffix.lower() in endings]
        if len(matches) > 1:
            raise DataError(f"{path}: which one is {split}? Keep one of {', '.join(file.name for file in matches)}")
        if matches:
            found[split] = matches[0]
    if "train" not in found:
        names = ", ".join(sorted(file.name for file in path.iterdir())[:12]) or "nothing"
        raise DataError(f"{path} has no train file (train.csv, train.tsv or train.jsonl); it holds {names}")
    return found


def _split_off(rows: dict[str, list[Row]], task: Task, ledger: Ledger) -> None:
    """Take the rows of a bucket out of training for each split that has no file."""
    for split, number in (("validation", VALIDATION_BUCKET), ("test", TEST_BUCKET)):
        if split in rows:
            continue
        taken = [bucket(task.text_of(row.input)) == number for row in rows["train"]]
        rows[split] = [row for row, there in zip(rows["train"], taken, strict=True) if there]
        rows["train"] = [row for row, there in zip(rows["train"], taken, strict=True) if not there]
        ledger.notes.append(f"no {split} file: {len(rows[split]):,} rows of the training file (bucket {number}) are it")


def _label_names(task: Task, train: Sequence[Row], file: Path) -> tuple[str, ...]:
    """The labels that occur in training, where there are enough of them for the task."""
    names = task.label_names([row.target for row in train])
    if train and len(names) < task.fewest_labels:
        raise DataError(f"{file}: every training row has the label {names[0]!r}; a classifier needs at least two")
    return names


def _with_known_labels(task: Task, rows: Sequence[Row], names: Sequence[str], ledger: Ledger) -> list[Row]:
    kept = []
    for row in rows:
        try:
            task.index(row.target, names)
        except RowFault as fault:
            ledger.reject(str(fault), row.file, row.line)
        else:
            kept.append(row)
    return kept


def _nothing_left(file: Path, split: str, ledger: Ledger) -> str:
    if not ledger.rejected:
        return f"{file}: too few rows to take the {split} rows out of it; add rows, or give a {split} file"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in ledger.rejected.most_common())
    return f"{file}: no row is left for {split}. Rejected: {reasons}; the first is {ledger.samples[0]}"


def _refuse_overlap(task: Task, rows: dict[str, list[Row]]) -> None:
    """Equal texts in two labelled splits make the figures too good: an error that names the first one."""
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        first: dict[str, Row] = {}
        for row in rows[one]:
            first.setdefault(normalise(task.text_of(row.input)), row)
        shared = [row for row in rows[other] if normalise(task.text_of(row.input)) in first]
        if shared:
            row = shared[0]
            twin = first[normalise(task.text_of(row.input))]
            more = f" ({len(shared):,} rows of {other} are also in {one})" if len(shared) > 1 else ""
            raise DataError(
                f"{row.file}:{row.line}: the same text is in {one}, at {twin.file}:{twin.line}{more}. "
                "Remove it from one of them, or read both with --allow-overlap."
            )
