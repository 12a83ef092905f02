"""Compound scores of VADER, as its package gives them today, in an environment of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lilliput.benchmarks.peers import vader
from lilliput.benchmarks.peers.measure import environments
from lilliput.benchmarks.peers.measure.roster import command
from lilliput.benchmarks.workers import Worker

CHUNK = 1000
LIMIT_S = 300.0
REQUIREMENTS = "vader"


def compounds(texts: Sequence[str], folder: Path) -> list[float]:
    """The compound score of each text, four digits in [-1, 1].

    Args:
        folder: for the worker's spec and its error output.

    Raises:
        LilliputError: the package can't be installed, or the worker ended.
    """
    python = environments.interpreter(REQUIREMENTS)
    spec: dict[str, Any] = {"peer": "vader", "threads": 1, "options": {"facts": {"labels": list(vader.LABELS)}}}
    found: list[float] = []
    with Worker("vader", command(python, "work"), spec, folder, LIMIT_S) as worker:
        worker.ready()
        for start in range(0, len(texts), CHUNK):
            rows = worker.ask("batch", texts=list(texts[start : start + CHUNK]))["probabilities"]
            found += [vader.compound_of(row) for row in rows]
    return found


def version() -> str:
    """Of the package."""
    return environments.versions_of(REQUIREMENTS)["vadersentiment"]
