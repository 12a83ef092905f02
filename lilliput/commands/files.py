"""Files of inputs, row by row, and of answers beside them: what ``lilliput predict --in --out`` reads and writes."""

from __future__ import annotations

import contextlib
import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lilliput.errors import ConfigError, DataError, MissingDependencyError
from lilliput.shell import written
from lilliput.tasks import Task
from lilliput.train.data_report import Unusable
from lilliput.train.tables import TABLES, WRONG_COLUMNS, Record, Table, lines, open_table, other_separator

READABLE = (".txt", *TABLES)
WRITABLE = (".csv", ".tsv", ".jsonl", ".parquet")
ROWS = 4096
"""Rows of a Parquet file that are in memory at a time."""
LONGEST_CELL = 1 << 24
"""Characters of a cell of a CSV file; the csv module's own limit is that of a long text."""

Row = dict[str, Any]


def read(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a file, with the place of each for messages. It is read as training reads it, but no row is left out.

    A .txt file has a text a line, in the column ``text``.

    Raises:
        ConfigError: the file is of a kind that can't be read.
        DataError: there is no such file, it holds no rows, or a row is malformed; the message names file and line.
    """
    if path.suffix.lower() not in READABLE:
        raise ConfigError(f"--in {path}: of no kind that can be read; known are {', '.join(READABLE)}")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"--in {path}: the file is empty")
    place = None
    try:
        table = _open(path)
        for name, count in Counter(table.names).items():
            if count > 1:
                raise DataError(f"{path}:1: {count} columns are called {name!r}; rename all but one")
        for record in table.records:
            place = f"{path}:{record.line}"
            if record.fault is not None:
                detail = f" ({record.detail})" if record.detail else ""
                raise DataError(f"{place}: {record.fault}{detail}{_hint(table.names)}")
            _refuse_surrogates(place, record.values)
            yield place, dict(record.values)
    except Unusable as error:
        raise DataError(str(error) if error.finding.line else f"--in {error}") from None
    if place is None:
        raise DataError(f"--in {path}: there are no rows under its header")


def columns(
    task: Task, header: Iterable[str], chosen: Mapping[str, str | None], given: Collection[str], path: Path
) -> dict[str, str]:
    """The column of each part of the task's inputs: the one that a flag names, one of the part's name, or a usual one.

    Only a name that a flag gives must be written as in the file; the case of others does not matter.

    Args:
        chosen: by role, ``text`` and ``pair``.
        given: parts that need no column.

    Raises:
        ConfigError: a column that is needed is not there.
    """
    there = list(header)
    lowered = {name.lower(): name for name in reversed(there)}
    found: dict[str, str] = {}
    for role, part in zip(("text", "pair"), task.inputs, strict=False):
        if part in given:
            continue
        named = chosen.get(role)
        if named and named not in there:
            raise ConfigError(f"--{role}-column {named}: {path} has no such column; it has {_shown(there)}")
        taken = {*found.values(), *chosen.values()}
        usual = (part, *(task.columns[role].usual if role in task.columns else ()))
        free = (lowered[name] for name in usual if name in lowered and lowered[name] not in taken)
        column = named or next(free, None)
        if column is not None:
            found[part] = column
        elif part == task.inputs[0] or task.both:
            raise ConfigError(f"--{role}-column: {path} has no column for {part}; it has {_shown(there)}")
    return found


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Sink]:
    """What takes the rows of a file, which appears when all are written.

    The kind is that of the path's ending, .csv, .tsv, .jsonl or .parquet.

    Raises:
        ConfigError: the file is of no such kind, or can't be written.
        DataError: a file of this kind can't hold the rows.
    """
    kind = path.suffix.lower()
    if kind not in WRITABLE:
        raise ConfigError(f"--out {path}: of no kind that can be written; known are {', '.join(WRITABLE)}")
    if kind == ".parquet":
        _pyarrow()
    with written("--out", path, "wb" if kind == ".parquet" else "w") as file:
        sink = _SINKS[kind](path, file)
        try:
            yield sink
        except BaseException:
            with contextlib.suppress(Exception):  # the first error tells more
                sink.close()
            raise
        sink.close()


class Sink:
    """Takes the rows of a file, some at a time. Made by `writing`; here as a table, whose rows are all alike."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self.file = path, file
        self.names: list[str] = []

    def write(self, rows: list[tuple[str, Row]]) -> None:
        """Add rows, each with its place in the input; they have the columns of the first one, or lack some.

        Raises:
            DataError: a row has a further column, or this kind of file can't hold a value.
        """
        first = not self.names
        self.names = self.names or list(rows[0][1])
        known = set(self.names)
        for place, row in rows:
            if more := [name for name in row if name not in known]:
                raise DataError(
                    f"{place}: the first row has no {more[0]!r}, so there is no column for it in {self.path}; give all "
                    "rows the same columns, or use --out FILE.jsonl"
                )
        self.add([(place, [row.get(name) for name in self.names]) for place, row in rows], first)

    def add(self, rows: list[tuple[str, list[Any]]], first: bool) -> None:
        """Add rows as cells, in the order of the names; the ``first`` ones come with a header."""
        raise NotImplementedError

    def close(self) -> None:
        """Write what is still to be written."""


class _Csv(Sink):
    def add(self, rows: list[tuple[str, list[Any]]], first: bool) -> None:
        csv.writer(self.file).writerows([*([self.names] if first else []), *(cells for _, cells in rows)])


class _Tsv(Sink):
    def add(self, rows: list[tuple[str, list[Any]]], first: bool) -> None:
        for place, cells in [*([("header", self.names)] if first else []), *rows]:
            texts = ["" if cell is None else str(cell) for cell in cells]
            for name, text in zip(self.names, texts, strict=True):
                if not {"\t", "\n", "\r"}.isdisjoint(text):
                    raise DataError(
                        f"{place}: the column {name!r} holds a tab or a line break, which .tsv can't; "
                        "use --out FILE.csv or FILE.jsonl"
                    )
            self.file.write("\t".join(texts) + "\n")


class _Jsonl(Sink):
    def write(self, rows: list[tuple[str, Row]]) -> None:
        """Add rows; each keeps its own keys. What JSON does not know, such as a date, is written as text."""
        self.file.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for _, row in rows)


class _Parquet(Sink):
    """The first rows decide on the types of the columns."""

    _sink: Any = None

    def add(self, rows: list[tuple[str, list[Any]]], first: bool) -> None:
        pyarrow, parquet = _pyarrow()
        cells = zip(*(cells for _, cells in rows), strict=True)
        arrays = [self._array(name, list(column)) for name, column in zip(self.names, cells, strict=True)]
        table = pyarrow.table(arrays, self.names)
        if first:
            self._sink = parquet.ParquetWriter(self.file, table.schema)
        self._sink.write_table(table)

    def _array(self, name: str, values: list[Any]) -> Any:
        pyarrow, parquet = _pyarrow()
        try:
            if self._sink is not None:
                return pyarrow.array(values, self._sink.schema.field(name).type)
            array = pyarrow.array(values)
            parquet.write_table(pyarrow.table([array], [name]), pyarrow.BufferOutputStream())  # Arrow holds more kinds
            return array
        except (pyarrow.ArrowException, OverflowError, TypeError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"--out {self.path}: column {name!r} can't be a column of Parquet ({reason}); use --out FILE.jsonl"
            ) from None

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()


def answer_columns(answer: Any) -> Row:
    """An answer as columns: its parts where it is one of several, else JSON of it."""
    if isinstance(answer, dict):
        return {f"predicted_{name}": value for name, value in answer.items()}
    return {"predicted": json.dumps(answer, ensure_ascii=False)}


def _open(path: Path) -> Table:
    kind = path.suffix.lower()
    if kind == ".txt":  # a blank line is a text, too
        return Table(["text"], (Record(number, {"text": line.rstrip("\r\n")}) for number, line in lines(path)))
    if kind == ".csv":
        return _csv(path)
    return _parquet(path) if kind == ".parquet" else open_table(path)


def _csv(path: Path) -> Table:
    """Blank lines are no rows; an empty text in quotes is one."""
    records = _cells(path)
    _, header = next(records, (1, []))
    names = [name.strip() for name in header]

    def rows() -> Iterator[Record]:
        for line, cells in records:
            if len(cells) == len(names):
                yield Record(line, dict(zip(names, cells, strict=True)))
            elif len(cells) > 1 or cells[0].strip():
                yield Record(line, {}, WRONG_COLUMNS, f"{len(cells)} instead of {len(names)}")

    return Table(names, rows())


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record begins, and its cells."""
    reader, line = csv.reader((line for _, line in lines(path)), strict=True), 1
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{line}: malformed row ({error}); check its quotes") from None
    finally:
        csv.field_size_limit(before)


def _parquet(path: Path) -> Table:
    """Its lines are the numbers of its rows."""
    pyarrow, parquet = _pyarrow()
    try:
        file = parquet.ParquetFile(path)
    except OSError as error:
        raise DataError(f"--in {path}: can't be read: {error.strerror or error}") from None
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None

    def rows() -> Iterator[Record]:
        number = 0
        try:
            with file:
                for batch in file.iter_batches(ROWS):
                    for row in batch.to_pylist():
                        number += 1
                        yield Record(number, row)
        except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as error:
            raise DataError(f"{path}: can't be read after row {number:,}: {str(error).splitlines()[0]}") from None

    return Table(file.schema_arrow.names, rows())


def _refuse_surrogates(place: str, row: Mapping[str, Any]) -> None:
    """Raise `DataError` where a row holds what can't be written as UTF-8."""
    for name, value in row.items():
        nested = isinstance(value, (dict, list))
        text = json.dumps(value, ensure_ascii=False, default=str) if nested else value
        try:
            f"{name}{text}".encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{place}: the column {name!r} holds a lone surrogate, or bytes that are not UTF-8 text; "
                "mend the row, or save the file as UTF-8"
            ) from None


def _shown(names: list[str]) -> str:
    return (", ".join(names) or "none") + _hint(names)


def _hint(names: list[str]) -> str:
    """What follows a message about columns where another separator seems to be the cause."""
    other = other_separator(names)
    return f". {other}" if other else ""


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            "pyarrow is not installed, which Parquet needs: pip install pyarrow, or use .csv or .jsonl"
        ) from error
    return pyarrow, parquet


_SINKS = {".csv": _Csv, ".tsv": _Tsv, ".jsonl": _Jsonl, ".parquet": _Parquet}
