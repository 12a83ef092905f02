"""The peers that users would pick instead, and how each is measured: one entry a peer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lilliput
from lilliput import benchmarks
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.peers.measure import launch


@dataclass(frozen=True)
class Outside:
    """A peer in an environment of its own.

    Attributes:
        name: as people call it; its file is ``benchmarks/peers/NAME.py``, with underscores.
        about: what it is, in words.
        requirements: its file in ``benchmarks/peers/requirements``; peers of the same packages share one.
        trained: it starts from the teacher's weights (the others learn from the training texts, or not at all).
        built: it has something to make before it can be loaded.
        from_graph: it is made of a plain ONNX export of the teacher, not of its folder.
        tolerance: as of `Entry`.
    """

    name: str
    about: str
    engine: str
    precision: str
    requirements: str
    trained: bool = True
    built: bool = True
    from_graph: bool = False
    tolerance: float = 0.0

    @property
    def module(self) -> str:
        """Its file in ``benchmarks/peers``."""
        return self.name.replace("-", "_")

    def entry(self, python: Path, options: Mapping[str, Any], seeds: tuple[int, ...] = ()) -> Entry:
        """What is measured: a worker in its environment."""
        return Entry(
            name=self.name,
            engine=self.engine,
            precision=self.precision,
            peer=self.module,
            options=options,
            model="teacher" if self.trained else self.name,
            role="peer",
            provider="cpu",
            seeds=seeds,
            tolerance=self.tolerance,
            command=command(python, "work"),
        )


TORCH_TOLERANCE = 1e-5
"""Matrix kernels may depend on where in memory their operands lie."""

PEERS = (
    Outside(
        "hf-pipeline",
        "transformers' text-classification pipeline",
        "torch",
        "fp32",
        "hf-pipeline",
        built=False,
        tolerance=TORCH_TOLERANCE,
    ),
    Outside("ort-int8", "optimum's export and dynamic quantization", "onnxruntime", "int8", "optimum"),
    Outside("optimum-o2", "optimum's export, optimized at level O2", "onnxruntime", "fp32", "optimum"),
    Outside("optimum-o3", "optimum's export, optimized at level O3", "onnxruntime", "fp32", "optimum"),
    Outside(
        "openvino-int8",
        "OpenVINO, quantized with NNCF",
        "openvino",
        "int8",
        "openvino",
        from_graph=True,
        tolerance=1e-6,
    ),
    Outside(
        "minilm-lr",
        "sentence-transformers' embeddings and logistic regression",
        "torch",
        "fp32",
        "minilm-lr",
        trained=False,
        tolerance=TORCH_TOLERANCE,
    ),
    Outside(
        "tfidf-lr", "TF-IDF of words and characters, and logistic regression", "scikit-learn", "fp64", "tfidf-lr", False
    ),
    Outside("vader", "VADER's lexicon and rules", "vaderSentiment", "rules", "vader", False, built=False),
)
"""In the order of the table."""


def command(python: Path, do: str) -> tuple[str, ...]:
    """The program and arguments of `launch`; the path of a spec is appended."""
    folders = (Path(lilliput.__file__).parent, Path(benchmarks.__file__).parent)
    return (str(python), "-I", launch.__file__, *map(str, folders), do)


def own_interpreter() -> Path:
    """This process's Python: what our own models are measured with."""
    return Path(sys.executable)
