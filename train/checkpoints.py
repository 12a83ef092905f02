"""Checkpoints that are whole or are not used, and the best weights so far, which are kept the same way.

Each is written to a folder of its own, sealed when everything in it has been written, and only then renamed to where it
is looked for: ``checkpoint-STEP`` or ``best-STEP``. The seal lists its files with their SHA-256, so one that was
damaged later is seen too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path

from lilliput.errors import TrainingError
from lilliput.folders import fsync
from lilliput.runs import write_json

SEAL = "seal.json"
WRITING = ".writing"
"""Folder in which a checkpoint is written before it has its place."""


logger = logging.getLogger(__name__)


def new(folder: Path) -> Path:
    """An empty folder inside ``folder`` to write a checkpoint in; what a crash left there is removed."""
    writing = folder / WRITING
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    return writing


def place(written: Path, folder: Path, keep: int) -> None:
    """Seal the checkpoint ``written`` and give it its place in ``folder``; it counts from then on, and not before.

    Args:
        keep: how many of its kind stay, this one included; the oldest are deleted.
    """
    seal(written)
    final = folder / written.name
    shutil.rmtree(final, ignore_errors=True)  # of the same step, before training went back
    written.rename(final)
    fsync(folder)
    shutil.rmtree(folder / WRITING, ignore_errors=True)
    kind = written.name.partition("-")[0]
    for old in _steps(folder, kind)[keep:]:
        (old / SEAL).unlink(missing_ok=True)  # deleting can be interrupted as well
        shutil.rmtree(old, ignore_errors=True)


def seal(checkpoint: Path) -> None:
    """Flush every file of ``checkpoint`` to disk and write its seal."""
    files = {}
    for path in sorted(checkpoint.rglob("*")):
        fsync(path)
        if path.is_file() and path.name != SEAL:
            with path.open("rb") as file:
                files[str(path.relative_to(checkpoint))] = hashlib.file_digest(file, "sha256").hexdigest()
    write_json(checkpoint / SEAL, files)
    fsync(checkpoint)
    fsync(checkpoint.parent)


def fault_of(checkpoint: Path) -> str | None:
    """Why ``checkpoint`` can't be used, or None if it is whole."""
    try:
        files = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"its {SEAL} is missing"
    except (OSError, ValueError):
        return f"its {SEAL} is damaged"
    if not isinstance(files, dict) or not files:
        return f"its {SEAL} is damaged"
    for name, expected in files.items():
        try:
            with (checkpoint / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    return f"{name} is damaged"
        except OSError:
            return f"{name} is missing"
    return None


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was made."""
    return int(checkpoint.name.rpartition("-")[2])


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint under ``folder``; broken newer ones are removed, and said so.

    Raises:
        TrainingError: there are checkpoints and every one is damaged. Starting again from nothing is for the user to
            decide, by deleting the folder.
    """
    broken = {}
    for checkpoint in _steps(folder, "checkpoint"):
        fault = fault_of(checkpoint)
        if fault is None:
            break
        broken[checkpoint] = fault
    else:
        if broken:
            faults = "; ".join(f"{checkpoint.name}: {fault}" for checkpoint, fault in broken.items())
            raise TrainingError(f"{folder}: no checkpoint is whole ({faults}); delete the folder to start again")
        return None
    for damaged, fault in broken.items():
        logger.warning("%s can't be resumed from: %s; going on from %s", damaged, fault, checkpoint.name)
        shutil.rmtree(damaged)
    return checkpoint


def best(folder: Path) -> Path | None:
    """The best weights so far: the newest that were kept, since each were better than those before them."""
    return next(iter(_steps(folder, "best")), None)


def check_best(folder: Path, step: int, due: bool) -> None:
    """See that the best weights so far are whole, where training goes on after ``step``.

    Damaged ones of a later step are removed, and said so: training comes by that step again and makes them anew.

    Args:
        due: a validation was made up to ``step``, so there must be some.

    Raises:
        TrainingError: they are damaged, and no training to come would make them.
    """
    kept = best(folder)
    fault = fault_of(kept) if kept else "nothing is there"
    if fault is None:
        return
    if due and (kept is None or step_of(kept) <= step):
        raise TrainingError(
            f"{kept or folder / 'best'}: the best weights so far are lost ({fault}); delete {folder} to train again"
        )
    if kept:
        logger.warning("%s can't be used: %s; training goes on before that step and makes it again", kept, fault)
        shutil.rmtree(kept)


def _steps(folder: Path, kind: str) -> list[Path]:
    """What ``folder`` holds of a kind, newest first."""
    found = [path for path in folder.glob(f"{kind}-*") if path.name.rpartition("-")[2].isdecimal()]
    return sorted(found, key=step_of, reverse=True)
