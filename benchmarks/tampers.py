"""Change a bundle in many ways, as an accident or an enemy would, and count how often ``verify`` refuses it."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from lilliput import bundle
from lilliput.errors import BundleError

Tamper = Callable[[Path, random.Random], str]
"""Changes the files of the bundle at a path; says what it did."""


def count_refused(path: Path, n: int = 200, seed: int = 0) -> int:
    """How many of ``n`` random changes, each to a fresh copy of the bundle, ``lilliput.bundle.verify`` refuses.

    Raises:
        BundleError: the bundle is refused before anything was changed.
    """
    return n - len(accepted(path, n, seed))


def accepted(path: Path, n: int = 200, seed: int = 0) -> list[str]:
    """The changes of ``count_refused`` that were not noticed, in words; the ways to tamper take turns."""
    bundle.verify(path)
    draw = random.Random(seed)
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        copy = _Copy(path, Path(folder) / "bundle")
        for number in range(n):
            what = TAMPERS[number % len(TAMPERS)](copy.path, draw)
            try:
                bundle.verify(copy.path)
            except BundleError:
                pass
            else:
                missed.append(what)
            copy.restore()
        bundle.verify(copy.path)  # had a change survived its undoing, every later refusal would be worth nothing
    return missed


class _Copy:
    """A copy of a bundle that can be made whole again; only what was changed is copied anew, bundles are large."""

    def __init__(self, source: Path, path: Path) -> None:
        self.path = path
        self._source = source
        shutil.copytree(source, path, ignore=shutil.ignore_patterns(".git"))
        self._stamps = self._look()

    def restore(self) -> None:
        """Undo every change."""
        now = self._look()
        for name in now.keys() - self._stamps.keys():
            (self.path / name).unlink()
        for name, stamp in self._stamps.items():
            if now.get(name) != stamp:
                (self.path / name).unlink(missing_ok=True)
                # With the original's time stamp: a change in the very same tick of the clock then still shows.
                shutil.copy2(self._source / name, self.path / name)
        for folder in sorted((path for path in self.path.rglob("*") if path.is_dir()), reverse=True):
            if not (self._source / folder.relative_to(self.path)).is_dir():
                folder.rmdir()
        self._stamps = self._look()

    def _look(self) -> dict[str, tuple[int, int, int]]:
        files = (file for file in self.path.rglob("*") if file.is_symlink() or not file.is_dir())
        stamps = ((file.relative_to(self.path).as_posix(), file.lstat()) for file in files)
        return {name: (seen.st_ino, seen.st_size, seen.st_mtime_ns) for name, seen in stamps}


def _pick(path: Path, draw: random.Random) -> Path:
    """A file that the manifest lists, or the manifest itself."""
    names = [*bundle.Bundle.open(path).manifest.files, bundle.MANIFEST]
    return path / draw.choice(sorted(names))


def _rewrite(file: Path, data: bytes, how: str) -> str:
    file.write_bytes(data)
    return f"{file.name}: {how}"


def _flip(path: Path, draw: random.Random) -> str:
    """One bit of one file."""
    file = _pick(path, draw)
    data = bytearray(file.read_bytes())
    place = draw.randrange(len(data))
    data[place] ^= 1 << draw.randrange(8)
    return _rewrite(file, bytes(data), f"bit flipped in byte {place}")


def _truncate(path: Path, draw: random.Random) -> str:
    file = _pick(path, draw)
    data = file.read_bytes()
    keep = draw.randrange(len(data))
    return _rewrite(file, data[:keep], f"cut to {keep} bytes")


def _append(path: Path, draw: random.Random) -> str:
    file = _pick(path, draw)
    more = draw.choice([b"\0", b"\n", b" ", draw.randbytes(64)])
    return _rewrite(file, file.read_bytes() + more, f"{len(more)} bytes appended")


def _swap_bytes(path: Path, draw: random.Random) -> str:
    """Two different bytes of one file change places: its size and its byte counts stay."""
    file = _pick(path, draw)
    data = bytearray(file.read_bytes())
    one = draw.randrange(len(data))
    others = [place for place in draw.sample(range(len(data)), min(len(data), 200)) if data[place] != data[one]]
    if not others:
        return _flip(path, draw)
    data[one], data[others[0]] = data[others[0]], data[one]
    return _rewrite(file, bytes(data), f"bytes {one} and {others[0]} swapped")


def _delete(path: Path, draw: random.Random) -> str:
    file = _pick(path, draw)
    file.unlink()
    return f"{file.name}: deleted"


def _rename(path: Path, draw: random.Random) -> str:
    file = _pick(path, draw)
    file.rename(file.with_name(draw.choice(["renamed", f".{file.name}", f"{file.name}.bak"])))
    return f"{file.name}: renamed"


def _swap_files(path: Path, draw: random.Random) -> str:
    """Two listed files of different contents change names."""
    names = sorted(bundle.Bundle.open(path).manifest.files)
    one, two = (path / name for name in draw.sample(names, 2))
    first, second = one.read_bytes(), two.read_bytes()
    if first == second:
        return _flip(path, draw)
    one.write_bytes(second)
    return _rewrite(two, first, f"swapped with {one.name}")


def _stray(path: Path, draw: random.Random) -> str:
    """A file that nobody listed."""
    name = draw.choice(
        ["pytorch_model.bin", "modeling.py", "onnx/model_extra.onnx", "onnx/model.onnx_data", ".hidden", "x/y"]
    )
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(draw.randbytes(16))
    return f"{name}: added"


def _link(path: Path, draw: random.Random) -> str:
    """A listed file becomes a symbolic link to the very same contents outside the bundle."""
    file = _pick(path, draw)
    outside = path.with_name("outside")
    shutil.copyfile(file, outside)
    file.unlink()
    file.symlink_to(outside)
    return f"{file.name}: replaced by a link"


def _edit_manifest(path: Path, draw: random.Random) -> str:
    """A likely edit by hand: other labels, limits, hashes, or a digest taken away."""
    file = path / bundle.MANIFEST
    text = file.read_text(encoding="ascii")
    lines = text.splitlines(keepends=True)
    edits = [
        lambda: text.replace('"max_length": ', '"max_length": 1', 1),
        lambda: text.replace('"sha256": "', '"sha256": "0', 1),
        lambda: text.replace('"format": 2', '"format": 3', 1),
        lambda: text.replace("{", '{\n "labels": ["a", "b"],', 1),
        lambda: "".join(line for line in lines if '"digest"' not in line),
        lambda: "".join(draw.sample(lines, len(lines))),
        lambda: text.replace("\n", "\r\n"),
        lambda: " " + text,
    ]
    return _rewrite(file, draw.choice(edits)().encode("ascii"), "edited by hand")


TAMPERS: tuple[Tamper, ...] = (
    _flip,
    _truncate,
    _append,
    _swap_bytes,
    _delete,
    _rename,
    _swap_files,
    _stray,
    _link,
    _edit_manifest,
)
