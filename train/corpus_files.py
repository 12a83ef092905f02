"""Records of corpus files, streamed: .txt, CSV, TSV, JSONL, Parquet, and data sets of the Hub.

Every reader yields a line number and what the text column holds there. That may be no text at all, or a `RowFault`, and
text may hold lone surrogates where the file has bytes that are not UTF-8: all of them are for the caller to reject.
"""

from __future__ import annotations

import csv
import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lilliput.errors import DataError
from lilliput.tasks import MALFORMED, TEXT_COLUMNS, RowFault

ENDINGS = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
LONGEST_LINE = 1 << 18
"""Bytes of a line of plain text that are one document; a longer line is cut at white space."""
LONGEST_FIELD = 1 << 22
"""Characters of a CSV field; also what is read in vain where a quote is never closed."""
WRONG_COLUMNS = "wrong number of columns"

Record = tuple[int, Any]

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
_BATCH = 1000


def resolve(name: str) -> list[Path | str]:
    """The files that ``name`` stands for (itself, or those of a folder, in the order of their names), or a Hub id.

    Raises:
        DataError: there is no such file, or none that can be read.
    """
    path = Path(name)
    if path.is_dir():
        files: list[Path | str] = [file for file in sorted(path.rglob("*")) if _wanted(file, path)]
        if not files:
            raise DataError(f"--corpus {name}: the folder holds no file that ends in {', '.join(ENDINGS)}")
        return files
    readable = path.suffix.lower() in ENDINGS
    if path.exists():
        if not readable:
            raise DataError(f"--corpus {name}: can't be read; the name must end in {', '.join(ENDINGS)}")
        return [path]
    if readable or not _HUB_ID.fullmatch(name):
        raise DataError(f"--corpus {name}: there is no such file or folder")
    return [name]


def read(source: Path | str, text_column: str | None) -> Iterator[Record]:
    """The records of a file, or of the train split of a data set of the Hub. Blank lines are none.

    Args:
        text_column: where None, the usual names are tried.

    Raises:
        DataError: it can't be read, is not what its ending says, or has no such column.
    """
    try:
        if isinstance(source, str):
            yield from _hub(source, text_column)
        elif source.suffix.lower() == ".txt":
            yield from ((number, line) for number, line in _lines(source, LONGEST_LINE) if line.strip())
        elif source.suffix.lower() == ".parquet":
            yield from _parquet(source, text_column)
        elif source.suffix.lower() in (".csv", ".tsv"):
            yield from _table(source, text_column)
        else:
            yield from _json_lines(source, text_column)
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror or error}") from error


def _wanted(file: Path, folder: Path) -> bool:
    """Whether a file of a folder is part of the corpus: by its ending, unless it or its folder is hidden."""
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.suffix.lower() in ENDINGS and file.is_file()


def _lines(path: Path, longest: int = -1) -> Iterator[tuple[int, str]]:
    """Numbers and lines; bytes that are not UTF-8 become lone surrogates. A line above ``longest`` bytes comes in
    pieces.
    """
    with path.open("rb") as stream:
        start = stream.peek(3)[:3]
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{path}:1: this is UTF-16; save the file as UTF-8")
        if start == b"\xef\xbb\xbf":
            stream.seek(3)
        number, rest = 1, b""
        while line := rest + stream.readline(longest - len(rest)):
            rest = b""
            if len(line) == longest and not line.endswith(b"\n"):
                line, rest = _cut(line)
            yield number, line.decode("utf-8", errors="surrogateescape")
            number += line.endswith(b"\n")


def _cut(line: bytes) -> tuple[bytes, bytes]:
    """Two pieces of a line, cut behind its last space, or before its last character where it has none."""
    place = line.rfind(b" ") + 1
    if not place:
        place = len(line) - 1
        while place > len(line) - 4 and line[place] & 0b1100_0000 == 0b1000_0000:  # inside of a character
            place -= 1
    return line[:place], line[place:]


def _table(path: Path, text_column: str | None) -> Iterator[Record]:
    """CSV follows RFC 4180 (quoted fields may hold line breaks); TSV has no quoting, so no line breaks in fields."""
    records = _csv_cells(_lines(path)) if path.suffix.lower() == ".csv" else _tsv_cells(_lines(path))
    line, header = next(records, (1, []))
    if header is None:
        raise DataError(f"{path}:{line}: the header can't be read: check its quotes")
    if not header:
        return
    names = [name.strip() for name in header]
    place = names.index(_column(f"{path}:{line}", names, text_column))
    for line, cells in records:
        if cells is None:
            yield line, RowFault(MALFORMED)
        else:
            yield line, cells[place] if len(cells) == len(names) else RowFault(WRONG_COLUMNS)


class _Lines:
    """Lines that can be read again, from the second one on that was taken for the record in work."""

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self.taken: list[tuple[int, str]] = []
        self._again: deque[tuple[int, str]] = deque()
        self._lines = lines

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        self.taken.append(self._again.popleft() if self._again else next(self._lines))
        return self.taken[-1][1]

    def rewind(self) -> None:
        """Give back all lines of the record in work but its first."""
        self._again.extendleft(reversed(self.taken[1:]))
        self.taken.clear()


def _csv_cells(numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str] | None]]:
    """Line and cells of each record, None where it is malformed: a quote that is never closed costs one line only."""
    lines = _Lines(numbered)
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        while True:
            try:
                for cells in csv.reader(lines, strict=True):
                    if any(cell.strip() for cell in cells) or len(cells) > 1:
                        yield lines.taken[0][0], cells
                    lines.taken.clear()
                return
            except csv.Error:
                yield lines.taken[0][0], None
                lines.rewind()
    finally:
        csv.field_size_limit(before)


def _tsv_cells(numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str] | None]]:
    for number, line in numbered:
        if line.strip():
            yield number, line.rstrip("\r\n").split("\t")


def _json_lines(path: Path, text_column: str | None) -> Iterator[Record]:
    column = None
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            yield number, RowFault(MALFORMED)
            continue
        column = column or _column(f"{path}:{number}", list(value), text_column)
        yield number, value.get(column)


def _parquet(path: Path, text_column: str | None) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            column = _column(str(path), file.schema_arrow.names, text_column)
            kind = file.schema_arrow.field(column).type
            kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
            if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
                raise DataError(f"{path}: the column {column!r} holds {kind}, not text")
            number = 1
            for batch in file.iter_batches(_BATCH, columns=[column]):
                # As bytes: text that is not UTF-8 would fail the whole batch.
                for place, cell in enumerate(batch.column(0).cast(kind).cast(pyarrow.large_binary())):
                    value = cell.as_py()
                    yield number + place, value if value is None else value.decode("utf-8", errors="surrogateescape")
                number += len(batch)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a usable Parquet file: {_first_line(error)}") from error


def _hub(name: str, text_column: str | None) -> Iterator[Record]:
    import datasets

    column = None
    try:
        rows = datasets.load_dataset(name, split="train", streaming=True)
        for number, row in enumerate(rows, start=1):
            column = column or _column(name, list(row), text_column)
            yield number, row.get(column)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(
            f"--corpus {name}: no file of this name is here, and as a data set of the Hub it can't be read: "
            f"{_first_line(error)}"
        ) from error


def _column(where: str, names: Sequence[str], chosen: str | None) -> str:
    """The column that was chosen, or the first of the usual names that is there."""
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    if chosen is not None:
        if chosen in names:
            return chosen
        raise DataError(f"{where}: there is no column {chosen!r}; there are {shown}")
    lowered = {name.lower(): name for name in reversed(names)}
    for name in TEXT_COLUMNS:
        if name in lowered:
            return lowered[name]
    raise DataError(
        f"{where}: no text column: none of {', '.join(TEXT_COLUMNS)} is among {shown}; name it with --text-column"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
