"""Checkpoints that are whole or are not used.

A checkpoint is sealed when everything in it has been written: ``seal.json`` lists its files with their SHA-256 and is
renamed into place last. One that was interrupted has no seal, one that was damaged does not match it; neither is
resumed.
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
UNFINISHED = "it was not finished"

logger = logging.getLogger(__name__)


def seal(checkpoint: Path) -> None:
    """Flush every file of ``checkpoint`` to disk and write its seal."""
    files = {}
    for path in sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != SEAL):
        fsync(path)
        with path.open("rb") as file:
            files[str(path.relative_to(checkpoint))] = hashlib.file_digest(file, "sha256").hexdigest()
    write_json(checkpoint / SEAL, files)
    fsync(checkpoint)
    fsync(checkpoint.parent)


def fault_of(checkpoint: Path) -> str | None:
    """Why ``checkpoint`` can't be resumed from, or None if it is whole."""
    try:
        files = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return UNFINISHED
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
        TrainingError: there are finished checkpoints and every one is damaged. Starting again from nothing is for the
            user to decide, by deleting the folder.
    """
    found = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    broken = {}
    whole = None
    for checkpoint in sorted(found, key=step_of, reverse=True):
        fault = fault_of(checkpoint)
        if fault is None:
            whole = checkpoint
            break
        broken[checkpoint] = fault
    damaged = [f"{checkpoint.name}: {fault}" for checkpoint, fault in broken.items() if fault != UNFINISHED]
    if damaged and whole is None:
        raise TrainingError(
            f"{folder}: no checkpoint is whole ({'; '.join(damaged)}); delete the folder to start again"
        )
    for checkpoint, fault in broken.items():
        instead = f"going on from {whole.name}" if whole else "there is none before it, so training starts again"
        logger.warning("%s can't be resumed from: %s; %s", checkpoint, fault, instead)
        shutil.rmtree(checkpoint)  # else the Trainer would count it among those it keeps
    return whole
