"""Files of inputs, row by row, and of answers beside them: what ``lilliput predict --in --out`` reads and writes."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lilliput.errors import ConfigError, DataError, MissingDependencyError
from lilliput.tasks import Task

KINDS = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
ROWS = 4096
"""Rows of a Parquet file that are in memory at a time."""

Row = dict[str, Any]


def read(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a file, with the place of each for messages.

    A .txt file has a text a line, in the column ``text``.

    Raises:
        ConfigError: there is no such file, or it is of a kind that can't be read.
        DataError: a row is malformed; the message names file and line.
    """
    if path.suffix.lower() not in KINDS:
        raise ConfigError(f"--in {path}: of no kind that can be read; known are {', '.join(KINDS)}")
    if path.suffix.lower() == ".parquet":
        yield from _parquet(path)
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _READERS[path.suffix.lower()](path, file)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"--in {path}: {error.strerror}") from None


def columns(task: Task, header: Iterable[str], chosen: Mapping[str, str | None], path: Path) -> dict[str, str]:
    """The column of each part of the task's inputs: the one that a flag names, one of the part's name, or a usual one.

    Args:
        chosen: by role, ``text`` and ``pair``.

    Raises:
        ConfigError: a column that is needed is not there.
    """
    there, found = list(header), {}
    for role, part in zip(("text", "pair"), task.inputs, strict=False):
        usual = task.columns[role].usual if role in task.columns else ()
        named = chosen.get(role)
        names = [named] if named else [part, *usual]
        column = next((name for name in names if name in there), None)
        if column is None and (named or part == task.inputs[0] or task.both):
            raise ConfigError(f"--{role}-column: {path} has no column for {part}; it has {', '.join(there) or 'none'}")
        if column is not None:
            found[part] = column
    return found


class Writer:
    """Writes rows of answers to a file that appears when all are written.

    A context manager; the kind is that of the path's ending, .csv, .tsv, .jsonl or .parquet.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in KINDS[1:]:
            raise ConfigError(f"--out {path}: of no kind that can be written; known are {', '.join(KINDS[1:])}")
        self.path, self._kind = path, path.suffix.lower()
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._names: list[str] = []
        self._sink: Any = None
        self._file: Any = None

    def __enter__(self) -> Writer:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self._kind == ".parquet":
                _pyarrow()
            self._file = self._temporary.open("wb" if self._kind == ".parquet" else "w", **self._text())
        except OSError as error:
            raise ConfigError(f"--out {self.path}: {error.strerror}") from None
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            if self._kind == ".parquet" and self._sink is not None:
                self._sink.close()
            self._file.close()
            if kind is None:
                self._temporary.replace(self.path)
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink()

    def write(self, rows: list[Row]) -> None:
        """Add rows; those of one file have the columns of its first one."""
        if not rows:
            return
        if self._kind == ".jsonl":
            self._file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            return
        self._names = self._names or list(rows[0])
        if self._kind == ".parquet":
            self._write_parquet(rows)
            return
        if self._sink is None:
            self._sink = csv.writer(self._file, delimiter="\t" if self._kind == ".tsv" else ",")
            self._sink.writerow(self._names)
        self._sink.writerows([row.get(name) for name in self._names] for row in rows)

    def _write_parquet(self, rows: list[Row]) -> None:
        pyarrow, parquet = _pyarrow()
        known = None if self._sink is None else self._sink.schema
        table = pyarrow.Table.from_pylist([{name: row.get(name) for name in self._names} for row in rows], known)
        if self._sink is None:
            self._sink = parquet.ParquetWriter(self._file, table.schema)
        self._sink.write_table(table)

    def _text(self) -> dict[str, Any]:
        return {} if self._kind == ".parquet" else {"encoding": "utf-8", "newline": ""}


def answer_columns(answer: Any) -> Row:
    """An answer as columns: its parts where it is one of several, else JSON of it."""
    if isinstance(answer, dict):
        return {f"predicted_{name}": value for name, value in answer.items()}
    return {"predicted": json.dumps(answer, ensure_ascii=False)}


def _lines(path: Path, file: Any) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(file, start=1):
        yield f"{path}:{number}", {"text": line.rstrip("\r\n")}


def _csv(path: Path, file: Any) -> Iterator[tuple[str, Row]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            place = f"{path}:{reader.line_num}"
            if None in row or None in row.values():
                raise DataError(f"{place}: another number of cells than the header has")
            yield place, dict(row)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from None


def _jsonl(path: Path, file: Any) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(f"{path}:{number}: not JSON") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: not a JSON object")
        yield f"{path}:{number}", row


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    pyarrow, parquet = _pyarrow()
    number = 0
    try:
        with path.open("rb") as file:
            for batch in parquet.ParquetFile(file).iter_batches(ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}:{number}", row
    except OSError as error:
        raise ConfigError(f"--in {path}: {error.strerror or error}") from None
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            "pyarrow is not installed, which Parquet needs: pip install pyarrow, or use .csv or .jsonl"
        ) from error
    return pyarrow, parquet


_READERS = {".txt": _lines, ".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl}
