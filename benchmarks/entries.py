"""What is measured: one entry a model, and how to make the usual ones."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lilliput import sessions

WORKER = (sys.executable, "-m", "lilliput.benchmarks.worker")


@dataclass(frozen=True)
class Entry:
    """One model in one engine and precision.

    Attributes:
        name: unique in a run; the row's name.
        peer: file in ``benchmarks/peers`` that hosts it, with its ``options``.
        model: which trained model it serves: rows of one model differ in engine and precision only.
        role: "teacher_eager", "teacher_fp32" and "teacher_int8" are what the others are compared with; the claim of
            the report is about a "student"; others ("teacher", "floor") only name things.
        tolerance: how far a probability may move when a text is answered again. 0 for engines that are bit-stable.
        parameters, bytes: where the worker can't know them.
        outputs: the data's label of each of the model's outputs, where those have other names or another order; empty
            where they are the data's labels as they stand.
        command: the worker's program and arguments; a peer in an environment of its own names another interpreter.
    """

    name: str
    engine: str
    precision: str
    peer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    role: str = ""
    task: str = "classification"
    provider: str = "CPUExecutionProvider"
    seeds: tuple[int, ...] = ()
    tolerance: float = 0.0
    parameters: int | None = None
    bytes: int | None = None
    outputs: Sequence[str] = ()
    command: Sequence[str] = WORKER


def of_bundle(
    bundle: Path,
    model: str,
    precision: str,
    role: str = "student",
    seeds: tuple[int, ...] = (),
    provider: str = "cpu",
    outputs: Sequence[str] = (),
) -> Entry:
    """A bundle in Lilliput's runtime, named "MODEL PRECISION"; on a provider other than the CPU, that one too."""
    on_cpu = provider == "cpu"
    return Entry(
        name=f"{model} {precision}" if on_cpu else f"{model} {precision} {provider}",
        engine="onnxruntime",
        precision=precision,
        peer="bundle",
        options={"bundle": str(bundle), "precision": precision, **({} if on_cpu else {"provider": provider})},
        model=model,
        role=role,
        provider=sessions.PROVIDERS[provider],
        seeds=seeds,
        outputs=outputs,
        tolerance=0.0 if on_cpu else 1e-3,  # accelerators add in no fixed order
    )


def of_torch_eager(
    folder: Path,
    model: str,
    max_length: int,
    seeds: tuple[int, ...] = (),
    role: str = "teacher_eager",
    outputs: Sequence[str] = (),
) -> Entry:
    """A Hugging Face folder (or bundle) in eager PyTorch, named "MODEL torch eager"."""
    options = {"model": str(folder), "max_length": max_length}
    return Entry(
        name=f"{model} torch eager",
        engine="torch",
        precision="fp32",
        peer="torch_eager",
        options=options,
        model=model,
        role=role,
        provider="cpu",
        seeds=seeds,
        outputs=outputs,
        tolerance=1e-5,  # matrix kernels may depend on where in memory their operands lie
    )


def of_plain_onnx_int8(folder: Path, model: str, seeds: tuple[int, ...] = (), outputs: Sequence[str] = ()) -> Entry:
    """What ``peers.plain_onnx_int8.build`` wrote, named "MODEL plain int8"."""
    return Entry(
        name=f"{model} plain int8",
        engine="onnxruntime",
        precision="int8",
        peer="plain_onnx_int8",
        options={"model": str(folder)},
        model=f"{model} plain",
        role="teacher_int8",
        seeds=seeds,
        outputs=outputs,
    )


def of_tfidf(train: Path, labels: Sequence[str]) -> Entry:
    """TF-IDF and logistic regression, fitted on what ``peers.tfidf.write_train`` wrote."""
    return Entry(
        name="TF-IDF + logistic regression",
        engine="scikit-learn",
        precision="fp64",
        peer="tfidf",
        options={"train": str(train), "labels": list(labels)},
        model="tfidf",
        role="floor",
        provider="cpu",
    )
