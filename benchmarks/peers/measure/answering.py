"""The answers of every model to every test text, off the clock and kept: accuracies rest on all texts, times on
some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.measured import same_labels
from lilliput.benchmarks.workers import Worker
from lilliput.errors import ConfigError
from lilliput.runs import Run, digest

CHUNK = 100
"""Texts a request: a slow model is heard of before its limit."""

LIMIT_S = 600.0


@dataclass(frozen=True)
class Answers:
    """Label indices [n] in the order of the texts, and what the worker said of its model."""

    labels: NDArray[np.int64]
    facts: dict[str, Any]


def answers_of(run: Run, entry: Entry, key: Any, texts: Sequence[str], labels: Sequence[str]) -> Answers:
    """Answer the texts one at a time in a fresh process, as in the timed rounds.

    Args:
        key: what identifies the model; answers of the same model to the same texts are kept.
        labels: of the data.

    Raises:
        ConfigError: the model answers other labels.
        LilliputError: the worker ended or hung; the message has its last lines.
    """
    identity = {"model": key, "options": dict(entry.options), "peer": entry.peer, "texts": digest(list(texts))}

    def work(folder: Any) -> dict[str, Any]:
        spec = {"peer": entry.peer, "threads": 1, "options": dict(entry.options)}
        with Worker(entry.name, entry.command, spec, folder / "worker", LIMIT_S) as worker:
            facts = worker.ready()
            found: list[int] = []
            for start in range(0, len(texts), CHUNK):
                found += worker.ask("one", texts=list(texts[start : start + CHUNK]))["answers"]
        return {"answers": found, "facts": facts}

    result = run.stage(f"{entry.name}-answers".replace(" ", "-"), identity, work).result
    if not same_labels(result["facts"]["labels"], labels):
        theirs, ours = ", ".join(result["facts"]["labels"]), ", ".join(labels)
        raise ConfigError(f"{entry.name!r} answers {theirs}, but the data's labels are {ours}")
    return Answers(np.array(result["answers"]), dict(result["facts"]))
