"""A user's own data: a folder of split files, named files, or one file that is split by the bucket rule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lilliput.errors import ConfigError, DataError
from lilliput.train.data import Dataset, Row, assemble, bucket, normalise
from lilliput.train.data_report import Ledger
from lilliput.train.row_files import TABLES, Columns, read_rows

NEVER_TRAINED = "label that never occurs in training"
VALIDATION_BUCKET, TEST_BUCKET = 8, 9

_STEMS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
    "unlabelled": ("unlabelled", "unlabeled", "transfer"),
}


def read(
    path: Path,
    task: str = "classification",
    *,
    validation: Path | None = None,
    test: Path | None = None,
    unlabelled: Path | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    allow_overlap: bool = False,
) -> Dataset:
    """Read a data set for ``task``; faulty rows are rejected and counted, faults of the whole raise DataError.

    Args:
        path: a folder with train, validation, test and perhaps unlabelled files (.csv, .tsv, .jsonl; unlabelled also
            .txt), or the training file. Where there is no validation or no test file, the training rows of bucket 8
            or 9 of :func:`lilliput.train.data.bucket` are taken for it.
        task: "classification".
        validation, test, unlabelled: files that stand for those in the folder.
        text_column, label_column: column names, where they are not among the usual ones.
        allow_overlap: report texts that two labelled splits share instead of refusing them.

    Raises:
        ConfigError: an unknown task.
        DataError: names the file, the line where there is one, and what to do.
    """
    if task != "classification":
        raise ConfigError(f"no reader for the task {task!r}; there is one for 'classification'")
    given = {"validation": validation, "test": test, "unlabelled": unlabelled}
    files = _find(path) | {name: Path(file) for name, file in given.items() if file is not None}
    ledger, columns = Ledger(), Columns(text_column, label_column)
    rows = {split: read_rows(file, ledger, columns, labelled=split != "unlabelled") for split, file in files.items()}
    transfer = rows.pop("unlabelled", [])
    _split_off(rows, ledger)
    names = _label_names(rows["train"], files["train"])
    for split in ("validation", "test"):
        rows[split] = _with_known_labels(rows[split], names, ledger)
    for split, found in rows.items():
        if not found:
            raise DataError(_nothing_left(files.get(split, files["train"]), split, ledger))
    if not allow_overlap:
        _refuse_overlap(rows)
    return assemble(Path(path).resolve().stem, names, rows, transfer, {}, ledger)


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


def _split_off(rows: dict[str, list[Row]], ledger: Ledger) -> None:
    """Take the rows of a bucket out of training for each split that has no file."""
    for split, number in (("validation", VALIDATION_BUCKET), ("test", TEST_BUCKET)):
        if split in rows:
            continue
        rows[split] = [row for row in rows["train"] if bucket(row.text) == number]
        rows["train"] = [row for row in rows["train"] if bucket(row.text) != number]
        ledger.notes.append(f"no {split} file: {len(rows[split]):,} rows of the training file (bucket {number}) are it")


def _label_names(train: Sequence[Row], file: Path) -> tuple[str, ...]:
    """The labels of training, in numeric order where all are whole numbers, else alphabetically."""
    names = {row.label for row in train if row.label is not None}
    if len(names) == 1:
        raise DataError(f"{file}: every training row has the label {names.pop()!r}; a classifier needs at least two")
    try:
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(names))


def _with_known_labels(rows: Sequence[Row], names: Sequence[str], ledger: Ledger) -> list[Row]:
    kept = []
    for row in rows:
        if row.label in names:
            kept.append(row)
        else:
            ledger.reject(NEVER_TRAINED, row.file, row.line)
    return kept


def _nothing_left(file: Path, split: str, ledger: Ledger) -> str:
    if not ledger.rejected:
        return f"{file}: too few rows to take the {split} rows out of it; add rows, or give a {split} file"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in ledger.rejected.most_common())
    return f"{file}: no row is left for {split}. Rejected: {reasons}; the first is {ledger.samples[0]}"


def _refuse_overlap(rows: dict[str, list[Row]]) -> None:
    """Equal texts in two labelled splits make the figures too good: an error that names the first one."""
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        first: dict[str, Row] = {}
        for row in rows[one]:
            first.setdefault(normalise(row.text), row)
        shared = [row for row in rows[other] if normalise(row.text) in first]
        if shared:
            row = shared[0]
            twin = first[normalise(row.text)]
            more = f" ({len(shared):,} rows of {other} are also in {one})" if len(shared) > 1 else ""
            raise DataError(
                f"{row.file}:{row.line}: the same text is in {one}, at {twin.file}:{twin.line}{more}. "
                "Remove it from one of them, or read both with --allow-overlap."
            )
