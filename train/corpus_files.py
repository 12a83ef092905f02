"""Records of corpus files, streamed: .txt, CSV, TSV, JSONL, Parquet, and data sets of the Hub.

A record is a line number and what the text column holds there. That may be no text at all, or a `RowFault`, and text
may hold lone surrogates where the file has bytes that are not UTF-8: all of them are for the caller to reject.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from lilliput.errors import DataError
from lilliput.tasks import TEXT_COLUMNS, RowFault
from lilliput.train import hub
from lilliput.train.data_report import Unusable
from lilliput.train.tables import EMPTY, TABLES, Record, Table, open_table

ENDINGS = (".txt", *TABLES)
LONGEST_LINE = 1 << 18
"""Bytes of a line of plain text that are one document; a longer line is cut at white space."""


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
    if path.exists():
        if path.suffix.lower() not in ENDINGS:
            raise DataError(f"--corpus {name}: can't be read; the name must end in {', '.join(ENDINGS)}")
        return [path]
    if not hub.is_id(name):
        raise DataError(f"--corpus {name}: there is no such file or folder")
    return [name]


def read(source: Path | str, text_column: str | None) -> Iterator[tuple[int, Any]]:
    """The records of a file, or of the train split of a data set of the Hub. Blank lines are none.

    Args:
        text_column: where None, the usual names are tried.

    Raises:
        DataError: it can't be read, is not what its ending says, or has no such column.
    """
    try:
        if isinstance(source, Path) and source.suffix.lower() == ".txt":
            yield from ((number, line) for number, line in _lines(source) if line.strip())
            return
        table = _stream(source) if isinstance(source, str) else open_table(source)
        column = _column(source, table.names, text_column)
        for record in table.records:
            yield record.line, RowFault(record.fault) if record.fault else record.values.get(column)
    except Unusable as error:
        if error.finding.kind != EMPTY:  # one empty file of several is no harm
            raise
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror or error}") from error


def _wanted(file: Path, folder: Path) -> bool:
    """Whether a file of a folder is part of the corpus: by its ending, unless it or its folder is hidden."""
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.suffix.lower() in ENDINGS and file.is_file()


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers and lines; bytes that are not UTF-8 become lone surrogates. A line too long comes in pieces."""
    with path.open("rb") as stream:
        start = stream.peek(3)[:3]
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{path}:1: this is UTF-16; save the file as UTF-8")
        if start == b"\xef\xbb\xbf":
            stream.seek(3)
        number, rest = 1, b""
        while line := rest + stream.readline(LONGEST_LINE - len(rest)):
            rest = b""
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
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


def _stream(id: str) -> Table:
    """The train split of a data set of the Hub, record after record."""
    import datasets

    name, _, configuration = id.partition(":")

    def records() -> Iterator[Record]:
        try:
            rows = datasets.load_dataset(name, configuration or None, split="train", streaming=True)
            yield from (Record(number, row) for number, row in enumerate(rows, start=1))
        except (OSError, ValueError, RuntimeError, NotImplementedError, datasets.exceptions.DatasetsError) as error:
            reason = " ".join((str(error) or type(error).__name__).split())[:300]
            raise DataError(
                f"--corpus {id}: no file of this name is here, and as a data set of the Hub it can't be read: {reason}"
            ) from error

    streamed = records()
    first = next(streamed, Record(0, {}))
    return Table(list(first.values), chain([first] if first.values else [], streamed))


def _column(source: Path | str, names: Sequence[str], chosen: str | None) -> str:
    """The column that was chosen, or the first of the usual names that is there."""
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    if chosen is not None:
        if chosen in names:
            return chosen
        raise DataError(f"{source}: there is no column {chosen!r}; there are {shown}")
    lowered = {name.lower(): name for name in reversed(names)}
    for name in TEXT_COLUMNS:
        if name in lowered:
            return lowered[name]
    raise DataError(
        f"{source}: no text column: none of {', '.join(TEXT_COLUMNS)} is among {shown}; name it with --text-column"
    )
