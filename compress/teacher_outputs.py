"""The teacher's logits on a set of texts: computed once, kept on disk.

Every student of a run learns from the same outputs, so the teacher reads each text once however many students there
are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lilliput.runs import digest
from lilliput.train.evaluate import Progress, logits_of
from lilliput.train.loop import bf16_is_fast

PIECE = 4096
"""Texts computed between two saves: what an interruption can lose."""


def teacher_logits(
    teacher: Any,
    tokenizer: Any,
    teacher_id: str,
    texts: Sequence[str],
    max_length: int,
    cache: Path,
    progress: Progress | None = None,
) -> np.ndarray:
    """Logits ``[texts, labels]`` (float32) of the teacher.

    Args:
        teacher_id: fingerprint of the teacher's weights, part of the cache's key.
        cache: folder of finished pieces; safe to delete.
    """
    folder = cache / digest([teacher_id, max_length, list(texts)])[:16]
    folder.mkdir(parents=True, exist_ok=True)
    pieces = []
    for start in range(0, len(texts), PIECE):
        path = folder / f"{start:09d}.npy"
        if not path.exists():
            _compute(teacher, tokenizer, texts[start : start + PIECE], max_length, path, start, len(texts), progress)
        pieces.append(np.load(path, allow_pickle=False))
    return np.concatenate(pieces) if pieces else np.zeros((0, teacher.config.num_labels), np.float32)


def _compute(
    teacher: Any,
    tokenizer: Any,
    texts: Sequence[str],
    max_length: int,
    path: Path,
    start: int,
    total: int,
    progress: Progress | None,
) -> None:
    def report(done: int, _: int, what: str) -> None:
        if progress:
            progress(start + done, total, what)

    bf16 = bf16_is_fast(next(teacher.parameters()).device)
    logits = logits_of(
        teacher, tokenizer, texts, max_length, bf16=bf16, progress=report, what="teacher reads the texts"
    )
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.save(file, logits, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
