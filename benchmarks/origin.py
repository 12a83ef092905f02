"""How a measured model was made, and what is known of its quantization: from its manifest and files beside it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilliput.benchmarks.entries import Entry
from lilliput.bundle import Bundle
from lilliput.config import Config, DistillConfig, FinetuneConfig, PretrainConfig, PruneConfig
from lilliput.errors import LilliputError

KINDS: tuple[type[Config], ...] = (FinetuneConfig, DistillConfig, PruneConfig, PretrainConfig)
REPEATED = ("corpus", "objective", "stage", "teacher")
"""Flags that are given once for each of several values."""
LEFT_OUT = ("quantization",)
"""Keys of a recipe that are no flags of the command that trained the model."""
SHOWN = 60
"""Layers of a ranking at most, the most sensitive ones."""
LARGEST = 10_000_000
"""Bytes of a quantization report."""


def commands(entry: Entry) -> list[str]:
    """The command lines that make a bundle's model, as far as its manifest tells; places that it does not name are
    words in capitals, and other models have their public names. Empty for what is no bundle, or has no recipe."""
    if "bundle" not in entry.options:
        return []
    try:
        manifest = Bundle.open(Path(entry.options["bundle"])).manifest
    except LilliputError:
        return []
    recipe = {key: value for key, value in manifest.recipe.items() if key not in LEFT_OUT}
    kinds = [kind for kind in KINDS if recipe and set(recipe) <= set(kind.model_fields)]
    if not kinds:
        return []
    kind = min(kinds, key=lambda one: len(set(one.model_fields) - set(recipe)))
    trained = [*_words(kind, recipe), "--out", "TRAINED"]
    export = ["lilliput", "export", "--model", "TRAINED", *_data(recipe), "--out", manifest.name]
    lines = [shlex.join(trained), shlex.join(export)]
    return [*lines, *_quantization(manifest.recipe.get("quantization"), entry.precision, manifest.name, recipe)]


def _words(kind: type[Config], recipe: Mapping[str, Any]) -> list[str]:
    words = ["lilliput", kind.command]
    if "teacher" in kind.model_fields:
        words += ["--teacher", "TEACHER"]
    for name, field in kind.model_fields.items():
        value = recipe.get(name, field.default)
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        if value is None or value == default or name == "out":
            continue
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else "--no-" + flag.removeprefix("--"))
        elif isinstance(value, list):
            each = value if name in REPEATED else [",".join(map(str, value))]
            words += [word for one in each for word in (flag, str(one))]
        else:
            words += [flag, str(value)]
    return words


def _data(recipe: Mapping[str, Any]) -> list[str]:
    return ["--data", str(recipe["data"])] if recipe.get("data") not in (None, "sentiment") else []


def _quantization(settings: Any, precision: str, name: str, recipe: Mapping[str, Any]) -> list[str]:
    """The line of ``lilliput quantize``, where that made the graph."""
    if not isinstance(settings, Mapping) or precision not in settings:
        return []
    return [
        shlex.join(["lilliput", "quantize", "--model", name, *_data(recipe), "--precision", precision, "--out", "OUT"])
    ]


def sensitivity(entry: Entry) -> dict[str, Any] | None:
    """What ``lilliput quantize`` found of each layer, where its report lies beside the bundle and is about this
    precision: ``{"layers", "kept", "ranking"}``, the ranking as in `lilliput.export.sensitivity.Sensitivity`."""
    if "bundle" not in entry.options:
        return None
    folder = Path(entry.options["bundle"]).absolute()
    path = folder.with_name(f"{folder.name}.quantization.json")
    try:
        if path.stat().st_size > LARGEST:
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["precision"] != entry.precision or not found["ranking"]:
            return None
        keys = {"layer": str, "weights": int, "sqnr_db": float | int | None, "flips": float | int}
        ranking = [{key: row[key] for key in keys} for row in found["ranking"][:SHOWN]]
        kept = [str(layer) for layer in found["verdict"]["kept"]]
        fits = all(isinstance(row[key], kind) for row in ranking for key, kind in keys.items())
        return {"layers": int(found["layers"]), "kept": kept, "ranking": ranking} if fits else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
