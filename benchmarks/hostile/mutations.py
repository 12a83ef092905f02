"""Random changes to the bytes of a bundle, as a bad disk or a clumsy enemy makes them: none may load.

The hashes of the manifest catch a change to any other file, and its own digest one to itself.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lilliput
from lilliput import bundle
from lilliput.bundle import MANIFEST, Bundle
from lilliput.errors import LilliputError

BATCH = 250
"""Changes that one process tries."""
_DEADLINE = 120  # seconds for a batch, which takes one or two
_BLOCK = 64  # bytes

Mutation = Callable[[bytes, random.Random], bytes]


@dataclass
class Tally:
    """What became of ``n`` changes; ``missed`` are those that were not refused, in words."""

    n: int = 0
    missed: list[str] = field(default_factory=list)
    crashes: int = 0
    hangs: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)

    @property
    def failures(self) -> int:
        """Changes, or batches of them, that went otherwise than they should."""
        return len(self.missed) + self.crashes + self.hangs

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "n": self.n,
            "missed": self.missed,
            "crashes": self.crashes,
            "hangs": self.hangs,
            "kinds": dict(sorted(self.kinds.items())),
            "files": dict(sorted(self.files.items())),
        }

    def add(self, other: dict[str, Any]) -> None:
        """Count what a batch found (see `plain`)."""
        self.n += other["n"]
        self.missed += other["missed"]
        self.kinds.update(other["kinds"])
        self.files.update(other["files"])


def try_mutations(path: Path, n: int, scratch: Path, seed: int = 0) -> Tally:
    """Change copies of a bundle ``n`` times, each time anew, and count which of them still load or verify.

    Args:
        path: of the bundle.
        scratch: a folder that does not exist.

    Raises:
        BundleError: the bundle is refused as it is.
    """
    Bundle.open(path)
    tally = Tally()
    for number, start in enumerate(range(0, n, BATCH)):
        count = min(BATCH, n - start)
        found, status = _in_child(path, count, random.Random(f"{seed}-{number}"), scratch)
        if found is not None:
            tally.add(found)
        elif os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            tally.hangs += 1
        else:
            tally.crashes += 1
    return tally


def _in_child(path: Path, count: int, draw: random.Random, scratch: Path) -> tuple[dict[str, Any] | None, int]:
    """What a process of its own finds, None where it does not live to tell; and how it ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_DEADLINE)
        code = 1
        try:
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(json.dumps(_batch(path, count, draw, scratch).plain()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    shutil.rmtree(scratch, ignore_errors=True)
    return (json.loads(said) if status == 0 and said else None), status


def _batch(path: Path, count: int, draw: random.Random, scratch: Path) -> Tally:
    copy = Path(shutil.copytree(path, scratch))
    manifest = Bundle.open(copy).manifest
    names = sorted([*manifest.files, MANIFEST])
    opened = {MANIFEST, "tokenizer.json", *(graph["file"] for graph in manifest.graphs.values())}
    tally = Tally()
    while tally.n < count:
        name, kind = draw.choice(names), draw.choice(sorted(MUTATIONS))
        whole = (copy / name).read_bytes()
        changed = MUTATIONS[kind](whole, draw)
        if changed == whole:
            continue
        (copy / name).write_bytes(changed)
        calls = (bundle.verify, _load) if name in opened else (bundle.verify,)
        tally.missed += [f"{kind} of {name}: {fault}" for fault in (_fault(call, copy) for call in calls) if fault]
        (copy / name).write_bytes(whole)
        tally.n += 1
        tally.kinds[kind] += 1
        tally.files[name] += 1
    bundle.verify(copy)  # had a change survived its undoing, every later refusal would be worth nothing
    return tally


def _load(path: Path) -> object:
    precisions = Bundle.open(path).manifest.graphs  # a changed graph must not hide behind another one
    return [lilliput.load(path, precision=precision, workers=1)("good") for precision in precisions]


def _fault(call: Callable[[Path], object], path: Path) -> str | None:
    """What is wrong with how a call ends; None where it refuses."""
    try:
        call(path)
    except LilliputError:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error!s:.200}"
    return "accepted"


def _flip(data: bytes, draw: random.Random) -> bytes:
    """One bit."""
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def _insert(data: bytes, draw: random.Random) -> bytes:
    """Up to a block of bytes, random ones or those that stand there already."""
    place, length = draw.randrange(len(data) + 1), draw.randint(1, _BLOCK)
    return data[:place] + draw.choice([draw.randbytes(length), data[place : place + length]]) + data[place:]


def _delete(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data))
    return data[:place] + data[place + draw.randint(1, _BLOCK) :]


def _truncate(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _swap(data: bytes, draw: random.Random) -> bytes:
    """Two blocks of one length change places."""
    length = draw.randint(1, min(_BLOCK, len(data) // 2))
    first, second = sorted((draw.randrange(len(data) - length + 1), draw.randrange(len(data) - length + 1)))
    if second < first + length:
        return data
    middle = data[first + length : second]
    one, other = data[first : first + length], data[second : second + length]
    return data[:first] + other + middle + one + data[second + length :]


def _overwrite(data: bytes, draw: random.Random) -> bytes:
    """Up to a block of other bytes; size and all that counts bytes stay."""
    place = draw.randrange(len(data))
    length = min(draw.randint(1, _BLOCK), len(data) - place)
    return data[:place] + draw.choice([draw.randbytes(length), bytes(length)]) + data[place + length :]


MUTATIONS: dict[str, Mutation] = {
    "flip": _flip,
    "insert": _insert,
    "delete": _delete,
    "truncate": _truncate,
    "swap": _swap,
    "overwrite": _overwrite,
}
