"""The manifest of a bundle: its fields, its canonical bytes, and the rules that a reader applies to them.

``lilliput.json`` is JSON with sorted keys, one space of indentation and ASCII only, plus ``digest``: the SHA-256 of the
same bytes without that key. A reader writes the parsed contents again and compares bytes, so a change of any byte,
white space included, is seen. A manifest written by an enemy has a valid digest, so sizes, types and names are checked.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lilliput import __version__
from lilliput.errors import BundleError, IntegrityError
from lilliput.guards.strict_json import unique

MANIFEST = "lilliput.json"
FORMAT = 2

_MAX_LENGTH_LIMIT = 1 << 16  # tokens
_SHOWN, _LONG = 200, 100_000  # characters of a text that is printed, and of any other
_LABELS, _FILES, _RECORDS, _DEPTH, _LOGITS = 10_000, 256, 64, 4, 256
_SIZES = {".json": 1 << 25, ".txt": 1 << 25, ".onnx": (1 << 31) - 1, ".safetensors": 1 << 40}
"""Formats of a bundle's files, none of which can hold code, and how many bytes each may have at most."""
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?<!\.)")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names of devices on Windows
_MARKUP = re.compile(r"<[A-Za-z/!?]")
_BIDI = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class FileEntry:
    """What the manifest promises of one file: SHA-256 in lower-case hex, size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """The contents of ``lilliput.json``.

    ``max_length`` counts tokens, special ones included. ``inputs`` names the inputs of the graphs. ``graphs`` maps a
    precision to its ``file``, ``opset``, ``operators`` (type -> count) and ``disabled_optimizers``. ``settings`` is
    what the task fitted on validation (thresholds and the like). ``smoke`` holds recorded predictions: ``text``, an
    input as the task takes it; ``precision``; and ``logits``, the first outputs on its first window. ``lilliput`` is
    the version that wrote the bundle. ``files`` maps a path below the bundle, with forward slashes, to its size and
    hash.
    """

    format: int
    lilliput: str
    name: str
    task: str
    architecture: str
    labels: tuple[str, ...]
    max_length: int
    inputs: tuple[str, ...]
    graphs: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    parameters: int
    provenance: dict[str, Any]
    recipe: dict[str, Any]
    seeds: tuple[int, ...]
    versions: dict[str, str]
    smoke: list[dict[str, Any]]
    files: dict[str, FileEntry]


def serialize(values: dict[str, Any], files: dict[str, FileEntry], path: Path) -> bytes:
    """The bytes of the manifest with these fields, to be written at ``path`` (which only error messages use).

    Raises:
        BundleError: a field is missing, unknown, of the wrong type, or not plain JSON.
    """
    listed = {name: {"sha256": entry.sha256, "size": entry.size} for name, entry in files.items()}
    try:
        # Through JSON and back: tuples become lists and keys become strings, as a reader will see them.
        content = json.loads(json.dumps({**values, "format": FORMAT, "lilliput": __version__, "files": listed}))
        _check_fields(content, path)
        content["digest"] = hashlib.sha256(_canonical(content)).hexdigest()
        return _canonical(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: a field is not plain JSON: {error}") from error


def parse(raw: bytes, path: Path) -> Manifest:
    """Turn the bytes of a manifest, read from ``path``, into a `Manifest`.

    Raises:
        IntegrityError: the bytes are not the canonical form of a JSON object with the right digest.
        BundleError: the format is not the one of this version, or a field is wrong.
    """
    try:
        content = json.loads(raw.decode("ascii"), object_pairs_hook=unique, parse_constant=_no_constant)
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
        digest = content.pop("digest", None)
        if hashlib.sha256(_canonical(content)).hexdigest() != digest:
            raise ValueError("its digest does not match its contents")
        if _canonical({**content, "digest": digest}) != raw:
            raise ValueError("its bytes are not the canonical form of its contents")
    except (ValueError, RecursionError) as error:
        detail = "nested too deeply" if isinstance(error, RecursionError) else error
        raise IntegrityError(f"{path}: changed or malformed: {detail!s:.200}; get the bundle again") from error
    if content.get("format") != FORMAT:
        raise BundleError(
            f"{path}: format {content.get('format')!r:.80}, written by Lilliput {content.get('lilliput')!r:.80}; "
            f"this is Lilliput {__version__}, which reads format {FORMAT}: install the version that wrote the bundle"
        )
    _check_fields(content, path)
    content["files"] = {name: FileEntry(**entry) for name, entry in content["files"].items()}
    for name in ("labels", "inputs", "seeds"):
        content[name] = tuple(content[name])
    return Manifest(**content)


def _canonical(content: Any) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


# --- the rules of the fields -----------------------------------------------------------------------------------------


def _whole(value: Any, low: int = 0, high: int | None = None) -> bool:
    return type(value) is int and value >= low and (high is None or value <= high)


def _text(value: Any) -> bool:
    # A lone surrogate can be escaped in JSON, but neither printed nor written to a file.
    if not isinstance(value, str) or len(value) > _LONG:
        return False
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _shown(value: Any) -> bool:
    """A text that is printed and put on pages: nothing that steers a terminal, turns lines round, or begins a tag."""
    return (
        _text(value)
        and len(value) <= _SHOWN
        and not any(character in _BIDI or unicodedata.category(character) == "Cc" for character in value)
        and not _MARKUP.search(value)
    )


def _labels(value: Any) -> bool:
    return _distinct(value) and len(value) <= _LABELS and all(map(_shown, value))


def _names(value: Any) -> bool:
    return _distinct(value) and len(value) <= _RECORDS and all(map(_name, value))


def _name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _SHOWN and value.isidentifier() and value.isascii()


def _distinct(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value) and len(set(value)) == len(value)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(
        (type(item) is float and math.isfinite(item)) or (type(item) is int and abs(item) < 2**63) for item in value
    )


def _table(value: Any, rule: Callable[[Any], bool] = lambda _: True) -> bool:
    return isinstance(value, dict) and all(_text(key) and rule(item) for key, item in value.items())


def _graph(value: Any) -> bool:
    return (
        _table(value)
        and _text(value.get("file"))
        and value["file"].endswith(".onnx")
        and _whole(value.get("opset"), 1, 100)
        and _table(value.get("operators"), lambda count: _whole(count, 1, 1_000_000))
        and all(map(_name, value["operators"]))
        and _names(value.get("disabled_optimizers"))
    )


def _setting(value: Any) -> bool:
    return _numbers(value if isinstance(value, list) else [value])


def _input(value: Any) -> bool:
    """A text, or several that are one input."""
    return _text(value) or (isinstance(value, list) and bool(value) and all(map(_text, value)))


def _prediction(value: Any) -> bool:
    return (
        _table(value)
        and _input(value.get("text"))
        and _text(value.get("precision"))
        and _numbers(value.get("logits"))
        and 0 < len(value["logits"]) <= _LOGITS
    )


def _file_name(name: str) -> bool:
    """Whether ``name`` is a relative path with forward slashes that stays below its folder, and is one and the same
    file, on every system; and of a kind that holds data alone."""
    parts = name.split("/")
    return (
        len(parts) <= _DEPTH
        and all(_PART.fullmatch(part) and len(part) <= _SHOWN and not _RESERVED.fullmatch(part) for part in parts)
        and PurePosixPath(name).suffix in _SIZES
        and parts[0] != MANIFEST
    )


def _file_table(value: Any) -> bool:
    return (
        _table(value, lambda entry: isinstance(entry, dict) and set(entry) == {"sha256", "size"})
        and len(value) <= _FILES
        and all(_hash(entry["sha256"]) and _whole(entry["size"]) for entry in value.values())
        and len({name.casefold() for name in value}) == len(value)  # two names may be one file on another system
    )


def _hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


_ONE_LINE = f"at most {_SHOWN} characters, without control characters or HTML"

_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "format": ("a whole number", _whole),
    "lilliput": ("a short string", _shown),
    "name": (f"a string of {_ONE_LINE}", _shown),
    "task": ("a short string", _shown),
    "architecture": ("a short string", _shown),
    "labels": (f"a list of at most {_LABELS:,} distinct strings, each {_ONE_LINE}", _labels),
    "max_length": (f"a whole number from 1 to {_MAX_LENGTH_LIMIT}", lambda v: _whole(v, 1, _MAX_LENGTH_LIMIT)),
    "inputs": ("a list of distinct names", _names),
    "graphs": ("precision -> {file, opset, operators, disabled_optimizers}", lambda v: _table(v, _graph) and bool(v)),
    "settings": ("name -> number or list of numbers", lambda v: _table(v, _setting)),
    "parameters": ("a whole number below 10^15", lambda v: _whole(v, 0, 10**15)),
    "provenance": ("an object", _table),
    "recipe": ("an object", _table),
    "seeds": (
        "a list of whole numbers of 64 bits",
        lambda v: isinstance(v, list) and all(type(item) is int and abs(item) < 2**63 for item in v),
    ),
    "versions": ("name -> version, both short strings", lambda v: _table(v, _shown)),
    "smoke": (
        f"a list of at most {_RECORDS} {{text, precision, logits}}",
        lambda v: isinstance(v, list) and len(v) <= _RECORDS and all(map(_prediction, v)),
    ),
    "files": ("relative path -> {sha256, size}, no two paths alike but for case", _file_table),
}


def _check_fields(content: dict[str, Any], path: Path) -> None:
    for name in sorted(_RULES.keys() ^ content.keys()):
        fault = "missing" if name in _RULES else "not a known field of this version"
        raise BundleError(f"{path}: {name!r:.80} is {fault}")
    for name, (expected, rule) in _RULES.items():
        if not rule(content[name]):
            raise BundleError(f"{path}: {name!r} must be {expected}")
    for name, entry in content["files"].items():
        if not _file_name(name):
            raise BundleError(
                f"{path}: 'files' lists {name!r:.80}; a bundle's files are {', '.join(_SIZES)}, at most {_DEPTH} "
                "folders deep, and named in letters, digits, '_', '-' and '.'"
            )
        most = _SIZES[PurePosixPath(name).suffix]
        if entry["size"] > most:
            raise BundleError(f"{path}: {name} has {entry['size']:,} bytes; at most {most:,} are allowed")
    for precision, graph in content["graphs"].items():
        if graph["file"] not in content["files"]:
            raise BundleError(f"{path}: the {precision} graph is {graph['file']!r}, which 'files' does not list")
    for index, record in enumerate(content["smoke"]):
        if record["precision"] not in content["graphs"]:
            raise BundleError(
                f"{path}: smoke prediction {index} names precision {record['precision']!r}, which has no graph"
            )
