"""What a model is made of, read from its ``config.json``: blocks with their heads and neurons, widths, vocabulary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilliput.benchmarks.entries import Entry

NAMES = {
    "hidden": ("hidden_size", "dim", "d_model", "width"),
    "layers": ("num_hidden_layers", "n_layers", "layers"),
    "heads": ("num_attention_heads", "n_heads"),
    "ffn": ("intermediate_size", "hidden_dim"),
    "vocabulary": ("vocab_size",),
}
"""Keys under which architectures keep a number."""
LARGEST, MOST = 1_000, 100_000_000
"""Of blocks, and of any other number: a configuration that says more is not drawn."""


def of_entry(entry: Entry) -> dict[str, Any] | None:
    """The structure of the model that an entry hosts; None where it has no configuration that can be read."""
    folder = entry.options.get("bundle") or entry.options.get("model")
    if not isinstance(folder, str):
        return None
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return of_config(config) if isinstance(config, dict) else None


def of_config(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """``{"kind", "hidden", "vocabulary", "head_size", "blocks": [{"heads", "ffn"}]}``.

    A model without attention has ``layers`` of width ``hidden``, no blocks and no head size. None where the numbers are
    not there or can't be sizes.
    """
    found = {name: next((config[key] for key in keys if key in config), None) for name, keys in NAMES.items()}
    hidden, layers, heads, ffn = (found[name] for name in ("hidden", "layers", "heads", "ffn"))
    kind = config.get("model_type")
    if not isinstance(kind, str) or not _is_size(hidden):
        return None
    shape = {
        "kind": kind,
        "hidden": hidden,
        "vocabulary": found["vocabulary"] if _is_size(found["vocabulary"]) else None,
    }
    if heads is None and "block_heads" not in config:
        return {**shape, "head_size": None, "layers": layers if _is_size(layers) else 1, "blocks": []}
    if not isinstance(layers, int) or not _is_size(layers) or layers > LARGEST:
        return None
    many = {"heads": config.get("block_heads") or [heads] * layers, "ffn": config.get("block_ffn") or [ffn] * layers}
    if any(
        not isinstance(sizes, list) or len(sizes) != layers or not all(map(_is_size, sizes)) for sizes in many.values()
    ):
        return None
    size = config.get("head_size") or (hidden // heads if heads else None)
    blocks = [{"heads": one, "ffn": other} for one, other in zip(many["heads"], many["ffn"], strict=True)]
    return {**shape, "head_size": size if _is_size(size) else None, "layers": layers, "blocks": blocks}


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST
