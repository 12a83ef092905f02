"""Make a bundle of a torch model: graphs, tokenizer, weights, parity gates, manifest; whole or not at all."""

from __future__ import annotations

import glob
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

import lilliput
from lilliput import bundle, encoder, machine, models, runtime
from lilliput.config import ExportConfig
from lilliput.errors import GateError
from lilliput.export import onnx, parity, quantize
from lilliput.runs import write_json
from lilliput.types import ONNX_FILES, Precision

DISABLED_OPTIMIZERS: dict[Precision, list[str]] = {"fp32": [], "int8": ["SkipLayerNormFusion"]}
"""ONNX Runtime's graph optimizers that make a precision slower on CPU, by name. Without this fusion int8 graphs of BERT
run 8 to 10% faster."""

Progress = Callable[[int, int, str], None]


def to_bundle(
    model: Any,
    tokenizer: Any,
    config: ExportConfig,
    texts: Sequence[str],
    reference: np.ndarray,
    *,
    samples: Sequence[str],
    provenance: dict[str, Any],
    recipe: dict[str, Any],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a bundle of ``model`` to ``config.out`` and return its parity figures.

    Args:
        texts: real texts for the gates (validation and transfer; never test).
        reference: the torch model's float32 logits on ``texts``, ``[texts, labels]``.
        samples: texts that show the quantizer how large activations are; other than ``texts``.
        provenance: where model and data come from, with licences; goes to the manifest and the model card.
        recipe: the effective configuration of the training.

    Raises:
        GateError: a graph is not near enough to the torch model, or that one's logits are not finite; nothing is left
            behind.
    """
    model = model.eval().to("cpu")
    inputs = encoder.input_names_of(model, tokenizer)
    if not np.isfinite(reference).all():
        bad = int((~np.isfinite(reference)).any(axis=1).sum())
        raise GateError(
            f"{config.model}: the model's own logits are not finite on {bad} of {len(texts)} texts; train it again. "
            "No bundle was written"
        )
    staging = _staging(config.out)
    try:
        models.save(model, tokenizer, staging)
        with torch.no_grad():
            onnx.export_onnx(model, inputs, staging / ONNX_FILES["fp32"])
        if "int8" in config.precisions:
            feeds = _feeds(tokenizer, inputs, samples, config.max_length)
            quantize.quantize_int8(staging / ONNX_FILES["fp32"], staging / ONNX_FILES["int8"], feeds)
        write_json(staging / "ort_config.json", _ort_config(config))
        manifest = _manifest(model, inputs, config, staging, provenance, recipe)
        bundle.write_manifest(staging, **manifest, smoke=[])
        figures = _pass_gates(staging, config, texts, reference, progress)
        bundle.write_manifest(staging, **manifest, smoke=_smoke(staging, config, texts))
        bundle.commit(staging, config.out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return {"parity": [asdict(figure) for figure in figures], "parameters": manifest["parameters"]}


def _staging(out: Path) -> Path:
    """A new folder beside ``out``; those of processes that were killed before they could remove theirs go."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".{glob.escape(out.name)}.*.partial"):
        process = left.name.removesuffix(".partial").rpartition(".")[2]
        if process.isdecimal() and (int(process) == os.getpid() or not psutil.pid_exists(int(process))):
            shutil.rmtree(left, ignore_errors=True)
    staging = out.with_name(f".{out.name}.{os.getpid()}.partial")
    staging.mkdir()
    return staging


def _feeds(
    tokenizer: Any, inputs: tuple[str, ...], texts: Sequence[str], max_length: int
) -> Iterator[dict[str, np.ndarray]]:
    """The graph's inputs for each text, ``[1, tokens]``."""
    for text in texts:
        encoded = tokenizer(text, truncation=True, max_length=max_length, return_tensors="np")
        yield {name: encoded[name].astype(np.int64) for name in inputs}


def _pass_gates(
    staging: Path, config: ExportConfig, texts: Sequence[str], reference: np.ndarray, progress: Progress | None
) -> list[parity.Parity]:
    name = config.name or config.out.name
    figures = []
    for precision in config.precisions:
        figure = parity.measure(staging, precision, texts, reference, progress)
        parity.check(figure, config.max_difference, config.min_agreement, name)
        figures.append(figure)
    return figures


def _manifest(
    model: Any,
    inputs: tuple[str, ...],
    config: ExportConfig,
    staging: Path,
    provenance: dict[str, Any],
    recipe: dict[str, Any],
) -> dict[str, Any]:
    packages = ("torch", "transformers", "onnx", "onnxruntime", "tokenizers")
    return {
        "name": config.name or config.out.name,
        "task": config.task,
        "architecture": model.config.model_type,
        "labels": models.labels_of(model),
        "max_length": config.max_length,
        "inputs": inputs,
        "graphs": {
            precision: {
                "file": ONNX_FILES[precision],
                **onnx.describe(staging / ONNX_FILES[precision]),
                "disabled_optimizers": DISABLED_OPTIMIZERS[precision],
            }
            for precision in config.precisions
        },
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "provenance": provenance,
        "recipe": recipe,
        "seeds": (config.seed,),
        "versions": {
            "lilliput": lilliput.__version__,
            **{package: importlib.metadata.version(package) for package in packages},
        },
    }


def _smoke(staging: Path, config: ExportConfig, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Two texts with the logits that each graph gives them, for ``lilliput verify`` to repeat."""
    samples = list(texts[:2])
    return [
        {"text": text, "precision": precision, "logits": [float(value) for value in logits]}
        for precision in config.precisions
        for text, logits in zip(samples, runtime.load(staging, precision=precision).logits(samples), strict=True)
    ]


def _ort_config(config: ExportConfig) -> dict[str, Any]:
    """What optimum's ``ORTModel`` reads beside the graphs."""
    quantization = {"is_static": False, "format": "QOperator", "weights_dtype": "QInt8", "per_channel": True}
    quantization["reduce_range"] = quantize.overflows(machine.cpu())
    return {
        "one_external_file": True,
        "opset": onnx.OPSET,
        "quantization": quantization if "int8" in config.precisions else {},
    }
