"""Rows out of CSV, TSV, JSONL and plain text files; a faulty row is rejected with its line, the rest is read on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilliput.errors import DataError
from lilliput.tasks import MALFORMED, NUL, Column, RowFault, Task
from lilliput.train.data import Row
from lilliput.train.data_report import Ledger

FLAGS = ("text", "pair", "label")
"""Roles whose column a flag can name."""
SLICE = "slice"
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
WRONG_COLUMNS = "wrong number of columns"


@dataclass(frozen=True)
class _Record:
    """One record of a file: column values, or the reason why it has none."""

    line: int
    values: dict[str, Any]
    fault: str | None = None


def read_rows(
    path: Path,
    ledger: Ledger,
    task: Task,
    chosen: Mapping[str, str],
    *,
    labelled: bool,
    slice_column: str | None = None,
) -> list[Row]:
    """The usable rows of a file; every other row is rejected in ``ledger``. Blank lines are not rows.

    CSV follows RFC 4180 (quoted fields may hold line breaks); TSV has no quoting, so no line breaks in fields. Where
    a quote is never closed, only the line that opens it is lost: reading goes on with the next line.

    Args:
        chosen: the columns that a user named, by role; for the others the usual names are tried.
        labelled: whether the task's targets are read too.
        slice_column: column whose values are kept beside the rows.

    Raises:
        DataError: the file can't be read, is empty, is not UTF-8 at all, or lacks a column.
    """
    lines = _lines(path)
    if path.suffix.lower() == ".txt":
        records, keys = _text_records(lines), {"text": "text"}
    else:
        records, names = _table(path, lines)
        roles = {role: column for role, column in task.columns.items() if labelled or role not in task.targets}
        keys = _columns(path, names, roles, chosen)
        ledger.notes.append(f"{path}: " + ", ".join(f"{role} from column {key!r}" for role, key in keys.items()))
        if slice_column is not None and labelled:
            keys[SLICE] = _named(path, names, slice_column)
    rows, before = [], ledger.rows_in
    for record in records:
        ledger.rows_in += 1
        try:
            rows.append(_row(record, path, task, keys))
        except RowFault as fault:
            ledger.reject(str(fault), str(path), record.line)
    if ledger.rows_in == before:
        raise DataError(f"{path} has no rows")
    return rows


def _lines(path: Path) -> list[str]:
    """Lines with their ends; bytes that are not UTF-8 become lone surrogates, which :func:`_clean` finds."""
    try:
        with path.open("rb") as stream:
            raw = list(stream)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if not any(line.strip() for line in raw):
        raise DataError(f"{path} is empty")
    if raw[0].startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path}:1: this is UTF-16; save the file as UTF-8")
    raw[0] = raw[0].removeprefix(b"\xef\xbb\xbf")
    return [line.decode("utf-8", errors="surrogateescape") for line in raw]


def _table(path: Path, lines: list[str]) -> tuple[Iterator[_Record], list[str]]:
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        records = list(_json_records(lines))
        return iter(records), next((list(record.values) for record in records if record.fault is None), [])
    if suffix not in TABLES:
        raise DataError(f"{path}: {suffix or 'a file without an ending'} can't be read; use one of {', '.join(TABLES)}")
    records_of_cells = _tsv_cells(lines) if suffix == ".tsv" else _csv_cells(lines)
    line, header = next(records_of_cells, (1, None))
    if header is None:
        raise DataError(f"{path}:{line}: the header can't be read: check its quotes")
    names = [name.strip() for name in header]
    return _cell_records(records_of_cells, names), names


def _csv_cells(lines: list[str]) -> Iterator[tuple[int, list[str] | None]]:
    """Line and cells of each record, None where the record is malformed."""
    start = 0
    while start < len(lines):
        reader = csv.reader((lines[index] for index in range(start, len(lines))), strict=True)
        done = 0
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells) or len(cells) > 1:
                    yield start + done + 1, cells
                done = reader.line_num
            return
        except csv.Error:
            yield start + done + 1, None
            start += done + 1


def _tsv_cells(lines: list[str]) -> Iterator[tuple[int, list[str] | None]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line.rstrip("\r\n").split("\t")


def _cell_records(records: Iterator[tuple[int, list[str] | None]], names: Sequence[str]) -> Iterator[_Record]:
    for line, cells in records:
        if cells is None:
            yield _Record(line, {}, MALFORMED)
        elif len(cells) != len(names):
            yield _Record(line, {}, WRONG_COLUMNS)
        else:
            yield _Record(line, dict(zip(names, cells, strict=True)))


def _json_records(lines: list[str]) -> Iterator[_Record]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            yield _Record(number, {}, NUL if "\0" in line else MALFORMED)
            continue
        yield _Record(number, value) if isinstance(value, dict) else _Record(number, {}, MALFORMED)


def _text_records(lines: list[str]) -> Iterator[_Record]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _Record(number, {"text": line.rstrip("\r\n")})


def _columns(
    path: Path, names: Sequence[str], roles: Mapping[str, Column], chosen: Mapping[str, str]
) -> dict[str, str]:
    """The name of the column of each role: the one chosen, or the first of the usual names that is there."""
    lowered = {name.lower(): name for name in reversed(names)}
    found: dict[str, str] = {}
    for role, column in roles.items():
        free = (lowered[name] for name in column.usual if name in lowered and lowered[name] not in found.values())
        name = _named(path, names, chosen[role]) if role in chosen else next(free, None)
        if name is not None:
            found[role] = name
        elif column.required:
            raise DataError(
                f"{path}:1: no {role} column: none of {', '.join(column.usual)} is among {_quoted(names)}. "
                "Rename the column" + (f", or name it with --{role}-column." if role in FLAGS else ".")
            )
    return found


def _named(path: Path, names: Sequence[str], name: str) -> str:
    if name in names:
        return name
    raise DataError(f"{path}:1: there is no column {name!r}; there are {_quoted(names)}")


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "") if names else "no columns"


def _row(record: _Record, path: Path, task: Task, keys: Mapping[str, str]) -> Row:
    if record.fault is not None:
        raise RowFault(record.fault)
    cells = {role: record.values.get(key) for role, key in keys.items()}
    group = cells.pop(SLICE, None)
    item, target = task.read(cells)
    return Row(item, target, str(path), record.line, "" if group is None else str(group))
