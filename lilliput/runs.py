"""A run folder: stages that are done once, survive interruption, and say what they did.

    runs/demo/
        run.json             what kind of run this is
        log.jsonl            one line an event
        teacher/             a finished stage: config.yaml, result.json, log.jsonl, stage.json and what it made
        .student-l2.partial/ a stage under way; its training checkpoints are in there

A stage works in ``.NAME.partial`` and is renamed to ``NAME`` when it is whole; ``stage.json`` is written last and
says that it is. It is identified by its key, the digest of its configuration and of the keys of the stages it reads: a
finished stage with the same key is reused, one with another key is thrown away and made anew, and a partial one with
the same key is continued. A crash at any point leaves a run that the same command goes on with.

Where several processes train together they share the folder, and the main one alone writes: it holds the lock, decides
what is reused, and gives the others every stage's result.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from lilliput import processes
from lilliput.errors import LilliputError, RunError
from lilliput.folders import fsync

FORMAT = 1
"""Raised when what a stage writes changes so much that older stages must not be reused."""

HEARTBEAT = 5.0
"""Seconds between two records of the time that a stage has taken."""

NO_WORK = frozenset(
    {
        *(".lock", "run.json", "config.yaml", "progress.json"),  # of every run and stage
        *("time.json", "trials.jsonl", "precision.json"),  # what a search and a teacher begin with
        *("training.arrow", "held-out.arrow", "held-out.jsonl"),  # of a corpus, which is read from its start again
    }
)
"""Files without a work that a later call could go on with, where no stage is finished."""

logger = logging.getLogger(__name__)


def write_json(path: Path, value: Any, scratch: Path | None = None) -> None:
    """Write ``value`` to ``path`` so that a reader, or a crash, sees the old file or the new one, never half of it."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", scratch)


def write_text(path: Path, text: str, scratch: Path | None = None) -> None:
    """Atomic ``path.write_text``: temporary file, fsync, rename. Of several processes the main one alone writes.

    Args:
        scratch: folder of the temporary file, on the same file system; that of ``path`` by default. A kill can leave
            the file there, so a folder that must hold nothing else needs another one.
    """
    if not processes.is_main():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = (scratch or path.parent) / f".{path.name}.{os.getpid()}.tmp"
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digest(value: Any) -> str:
    """SHA-256 of ``value`` as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def set_seed(seed: int) -> None:
    """Seed every random generator that training draws from."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def append_log(path: Path, event: str, /, **fields: Any) -> None:
    """Append one line to a structured log: ``{"time": ..., "event": ..., ...}``; the main process alone does."""
    if not processes.is_main():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"time": round(time.time(), 3), "event": event, **fields}, ensure_ascii=False, default=str)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


@dataclass(frozen=True)
class Beginning:
    """What was there before a run began.

    Attributes:
        missing: of its folder and those above it.
        there: names in the folder.
    """

    folder: Path
    missing: tuple[Path, ...]
    there: frozenset[str]

    @classmethod
    def of(cls, folder: Path) -> Beginning:
        """The state of ``folder`` now."""
        missing = tuple(path for path in (folder, *folder.parents) if not path.exists())
        return cls(folder, missing, frozenset() if missing else frozenset(path.name for path in folder.iterdir()))

    def take_back(self) -> None:
        """Remove what the run has made, and nothing that was there before; nothing at all where there is work in it."""
        log = self.folder / "log.jsonl"
        with suppress(OSError):  # another process has put something there, or the disk fails: it is a run, then
            made = [path for path in self.folder.iterdir() if path.name not in self.there]
            if any(_is_work(file) for path in made for file in (path, *path.rglob("*")) if file != log):
                return
            made.sort(key=lambda path: (path.name == ".lock", path.name == "run.json"))  # a run, held, to the end
            for path in made:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for path in self.missing:
                path.rmdir()


@dataclass(frozen=True)
class Stage:
    """A finished stage of a run: where it is, what identifies it, what it found, and how long it took."""

    name: str
    folder: Path
    key: str
    result: dict[str, Any]
    seconds: float
    reused: bool


class Run:
    """A run folder, held by one command at a time.

    Use as a context manager. Raises :class:`RunError` if another command holds the folder, or if the folder holds
    something that is not a run of this kind. A run that ends with a :class:`LilliputError` before there is any work to
    go on with leaves nothing behind: the command was refused, and the folder is free for another one.
    """

    def __init__(self, folder: str | Path, kind: str) -> None:
        self.folder = Path(folder)
        self.kind = kind
        self._lock = FileLock(str(self.folder / ".lock"))
        self._began: Beginning | None = None  # of a run that this process began; None where it goes on with one

    def __enter__(self) -> Run:
        processes.on_main(self._hold)
        return self

    def __exit__(self, *failure: object) -> None:
        if self._began and any(isinstance(fault, LilliputError) for fault in failure):
            self._began.take_back()
        self._lock.release()

    def _hold(self) -> None:
        marker = self.folder / "run.json"
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"{self.folder} is a file; --out must name a folder")
        if self.folder.is_dir() and not marker.exists() and not all(map(_is_ours, self.folder.iterdir())):
            raise RunError(f"{self.folder} exists and is not a Lilliput run; give --out an empty or a new folder")
        beginning = Beginning.of(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"can't make the run folder {self.folder}: {error.strerror}; choose another --out"
            ) from error
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"{self.folder} is in use by another process; wait for it, or choose another --out"
            ) from None
        self._began = None if marker.exists() else beginning
        try:
            if marker.exists():
                self._check_marker(marker)
            else:
                write_json(marker, {"format": FORMAT, "kind": self.kind})
        except BaseException:
            self._lock.release()
            raise

    def _check_marker(self, marker: Path) -> None:
        try:
            found = json.loads(marker.read_text(encoding="utf-8")).get("kind")
        except (OSError, ValueError, AttributeError):
            found = "damaged"
        if found != self.kind:
            raise RunError(f"{self.folder} holds a run of kind {found!r}, not {self.kind!r}; choose another --out")

    def log(self, event: str, /, **fields: Any) -> None:
        """Append one event to the run's ``log.jsonl``."""
        append_log(self.folder / "log.jsonl", event, **fields)

    def finished(self, name: str, key: str) -> Stage | None:
        """The finished stage ``name`` if it was made with ``key``, else None."""
        return self._whole(name, key, self.folder / name)

    def _whole(self, name: str, key: str, folder: Path) -> Stage | None:
        """The stage that ``folder`` holds, if it is whole and was made with ``key``."""
        try:
            record = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
            if record["key"] != key or not all((folder / made).exists() for made in record["made"]):
                return None
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            return Stage(name, folder, key, result, float(record["seconds"]), reused=True)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def stage(
        self,
        name: str,
        identity: dict[str, Any],
        work: Callable[[Path], dict[str, Any]],
        inputs: list[Stage] | None = None,
        *,
        config: dict[str, Any] | None = None,
    ) -> Stage:
        """Do ``work(folder)`` once, and return its stage.

        Several processes all do it, and all return the main one's stage.

        Args:
            name: folder name of the stage in the run.
            identity: everything that decides the outcome, as JSON values.
            work: makes the stage's files in the folder it is given, which survives interruption, and returns the
                result. Whatever it leaves under ``checkpoints/`` is removed when the stage is whole.
            inputs: finished stages that it reads.
            config: what ``config.yaml`` says, so that ``--config`` can read it again; the identity when None.
        """
        key = digest({"format": FORMAT, "stage": name, "config": identity, "inputs": [s.key for s in inputs or []]})
        if done := processes.on_main(lambda: self._reuse(name, key)):
            return done
        shown = identity if config is None else config
        partial, seconds_before = processes.on_main(lambda: self._begin(name, key, shown))
        began = time.monotonic()
        seconds = seconds_before

        def note_time() -> None:
            nonlocal seconds
            seconds = seconds_before + time.monotonic() - began
            _write_progress(partial, key, seconds)

        with beating(note_time):
            result = work(partial)
            processes.gather(None)  # nobody reads the partial stage any more
        return processes.on_main(lambda: self._end(name, key, result, seconds))

    def _reuse(self, name: str, key: str) -> Stage | None:
        """The finished stage, if there is one."""
        if self._whole(name, key, self._partial_folder(name)):  # interrupted just before its rename
            self._finish(name)
        if done := self.finished(name, key):
            shutil.rmtree(self._old_folder(name), ignore_errors=True)  # left by a crash after its rename, if any
            self.log("stage reused", stage=name)
        return done

    def _begin(self, name: str, key: str, config: dict[str, Any]) -> tuple[Path, float]:
        """The working folder of a stage, emptied unless it was begun with the same key; and the seconds already
        spent."""
        partial = self._partial_folder(name)
        seconds = 0.0
        try:
            record = json.loads((partial / "progress.json").read_text(encoding="utf-8"))
            if record["key"] == key:
                seconds = float(record["seconds"])
            else:
                shutil.rmtree(partial)
        except (OSError, ValueError, KeyError, TypeError):
            shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        _write_progress(partial, key, seconds)
        self.log("stage started", stage=name, key=key, continued=seconds > 0)
        write_text(partial / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        return partial, seconds

    def _end(self, name: str, key: str, result: dict[str, Any], seconds: float) -> Stage:
        """Make a stage whole: result, flush, and its name."""
        partial = self._partial_folder(name)
        write_json(partial / "result.json", result)
        _flush(partial)
        made = sorted(path.name for path in partial.iterdir() if path.name not in ("checkpoints", "progress.json"))
        write_json(partial / "stage.json", {"key": key, "seconds": round(seconds, 3), "made": made})
        self._finish(name)
        self.log("stage finished", stage=name, seconds=round(seconds, 3))
        return Stage(name, self.folder / name, key, result, seconds, reused=False)

    def _partial_folder(self, name: str) -> Path:
        return self.folder / f".{name}.partial"

    def _old_folder(self, name: str) -> Path:
        return self.folder / f".{name}.old"

    def _finish(self, name: str) -> None:
        """Give a whole partial stage its name; an older stage of that name is moved away first, and then deleted."""
        partial, final, old = self._partial_folder(name), self.folder / name, self._old_folder(name)
        shutil.rmtree(partial / "checkpoints", ignore_errors=True)
        (partial / "progress.json").unlink(missing_ok=True)
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        partial.rename(final)
        fsync(self.folder)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def beating(write: Callable[[], None]) -> Iterator[None]:
    """Call ``write`` every few seconds and at the end, so that a kill loses little of the time already spent."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT):
            write()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        write()


def _is_ours(path: Path) -> bool:
    """Whether a run that was killed at its very start may have left ``path``, before it wrote ``run.json``."""
    return path.name == ".lock" or path.name.startswith(".run.json.")


def _is_work(path: Path) -> bool:
    """Whether ``path`` may hold something that a later call goes on with."""
    return path.is_file() and path.name not in NO_WORK and path.stat().st_size > 0


def _flush(folder: Path) -> None:
    """Bring every file below ``folder`` to the disk, training checkpoints aside: they are about to be removed."""
    for path in folder.rglob("*"):
        if path.is_file() and "checkpoints" not in path.relative_to(folder).parts:
            fsync(path)


def _write_progress(partial: Path, key: str, seconds: float) -> None:
    write_json(partial / "progress.json", {"key": key, "seconds": round(seconds, 3)})
