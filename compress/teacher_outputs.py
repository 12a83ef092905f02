"""A teacher's outputs on windows of text, on disk: each window is computed once, however many students learn from it.

A store belongs to one teacher and one length of windows. It grows in pieces, each a folder that is whole or not there:

    piece-000000/keys.npy     int64 [n]    which windows
                 ends.npy     int64 [n]    where the outputs of each end in values
                 values.npy   float32      the outputs, one window's after the other's

A batch reads its own outputs from the disk and nothing else, and no file stays open in between: a store may have more
pieces than a process may have files. In memory is each window's key and place, 16 bytes.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput import processes
from lilliput.errors import ModelError
from lilliput.folders import fsync
from lilliput.tasks import Tokens

Keys = NDArray[np.int64]


def key_of(tokens: Tokens, window: int) -> int:
    """63 bits that stand for a window of an input."""
    content = json.dumps([tokens.first, tokens.second, window], ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big") >> 1


class TeacherOutputs:
    """The outputs of one teacher.

    Args:
        folder: of the store; safe to delete.
        width: labels of the outputs, ``[width]`` or ``[tokens, width]`` a window.
        per_token: whether outputs are one a token.

    Raises:
        ModelError: a file of the store is missing or cut short; also when outputs are read.
    """

    def __init__(self, folder: Path, width: int, per_token: bool) -> None:
        self.folder = folder
        self.width = width
        self.per_token = per_token
        self._pieces: list[_Piece] = []
        self._starts: list[int] = []  # the place of the first window of each piece
        self._places = _Places()
        for path in processes.on_main(self._found):
            self._open(path)

    def _found(self) -> list[Path]:
        """The pieces there are; what an interruption left of one is removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".piece-*"):
            shutil.rmtree(left, ignore_errors=True)
        return sorted(self.folder.glob("piece-*"))

    def _open(self, path: Path) -> None:
        piece, keys = _Piece(path), _Array(path / "keys.npy").read()
        self._pieces.append(piece)
        self._starts.append(self._places.count)
        self._places.add(keys)

    def lacking(self, keys: Keys) -> NDArray[np.int64]:
        """Which of ``keys`` have no outputs yet: their places, one for each different key."""
        _, first = np.unique(keys, return_index=True)
        return np.sort(first[~self._places.known(keys[first])])

    def add(self, keys: Keys, compute: Callable[[], Sequence[NDArray[np.float32]]]) -> None:
        """Keep what ``compute`` gives, an output for each of ``keys``; it is on the disk when this returns.

        Of several processes the main one computes it, and the others wait for it.
        """
        piece = self.folder / f"piece-{len(self._pieces):06d}"
        processes.on_main(lambda: self._write(piece, keys, compute()))
        self._open(piece)

    def _write(self, piece: Path, keys: Keys, outputs: Sequence[NDArray[np.float32]]) -> None:
        writing = self.folder / f".{piece.name}.{os.getpid()}"
        ends = np.cumsum([output.size for output in outputs])
        values = np.concatenate([output.ravel() for output in outputs])
        try:
            writing.mkdir()
            for name, array in (("keys", keys), ("ends", ends), ("values", values)):
                np.save(writing / f"{name}.npy", array, allow_pickle=False)
                fsync(writing / f"{name}.npy")
            writing.rename(piece)
            fsync(self.folder)
        finally:
            shutil.rmtree(writing, ignore_errors=True)

    def __getitem__(self, key: int) -> NDArray[np.float32]:
        """The outputs of one window: ``[width]``, or ``[tokens, width]`` where they are one a token."""
        place = self._places[key]
        number = bisect.bisect_right(self._starts, place) - 1
        found = self._pieces[number][place - self._starts[number]]
        return found.reshape(-1, self.width) if self.per_token else found


class _Places:
    """The place of each window, counted through all pieces, by its key.

    Keys are in sorted runs, from the oldest to the newest, each more than twice as long as the next. A new run takes
    in those before it that are not, so a key is sorted again O(log n) times and there are O(log n) runs to look in.

    Reference: O'Neil, Cheng, Gawlick & O'Neil, "The log-structured merge-tree", Acta Informatica 1996.
    """

    def __init__(self) -> None:
        self.count = 0
        self._runs: list[tuple[Keys, NDArray[np.int64]]] = []

    def add(self, keys: Keys) -> None:
        """The next ``len(keys)`` places."""
        runs = [(keys, np.arange(self.count, self.count + len(keys)))]
        self.count += len(keys)
        size = len(keys)
        while self._runs and len(self._runs[-1][0]) <= 2 * size:
            runs.insert(0, self._runs.pop())
            size += len(runs[0][0])
        every, places = (np.concatenate(columns) for columns in zip(*runs, strict=True))
        order = np.argsort(every, kind="stable")  # of a key that is there twice the older place stays the first
        self._runs.append((every[order], places[order]))

    def known(self, keys: Keys) -> NDArray[np.bool_]:
        """Which of ``keys`` have a place."""
        found = np.zeros(len(keys), dtype=bool)
        for run, _ in self._runs:
            found |= run[np.minimum(np.searchsorted(run, keys), len(run) - 1)] == keys
        return found

    def __getitem__(self, key: int) -> int:
        """The first place of a key."""
        for run, places in self._runs:
            at = int(np.searchsorted(run, key))
            if at < len(run) and run[at] == key:
                return int(places[at])
        raise KeyError(key)


class _Piece:
    def __init__(self, path: Path) -> None:
        self._ends, self._values = _Array(path / "ends.npy"), _Array(path / "values.npy")

    def __getitem__(self, row: int) -> NDArray[np.float32]:
        ends = self._ends.read(max(row - 1, 0), row + 1)
        return self._values.read(int(ends[0]) if row else 0, int(ends[-1]))


class _Array:
    """A one-dimensional array on the disk, of which parts are read."""

    def __init__(self, path: Path) -> None:
        try:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # numpy reads the header; the map is not kept
        except (FileNotFoundError, ValueError, EOFError) as error:
            raise _not_whole(path) from error
        self._path, self._type, self._offset, self._length = path, mapped.dtype, mapped.offset, len(mapped)

    def read(self, start: int = 0, end: int | None = None) -> NDArray[Any]:
        """The elements from ``start`` to ``end``, or to the last."""
        found = np.empty((self._length if end is None else end) - start, self._type)
        try:
            with self._path.open("rb", buffering=0) as file:
                file.seek(self._offset + start * self._type.itemsize)
                count = file.readinto(found.data)
        except FileNotFoundError as error:
            raise _not_whole(self._path) from error
        if count != found.nbytes:
            raise _not_whole(self._path)
        return found


def _not_whole(path: Path) -> ModelError:
    store = path.parent.parent
    return ModelError(f"{path}: missing or cut short; delete {store}, and the teacher's outputs are computed again")
