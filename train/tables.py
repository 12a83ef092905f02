"""Records of table files, streamed: CSV, TSV, JSONL, Parquet, plain text. One that can't be read says why.

Text may hold lone surrogates where a file has bytes that are not UTF-8, and a value may be a `RowFault`: both are for
the reader of the records to reject.
"""

from __future__ import annotations

import csv
import functools
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from lilliput.tasks import MALFORMED, NOT_UTF8, NUL, RowFault
from lilliput.train.data_report import Unusable

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
WRONG_COLUMNS = "wrong number of columns"
UNREADABLE = "unreadable file"
EMPTY = "empty file"
PARQUET_ROWS = 500
"""Rows of a batch: enough to be quick, few enough for texts of many pages."""
_LOOK_AHEAD = 100
"""Objects of a JSONL file whose keys are taken for its columns."""


SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


def other_separator(names: Sequence[str]) -> str:
    """A hint where a header seems to have other separators than its file's ending promises; nothing else."""
    for separator, word in SEPARATORS.items():
        if len(names) == 1 and separator in names[0]:
            return f"Its columns seem to be separated by {word}: .csv needs commas, .tsv tabs"
    return ""


class Record(NamedTuple):
    """One record: its line (in Parquet its number, from 1) and its values, or the reason why it has none."""

    line: int
    values: Mapping[str, Any]
    fault: str | None = None
    detail: str = ""


class Table(NamedTuple):
    """Names of the columns, and the records."""

    names: list[str]
    records: Iterator[Record]


def open_table(path: Path) -> Table:
    """The table in a file. Blank lines are no records.

    CSV follows RFC 4180 (quoted fields may hold line breaks); TSV has no quoting, so no line breaks in fields. Where
    a quote is never closed, only the line that opens it is lost: reading goes on with the next line.

    Raises:
        Unusable: the file can't be read, is empty, or is not what its ending says; also while records are read.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path)
    if suffix == ".txt":
        return Table(["text"], _not_none(path, _text_records(lines(path))))
    if suffix in (".jsonl", ".ndjson"):
        return _json_table(path)
    if suffix in (".csv", ".tsv"):
        return _cell_table(path, tsv_cells(lines(path)) if suffix == ".tsv" else csv_cells(lines(path)))
    ending = suffix or "a file without an ending"
    raise Unusable(UNREADABLE, path, None, f"{ending} can't be read; use one of {', '.join(TABLES)}")


# --- lines ------------------------------------------------------------------------------------------------------------


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers and lines with their ends; bytes that are not UTF-8 become lone surrogates."""
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                line = _first_line(path, raw) if number == 1 else raw
                yield number, line.decode("utf-8", errors="surrogateescape")
    except OSError as error:
        raise Unusable(UNREADABLE, path, None, f"can't be read: {error.strerror or error}") from error


def _first_line(path: Path, raw: bytes) -> bytes:
    """A file's first line without its byte order mark."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unusable(UNREADABLE, path, 1, "this is UTF-16; save the file as UTF-8")
    if 4 * raw.count(0) > len(raw):
        raise Unusable(UNREADABLE, path, 1, "this is UTF-16 or no text at all; save the file as UTF-8")
    return raw.removeprefix(b"\xef\xbb\xbf")


def _not_none(path: Path, records: Iterator[Record]) -> Iterator[Record]:
    """The records, of which there must be one."""
    first = next(records, None)
    if first is None:
        raise Unusable(EMPTY, path, None, "the file is empty")
    return chain([first], records)


def _text_records(numbered: Iterator[tuple[int, str]]) -> Iterator[Record]:
    for number, line in numbered:
        if line.strip():
            yield Record(number, {"text": line.rstrip("\r\n")})


# --- CSV and TSV ------------------------------------------------------------------------------------------------------


class _Lines:
    """Lines that can be read again, from the second one on that was taken for the record in work."""

    def __init__(self, numbered: Iterator[tuple[int, str]]) -> None:
        self.taken: list[tuple[int, str]] = []
        self._again: deque[tuple[int, str]] = deque()
        self._numbered = numbered

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        self.taken.append(self._again.popleft() if self._again else next(self._numbered))
        return self.taken[-1][1]

    def rewind(self) -> None:
        """Give back all lines of the record in work but its first."""
        self._again.extendleft(reversed(self.taken[1:]))
        self.taken.clear()


def csv_cells(numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Line and cells of each record, or what is wrong where it is malformed.

    A quote that is never closed is noticed at the latest when its field is longer than the csv module allows (128
    KiB), so no more than that is read twice.
    """
    source = _Lines(numbered)
    while True:
        try:
            for cells in csv.reader(source, strict=True):
                if len(cells) > 1 or any(cell.strip() for cell in cells):
                    yield source.taken[0][0], cells
                source.taken.clear()
            return
        except csv.Error as error:
            yield source.taken[0][0], error
            source.rewind()


def tsv_cells(numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Line and cells of each record."""
    for number, line in numbered:
        if line.strip():
            yield number, line.rstrip("\r\n").split("\t")


def _cell_table(path: Path, records: Iterator[tuple[int, list[str] | csv.Error]]) -> Table:
    line, header = next(records, (1, []))
    if isinstance(header, csv.Error):
        raise Unusable(UNREADABLE, path, line, "the header can't be read: check its quotes and line ends")
    if not header:
        raise Unusable(EMPTY, path, None, "the file is empty")
    names = [name.strip() for name in header]
    return Table(names, _cell_records(records, names))


def _cell_records(records: Iterator[tuple[int, list[str] | csv.Error]], names: Sequence[str]) -> Iterator[Record]:
    for line, cells in records:
        if isinstance(cells, csv.Error):
            yield Record(line, {}, MALFORMED, _in_words(cells))
        elif len(cells) != len(names):
            yield Record(line, {}, WRONG_COLUMNS, f"{len(cells)} instead of {len(names)}")
        else:
            yield Record(line, dict(zip(names, cells, strict=True)))


def _in_words(fault: csv.Error) -> str:
    if "field limit" not in str(fault):
        return "check its quotes"
    longest = f"a cell has more than {csv.field_size_limit():,} characters"
    return f"{longest}: check its quotes, or keep texts of that length in .jsonl or .parquet"


# --- JSONL ------------------------------------------------------------------------------------------------------------


def _json_table(path: Path) -> Table:
    records = _json_records(lines(path))
    seen: list[Record] = []
    names: dict[str, None] = {}
    for record in records:
        seen.append(record)
        names |= dict.fromkeys(record.values)
        if len(seen) >= _LOOK_AHEAD and names:
            break
    if not seen:
        raise Unusable(EMPTY, path, None, "the file is empty")
    if not names:
        raise Unusable(UNREADABLE, path, seen[0].line, "no line of it is a JSON object with keys")
    return Table(list(names), chain(seen, records))


def _json_records(numbered: Iterator[tuple[int, str]]) -> Iterator[Record]:
    for number, line in numbered:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            yield Record(number, {}, NUL if "\0" in line else MALFORMED, f"{error.msg}, column {error.colno}")
        except (ValueError, RecursionError):
            yield Record(number, {}, MALFORMED, "lists in lists without end, or a number of too many digits")
        else:
            known = isinstance(value, dict)
            yield Record(number, value) if known else Record(number, {}, MALFORMED, "not a JSON object")


# --- Parquet and Arrow ------------------------------------------------------------------------------------------------


def _parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise Unusable(UNREADABLE, path, None, f"not a usable Parquet file: {_in_short(error)}") from error

    def batches() -> Iterator[Any]:
        try:
            with file:
                yield from file.iter_batches(PARQUET_ROWS)
        except (OSError, pyarrow.ArrowException) as error:
            raise Unusable(UNREADABLE, path, None, f"not a usable Parquet file: {_in_short(error)}") from error

    return arrow_table(file.schema_arrow, batches())


def arrow_table(schema: Any, batches: Iterator[Any]) -> Table:
    """The rows of Arrow batches; numbers of the ``datasets`` package's ClassLabel become the names they stand for."""
    names = [name.strip() for name in schema.names]
    named = _label_names(schema)
    return Table(names, _arrow_records(names, [named.get(name) for name in schema.names], batches))


def _arrow_records(
    names: Sequence[str], labels: Sequence[Sequence[str] | None], batches: Iterator[Any]
) -> Iterator[Record]:
    start = 1
    for batch in batches:
        columns = [_cells(column, known) for column, known in zip(batch.columns, labels, strict=True)]
        for number, cells in enumerate(zip(*columns, strict=True), start=start):
            yield Record(number, dict(zip(names, cells, strict=True)))
        start += batch.num_rows


def _cells(column: Any, labels: Sequence[str] | None) -> list[Any]:
    """The values of a column; one that Python can't hold is a RowFault."""
    try:
        values = column.to_pylist()
    except (ValueError, OverflowError):  # of which text that is not UTF-8 is one
        values = [_cell(value.as_py) for value in column]
    return values if labels is None else [_cell(functools.partial(_name, value, labels)) for value in values]


def _cell(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except UnicodeDecodeError:
        return RowFault(NOT_UTF8)
    except (ValueError, OverflowError, IndexError):
        return RowFault(MALFORMED)


def _name(value: Any, labels: Sequence[str]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_name(one, labels) for one in value]
    return labels[value] if isinstance(value, int) and value >= 0 else None  # -1 stands for a label that is not there


def _label_names(schema: Any) -> dict[str, Sequence[str]]:
    """Names of the labels by column, as the ``datasets`` package notes them in a schema, also of lists of labels."""
    if b"huggingface" not in (schema.metadata or {}):
        return {}
    from datasets import ClassLabel, Features

    found = {}
    for name, feature in Features.from_arrow_schema(schema).items():
        while not isinstance(feature, (ClassLabel, dict)) and hasattr(feature, "feature"):
            feature = feature.feature
        if isinstance(feature, ClassLabel):
            found[name] = feature.names
    return found


def _in_short(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
