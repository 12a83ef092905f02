"""What a comparison found, as a piece: one row a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput import statistics, timing
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.measured import Measured
from lilliput.benchmarks.peers.measure.answering import Answers

SHOWN = {
    "torch": ("transformers", "torch", "sentence-transformers"),
    "onnxruntime": ("optimum-onnx", "onnxruntime"),
    "openvino": ("openvino", "nncf"),
    "scikit-learn": ("scikit-learn",),
    "vaderSentiment": ("vadersentiment",),
}
"""Packages whose versions a row of each engine names, of those in its environment."""


def accuracy_of(answers: Answers, golds: Sequence[int]) -> dict[str, Any]:
    """Accuracy with its interval, and the indices of the texts that were answered wrongly."""
    hits = answers.labels == np.asarray(golds)
    return {"accuracy": asdict(statistics.accuracy(hits)), "wrong": np.flatnonzero(~hits).tolist()}


def hits_of(row: Mapping[str, Any], count: int) -> NDArray[np.bool_]:
    """Where a row's model is right: bool [count]."""
    hits = np.ones(count, dtype=bool)
    hits[row["wrong"]] = False
    return hits


def row(
    entry: Entry,
    answers: Answers,
    golds: Sequence[int],
    seen: Measured,
    timed: Sequence[int],
    about: str,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """One model.

    Args:
        answers: to every test text.
        seen: on the clock, of the texts of the indices ``timed``.
        versions: of the packages of its environment.

    Returns:
        ``changed`` counts the timed texts whose label was another one off the clock.
    """
    return {
        "about": about,
        "engine": entry.engine,
        "precision": entry.precision,
        "versions": {name: versions[name] for name in SHOWN[entry.engine] if name in versions},
        **accuracy_of(answers, golds),
        "changed": int((seen.answers != answers.labels[list(timed)]).sum()),
        "latency_ms": asdict(timing.percentiles(seen.elapsed_ns.tolist())),
        "round_p50_ms": list(seen.round_p50_ms),
        "p50_spread": seen.p50_spread,
        "throughput_per_s": seen.throughput_per_s,
        "parameters": seen.facts["parameters"],
        "bytes": seen.facts["bytes"],
        "peak_rss_mb": None if seen.peak_bytes is None else seen.peak_bytes / 1e6,
    }
