"""A teacher's outputs on windows of text, on disk: each window is computed once, however many students learn from it.

A store belongs to one teacher and one length of windows. It grows in pieces, each a folder that is whole or not there:

    piece-000000/keys.npy     int64 [n]    which windows
                 ends.npy     int64 [n]    where the outputs of each end in values
                 values.npy   float32      the outputs, one window's after the other's

The arrays are mapped into memory, so a batch reads its own pages and nothing else; eight bytes a window are in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lilliput import processes
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
    """

    def __init__(self, folder: Path, width: int, per_token: bool) -> None:
        self.folder = folder
        self.width = width
        self.per_token = per_token
        self._pieces = [_Piece(path) for path in processes.on_main(self._found)]
        self._index()

    def _found(self) -> list[Path]:
        """The pieces there are; what an interruption left of one is removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".piece-*"):
            shutil.rmtree(left, ignore_errors=True)
        return sorted(self.folder.glob("piece-*"))

    def _index(self) -> None:
        keys = [piece.keys for piece in self._pieces]
        every = np.concatenate([np.zeros(0, np.int64), *keys])
        self._order = np.argsort(every, kind="stable")
        self._sorted = every[self._order]
        self._starts = np.cumsum([0, *map(len, keys)])

    def lacking(self, keys: Keys) -> NDArray[np.int64]:
        """Which of ``keys`` have no outputs yet: their places, one for each different key."""
        _, first = np.unique(keys, return_index=True)
        return np.sort(first[~self._known(keys[first])])

    def _known(self, keys: Keys) -> NDArray[np.bool_]:
        if not len(self._sorted):
            return np.zeros(len(keys), dtype=bool)
        found = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return self._sorted[found] == keys

    def add(self, keys: Keys, compute: Callable[[], Sequence[NDArray[np.float32]]]) -> None:
        """Keep what ``compute`` gives, an output for each of ``keys``; it is on the disk when this returns.

        Of several processes the main one computes it, and the others wait for it.
        """
        piece = self.folder / f"piece-{len(self._pieces):06d}"
        processes.on_main(lambda: self._write(piece, keys, compute()))
        self._pieces.append(_Piece(piece))
        self._index()

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
        at = int(np.searchsorted(self._sorted, key))
        if at == len(self._sorted) or self._sorted[at] != key:
            raise KeyError(key)
        position = int(self._order[at])
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        found = self._pieces[number][position - int(self._starts[number])]
        return found.reshape(-1, self.width) if self.per_token else found


class _Piece:
    def __init__(self, path: Path) -> None:
        self.keys: Keys = np.load(path / "keys.npy", allow_pickle=False)
        self._ends = np.load(path / "ends.npy", mmap_mode="r", allow_pickle=False)
        self._values = np.load(path / "values.npy", mmap_mode="r", allow_pickle=False)

    def __getitem__(self, row: int) -> NDArray[np.float32]:
        start = int(self._ends[row - 1]) if row else 0
        return np.array(self._values[start : int(self._ends[row])])
