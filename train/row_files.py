"""Rows out of CSV, TSV, JSONL and plain text files; a faulty row is rejected with its line, the rest is read on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilliput.errors import DataError
from lilliput.train.data import Row
from lilliput.train.data_report import Ledger

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
TEXT_COLUMNS = ("text", "sentence", "review", "content", "document", "body", "comment", "tweet", "message", "title")
LABEL_COLUMNS = ("label", "labels", "class", "category", "sentiment", "target", "intent", "topic", "y")

MALFORMED = "malformed row"
WRONG_COLUMNS = "wrong number of columns"
NOT_UTF8 = "invalid UTF-8"
NUL = "NUL byte"
NO_TEXT = "empty text"
NO_LABEL = "missing label"


class _FaultyRowError(Exception):
    """Why one row can't be used; never leaves this file."""


@dataclass(frozen=True)
class Columns:
    """The columns that a user named; None means that the usual names are tried."""

    text: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class _Record:
    """One record of a file: column values, or the reason why it has none."""

    line: int
    values: dict[str, Any]
    fault: str | None = None


def read_rows(path: Path, ledger: Ledger, columns: Columns, *, labelled: bool) -> list[Row]:
    """The usable rows of a file; every other row is rejected in ``ledger``. Blank lines are not rows.

    CSV follows RFC 4180 (quoted fields may hold line breaks); TSV has no quoting, so no line breaks in fields. Where
    a quote is never closed, only the line that opens it is lost: reading goes on with the next line.

    Raises:
        DataError: the file can't be read, is empty, is not UTF-8 at all, or lacks a column.
    """
    lines = _lines(path)
    if path.suffix.lower() == ".txt":
        records, text_key, label_key = _text_records(lines), "text", None
    else:
        records, names = _table(path, lines)
        text_key = _column(path, names, columns.text, TEXT_COLUMNS, "text")
        label_key = _column(path, names, columns.label, LABEL_COLUMNS, "label") if labelled else None
        ledger.notes.append(
            f"{path}: text from column {text_key!r}" + (f", label from {label_key!r}" if labelled else "")
        )
    rows, before = [], ledger.rows_in
    for record in records:
        ledger.rows_in += 1
        try:
            rows.append(_row(record, path, text_key, label_key))
        except _FaultyRowError as fault:
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


def _column(path: Path, names: Sequence[str], chosen: str | None, usual: Sequence[str], what: str) -> str:
    """The name of the text or label column: the one chosen, or the first of the usual names that is there."""
    if chosen is not None:
        if chosen in names:
            return chosen
        raise DataError(f"{path}:1: there is no column {chosen!r}; there are {_quoted(names)}")
    lowered = {name.lower(): name for name in reversed(names)}
    for name in usual:
        if name in lowered:
            return lowered[name]
    raise DataError(
        f"{path}:1: no {what} column: none of {', '.join(usual)} is among {_quoted(names)}. "
        f"Rename the column, or name it with --{what}-column."
    )


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "") if names else "no columns"


def _row(record: _Record, path: Path, text_key: str, label_key: str | None) -> Row:
    if record.fault is not None:
        raise _FaultyRowError(record.fault)
    text = record.values.get(text_key)
    if text is None:
        raise _FaultyRowError(NO_TEXT)
    if not isinstance(text, str):
        raise _FaultyRowError(MALFORMED)
    text = _clean(text).strip()
    if not text:
        raise _FaultyRowError(NO_TEXT)
    label = None if label_key is None else _label(record.values.get(label_key))
    return Row(text, label, str(path), record.line)


def _clean(value: str) -> str:
    """``value`` where it is text that can be written as UTF-8 and holds no NUL."""
    if "\0" in value:
        raise _FaultyRowError(NUL)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _FaultyRowError(NOT_UTF8) from error
    return value


def _label(value: Any) -> str:
    """The name of a label: 1 and "1" and 1.0 are the same one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise _FaultyRowError(MALFORMED)
    label = _clean(value or "").strip()
    if not label:
        raise _FaultyRowError(NO_LABEL)
    return label
