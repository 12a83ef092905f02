"""Where measured latencies are kept: one JSON file for a machine, an engine, a kind of model and a set of texts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lilliput
from lilliput import encoder, machine
from lilliput.cache import cache_folder

Value = TypeVar("Value")

FORMAT = 1
"""Rises when measuring changes, so that older files are not read any more."""
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnx", "torch", "transformers")


def key(model: Any, tokenizer: Any, texts: Sequence[str], settings: Mapping[str, Any]) -> str:
    """A digest of all that decides latency: machine, versions, kind and width of the model, tokenizer, texts, settings.

    Weights have no part in it.
    """
    cpu = machine.cpu()
    blocks = encoder.settings_of(model)
    facts = {
        "format": FORMAT,
        "machine": [cpu.name, cpu.architecture, cpu.features, machine.usable_cores(), _accelerator(settings)],
        "versions": {"lilliput": lilliput.__version__, **machine.versions(_PACKAGES)},
        "model": [
            type(model).__name__,
            encoder.shape_of(model).hidden,
            encoder.head_size_of(model),
            len(encoder.layers_of(model)),
            blocks.activation,
            encoder.input_names_of(model, tokenizer),
        ],
        "tokenizer": _digest(tokenizer.backend_tokenizer.to_str()),
        "texts": _digest("\0".join(texts)),
        "settings": dict(settings),
    }
    return _digest(json.dumps(facts, sort_keys=True))


def read(name: str, parse: Callable[[dict[str, Any]], Value]) -> Value | None:
    """What was kept under a key; None where there is nothing, or nothing that ``parse`` takes."""
    try:
        return parse(json.loads(_path(name).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def write(name: str, value: dict[str, Any]) -> None:
    """Keep a value under a key; a cache that can't be written to is done without."""
    path = _path(name)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _path(name: str) -> Path:
    return cache_folder() / "latency" / f"{name}.json"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _accelerator(settings: Mapping[str, Any]) -> str | None:
    import torch

    return torch.cuda.get_device_name() if settings["device"] == "cuda" and torch.cuda.is_available() else None
