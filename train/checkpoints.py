"""Checkpoints that are whole or are not used.

A checkpoint is sealed when everything in it has been written: ``seal.json`` lists its files with their SHA-256 and is
renamed into place last. One that was interrupted has no seal, one that was damaged does not match it; neither is
resumed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

from lilliput.errors import TrainingError
from lilliput.runs import write_json

SEAL = "seal.json"

logger = logging.getLogger(__name__)


def seal(checkpoint: Path) -> None:
    """Flush every file of ``checkpoint`` to disk and write its seal."""
    files = {}
    for path in sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != SEAL):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            files[str(path.relative_to(checkpoint))] = hashlib.file_digest(file, "sha256").hexdigest()
    write_json(checkpoint / SEAL, files)


def fault_of(checkpoint: Path) -> str | None:
    """Why ``checkpoint`` can't be resumed from, or None if it is whole."""
    try:
        files = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "it was not finished"
    except (OSError, ValueError):
        return f"its {SEAL} is damaged"
    for name, expected in files.items():
        try:
            with (checkpoint / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    return f"{name} is damaged"
        except OSError:
            return f"{name} is missing"
    return None


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint under ``folder``; broken newer ones are removed, and said so.

    Raises:
        TrainingError: there are finished checkpoints and every one is damaged. Starting again from nothing is for
        the user
            to decide, by deleting the folder.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    damaged = []
    for checkpoint in found:
        fault = fault_of(checkpoint)
        if fault is None:
            return checkpoint
        logger.warning("%s can't be resumed from: %s; falling back to the one before", checkpoint, fault)
        if fault == "it was not finished":
            shutil.rmtree(checkpoint)
        else:
            damaged.append(f"{checkpoint.name}: {fault}")
    if damaged:
        raise TrainingError(
            f"{folder}: no checkpoint is whole ({'; '.join(damaged)}); delete the folder to start again"
        )
    return None
