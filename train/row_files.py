"""Rows out of tables: columns are found by their names; a faulty row is rejected with its line, the rest is read on."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lilliput.tasks import Column, RowFault, Task
from lilliput.train.data import Row, key
from lilliput.train.data_report import Ledger, Unusable
from lilliput.train.hub import HubSplit
from lilliput.train.tables import Record, Table, open_table, other_separator

FLAGS = ("text", "pair", "label")
"""Roles whose column a flag can name."""
SLICE = "slice"
COLUMNS = "wrong columns"
NO_ROWS = "no rows"


def read_rows(source: Path | HubSplit, ledger: Ledger, task: Task, chosen: Mapping[str, str], **how: Any) -> list[Row]:
    """The rows of `stream_rows`, all at once."""
    return list(stream_rows(source, ledger, task, chosen, **how))


def stream_rows(
    source: Path | HubSplit,
    ledger: Ledger,
    task: Task,
    chosen: Mapping[str, str],
    *,
    labelled: bool,
    slice_column: str | None = None,
) -> Iterator[Row]:
    """The usable rows of a file, or of a split of the Hub, as they are read; every other row is rejected in ``ledger``.

    Args:
        chosen: the columns that a user named, by role; for the others the usual names are tried.
        labelled: whether the task's targets are read too.
        slice_column: column whose values are kept beside the rows.

    Raises:
        Unusable: the file can't be read, is empty, is not UTF-8 at all, or lacks a column; a lenient ledger keeps it.
    """
    file, before = str(source), ledger.rows_in
    try:
        table = source.table() if isinstance(source, HubSplit) else open_table(source)
        keys = _keys(table, source, task, chosen, slice_column, labelled)
        ledger.columns[file] = keys
        ledger.notes.append(f"{file}: " + ", ".join(f"{role} from column {name!r}" for role, name in keys.items()))
        for record in table.records:
            ledger.rows_in += 1
            try:
                row = _row(record, file, task, keys)
            except RowFault as fault:
                detail = record.detail or fault.detail or _not_a_number(_cells(record, keys))
                ledger.reject(str(fault), file, record.line, detail)
                continue
            yield row
        if ledger.rows_in == before:
            raise Unusable(NO_ROWS, file, None, "there are no rows under its header")
    except Unusable as error:
        ledger.refuse(error)


def _keys(
    table: Table,
    source: Path | HubSplit,
    task: Task,
    chosen: Mapping[str, str],
    slice_column: str | None,
    labelled: bool,
) -> dict[str, str]:
    """The name of the column of each role."""
    roles = {role: column for role, column in task.columns.items() if labelled or role not in task.targets}
    if isinstance(source, Path) and source.suffix.lower() == ".txt":
        chosen = {}
    keys = dict(_columns(source, table.names, roles, chosen))
    if slice_column is not None and labelled:
        keys[SLICE] = _named(source, table.names, slice_column)
    for name, count in Counter(table.names).items():
        if count > 1 and name in keys.values():
            raise Unusable(COLUMNS, source, 1, f"{count} columns are called {name!r}; rename all but one")
    return keys


def _columns(
    source: Any, names: Sequence[str], roles: Mapping[str, Column], chosen: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """The column chosen for each role, or the first of the usual names that is there."""
    lowered = {name.lower(): name for name in reversed(names)}
    taken = set(chosen.values())
    for role, column in roles.items():
        free = (lowered[name] for name in column.usual if name in lowered and lowered[name] not in taken)
        name = _named(source, names, chosen[role]) if role in chosen else next(free, None)
        if name is not None:
            taken.add(name)
            yield role, name
        elif column.required:
            hint = f", or name it with --{role}-column." if role in FLAGS else "."
            if other := other_separator(names):
                hint += f" {other}."
            raise Unusable(
                COLUMNS,
                source,
                1,
                f"no {role} column: none of {', '.join(column.usual)} is among {_quoted(names)}. "
                f"Rename the column{hint}",
            )


def _named(source: Any, names: Sequence[str], name: str) -> str:
    if name in names:
        return name
    raise Unusable(COLUMNS, source, 1, f"there is no column {name!r}; there are {_quoted(names)}")


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "") if names else "no columns"


def _row(record: Record, file: str, task: Task, keys: Mapping[str, str]) -> Row:
    if record.fault is not None:
        raise RowFault(record.fault)
    cells = {role: None if _is_nan(cell) else cell for role, cell in _cells(record, keys).items()}
    for role, cell in cells.items():
        if isinstance(cell, RowFault):
            raise RowFault(str(cell), f"the {role} is a value that can't be read")
    group = cells.pop(SLICE, None)
    item, target = task.read(cells)
    if isinstance(target, str):
        target = sys.intern(target)  # else each row has its own copy of a label's name
    return Row(item, target, file, record.line, key(task.text_of(item)), "" if group is None else str(group))


def _cells(record: Record, keys: Mapping[str, str]) -> dict[str, Any]:
    return {role: record.values.get(name) for role, name in keys.items()}


def _is_nan(cell: Any) -> bool:
    """Whether a cell is what pandas writes where a value is missing."""
    return isinstance(cell, float) and math.isnan(cell)


def _not_a_number(cells: Mapping[str, Any]) -> str:
    """Which cell is NaN, of a row that lacks something for that reason."""
    return next((f"the {role} is NaN" for role, cell in cells.items() if _is_nan(cell)), "")
