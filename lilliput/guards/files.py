"""What a bundle's other files may hold, for the loaders of other libraries: JSON that names no code, and plain text.

Lilliput's runtime opens none of them.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from lilliput.errors import IntegrityError
from lilliput.guards import strict_json, weights
from lilliput.guards.tokenizers import TOKENIZER

_CODE = ("auto_map", "custom_pipelines", "trust_remote_code")


def check(name: str, data: bytes, path: Path) -> None:
    """Refuse a listed file whose contents are not what its name says, or that has other loaders run code.

    Graphs and ``tokenizer.json`` are not looked at (see `lilliput.guards.model`).

    Args:
        name: of the file, below the bundle.
        data: its bytes.
        path: where they are from, for error messages.

    Raises:
        IntegrityError: the first fault that is found.
    """
    kind = PurePosixPath(name).suffix
    if kind == ".safetensors":
        weights.check(data, path)
    elif kind in (".json", ".txt") and name != TOKENIZER:
        try:
            content = strict_json.parse(data) if kind == ".json" else data.decode("utf-8")
        except ValueError as error:
            raise IntegrityError(f"{path}: not what its name says: {error!s:.200}") from error
        if fault := _code(content, name):
            raise IntegrityError(f"{path}: {fault}, which other loaders would run; no bundle has code")


def _code(content: Any, name: str) -> str | None:
    """What in a JSON file names code, for transformers (``auto_map``) or sentence-transformers (``modules.json``)."""
    pending = [content]
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending += one
        elif isinstance(one, dict):
            pending += one.values()
            for key in _CODE:
                if one.get(key):
                    return f"{key!r} names code"
            kind = one.get("type")
            if name == "modules.json" and not str(kind).startswith("sentence_transformers.models."):
                return f"a module of type {kind!r:.80}"
    return None
