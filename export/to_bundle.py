"""Make a bundle of a torch model: graphs, tokenizer, weights, parity gates, manifest; whole or not at all."""

from __future__ import annotations

import copy
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
from lilliput import bundle, encoder, machine, models, runtime, signatures, tasks
from lilliput.config import ExportConfig
from lilliput.errors import GateError
from lilliput.export import onnx, parity, quantize
from lilliput.runs import write_json
from lilliput.tasks import Task
from lilliput.tokenization import WindowEncoder
from lilliput.types import ONNX_FILES, Precision

DISABLED_OPTIMIZERS: dict[Precision, list[str]] = {
    **{precision: [] for precision in ONNX_FILES},
    "int8": ["SkipLayerNormFusion"],
    "int8-static": ["SkipLayerNormFusion"],
}
"""ONNX Runtime's graph optimizers that make a precision slower on CPU, by name. Without this fusion int8 graphs of BERT
run 8 to 10% faster."""

Progress = Callable[[int, int, str], None]


def to_bundle(
    model: Any,
    tokenizer: Any,
    config: ExportConfig,
    items: Sequence[Any],
    reference: parity.Outputs,
    *,
    samples: Sequence[Any],
    provenance: dict[str, Any],
    recipe: dict[str, Any],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a bundle of ``model`` to ``config.out`` and return its parity figures.

    Args:
        items: inputs of ``config.task`` for the gates, of real texts (validation and transfer; never test).
        reference: the torch model's float32 outputs on them.
        samples: inputs that show the quantizer how large activations are; other than ``items``.
        provenance: where model and data come from, with licences; goes to the manifest and the model card.
        recipe: the effective configuration of the training.

    Raises:
        GateError: a graph is not near enough to the torch model, or that one's outputs are not finite; nothing is left
            behind.
        ConfigError: ``config.sign`` is no private key.
    """
    signatures.check_private_key(config.sign)
    task = tasks.get(config.task)
    model = model.eval().to("cpu")
    inputs = encoder.input_names_of(model, tokenizer)
    bad = sum(not all(np.isfinite(array).all() for array in some) for some in reference)
    if bad:
        raise GateError(
            f"{config.model}: the model's own outputs are not finite on {bad} of {len(items)} texts; train it again. "
            "No bundle was written"
        )
    staging = staging_beside(config.out)
    try:
        models.save(model, tokenizer_for_loaders(tokenizer, task, config.max_length), staging, task)
        with torch.no_grad():
            onnx.export_onnx(model, inputs, staging / ONNX_FILES["fp32"], task.outputs)
        if "int8" in config.precisions:
            feeds = feeds_of(task, tokenizer, inputs, samples, config.max_length)
            quantize.quantize_int8(staging / ONNX_FILES["fp32"], staging / ONNX_FILES["int8"], feeds)
        facts = int8_facts(quantize.overflows(machine.cpu())) if "int8" in config.precisions else {}
        write_json(staging / "ort_config.json", ort_config(facts))
        manifest = _manifest(model, inputs, config, staging, provenance, recipe)
        bundle.write_manifest(staging, **manifest, smoke=[])
        figures = _pass_gates(staging, config, items, reference, progress)
        bundle.write_manifest(staging, **manifest, smoke=smoke(staging, config.precisions, items))
        if config.sign:
            signatures.sign(staging, config.sign)
        bundle.commit(staging, config.out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return {"parity": [asdict(figure) for figure in figures], "parameters": manifest["parameters"]}


def staging_beside(out: Path) -> Path:
    """A new folder beside ``out``; those of processes that were killed before they could remove theirs go."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".{glob.escape(out.name)}.*.partial"):
        process = left.name.removesuffix(".partial").rpartition(".")[2]
        if process.isdecimal() and (int(process) == os.getpid() or not psutil.pid_exists(int(process))):
            shutil.rmtree(left, ignore_errors=True)
    staging = out.with_name(f".{out.name}.{os.getpid()}.partial")
    staging.mkdir()
    return staging


def tokenizer_for_loaders(tokenizer: Any, task: Task, max_length: int) -> Any:
    """A copy of a tokenizer that reads texts as the bundle does, for loaders that take ``tokenizer.json`` as it is.

    It pads nothing, and cuts at ``max_length`` tokens; where the task reads a long input in windows it cuts nothing
    either, for what is cut would be in no window.
    """
    own = copy.deepcopy(tokenizer)
    own.model_max_length = max_length
    own.backend_tokenizer.no_padding()
    if task.overlap:
        own.backend_tokenizer.no_truncation()
    else:
        own.backend_tokenizer.enable_truncation(max_length)
    # What transformers noted of an earlier tokenizer.json would stand in tokenizer_config.json.
    for name in ("max_length", "stride", "truncation_strategy", "pad_to_multiple_of"):
        own.init_kwargs.pop(name, None)
    return own


def feeds_of(
    task: Task, tokenizer: Any, inputs: tuple[str, ...], items: Sequence[Any], max_length: int
) -> Iterator[dict[str, np.ndarray]]:
    """The graph's inputs for each window of each input, ``[1, tokens]``."""
    encode = WindowEncoder(tokenizer.backend_tokenizer, max_length, task.overlap)
    for windows in encode([task.tokens(part) for item in items for part in task.parts(item)]):
        for window in windows:
            every = {
                "input_ids": window.ids,
                "attention_mask": window.attention_mask,
                "token_type_ids": window.type_ids,
            }
            yield {name: np.array([every[name]], dtype=np.int64) for name in inputs}


def _pass_gates(
    staging: Path, config: ExportConfig, items: Sequence[Any], reference: parity.Outputs, progress: Progress | None
) -> list[parity.Parity]:
    name = config.name or config.out.name
    figures = []
    for precision in config.precisions:
        figure = parity.measure(staging, precision, items, reference, progress)
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
        "labels": models.labels_of(model) if "labels" in tasks.get(config.task).dimensions else (),
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
        "settings": settings_of(model, config.task),
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "provenance": provenance,
        "recipe": recipe,
        "seeds": (config.seed,),
        "versions": {
            "lilliput": lilliput.__version__,
            **{package: importlib.metadata.version(package) for package in packages},
        },
    }


def settings_of(model: Any, task: str) -> dict[str, Any]:
    """What was fitted on validation when the model was made for ``task``."""
    noted = models.noted(model)
    return dict(noted.get("settings") or {}) if noted.get("task") == task else {}


def smoke(staging: Path, precisions: Sequence[Precision], items: Sequence[Any]) -> list[dict[str, Any]]:
    """Two inputs with the outputs that each graph gives them, for ``lilliput verify`` to repeat."""
    found = []
    for precision in precisions:
        model = runtime.load(staging, precision=precision)
        found += [{"text": item, "precision": precision, "logits": model.smoke(item)} for item in items[:2]]
    return found


def ort_config(quantization: dict[str, Any]) -> dict[str, Any]:
    """What optimum's ``ORTModel`` reads beside the graphs; ``quantization`` is empty where there is none."""
    return {"one_external_file": True, "opset": onnx.OPSET, "quantization": quantization}


def int8_facts(reduce_range: bool, *, static: bool = False) -> dict[str, Any]:
    """How weights of 8 bits were made, in optimum's words."""
    return {
        "is_static": static,
        "format": "QDQ" if static else "QOperator",
        "weights_dtype": "QInt8",
        "per_channel": True,
        "reduce_range": reduce_range,
    }
