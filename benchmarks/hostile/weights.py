"""Weights that are no safetensors, or whose header lies. Lilliput's runtime never opens them; other loaders do."""

from __future__ import annotations

import io
import json
import zipfile
from functools import partial
from typing import Any

from lilliput.benchmarks.hostile.forge import Case, Forge
from lilliput.benchmarks.hostile.paths import PICKLE

WEIGHTS = "model.safetensors"


def _zip() -> bytes:
    """What torch.save writes: a zip file with a pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", PICKLE)
    return buffer.getvalue()


def _packed(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def _tensors(*entries: tuple[str, str, Any, Any], data: bytes, **notes: Any) -> bytes:
    """A file of tensors: name, type, shape, offsets."""
    header = {name: {"dtype": kind, "shape": shape, "data_offsets": place} for name, kind, shape, place in entries}
    return _packed(json.dumps({**notes, **header}).encode(), data)


def _write(forge: Forge, data: bytes) -> None:
    forge.write(WEIGHTS, data)
    forge.seal()


_ONE = b'"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
_FOUR = bytes(4)
CASES = tuple(
    Case(name, partial(_write, data=data), opened=False)
    for name, data in {
        "a pickle by the name of weights": PICKLE,
        "a zip of a pickle by the name of weights": _zip(),
        "weights of no bytes": b"",
        "a header of 2^63 bytes": _packed(b"{}", length=1 << 63),
        "a header longer than the file": _packed(b"{}", length=100),
        "a header of 50 MB": _packed(b"{" + b" " * (50 << 20) + b"}"),
        "a header that is a list": _packed(b"[]"),
        "a header a million levels deep": _packed(b'{"a":' * 10**6),
        "a header with a tensor twice": _packed(b"{" + _ONE + b", " + _ONE + b"}", _FOUR),
        "a header that is cut off": _packed(b"{" + _ONE, _FOUR),
        "tensors that overlap": _tensors(("a", "U8", [4], [0, 4]), ("b", "U8", [4], [2, 6]), data=bytes(6)),
        "a hole between tensors": _tensors(("a", "U8", [2], [0, 2]), ("b", "U8", [2], [4, 6]), data=bytes(6)),
        "bytes after the last tensor": _tensors(("a", "U8", [2], [0, 2]), data=bytes(6)),
        "a tensor beyond the end": _tensors(("a", "U8", [100], [0, 100]), data=bytes(6)),
        "a tensor that ends before it begins": _tensors(("a", "U8", [4], [4, 0]), data=bytes(4)),
        "a negative offset": _tensors(("a", "U8", [4], [-4, 0]), data=bytes(4)),
        "an offset with a fraction": _tensors(("a", "U8", [4], [0.0, 4.0]), data=bytes(4)),
        "a shape of 2^60 elements": _tensors(("a", "F32", [1 << 30, 1 << 30], [0, 4]), data=_FOUR),
        "a shape whose size overflows": _tensors(("a", "F32", [1 << 32, 1 << 32, 1 << 32], [0, 0]), data=b""),
        "a negative dimension": _tensors(("a", "F32", [-1, -1], [0, 4]), data=_FOUR),
        "a type that is not known": _tensors(("a", "PICKLE", [1], [0, 4]), data=_FOUR),
        "weights that are no number": _tensors(("a", "F32", [1], [0, 4]), data=b"\x00\x00\xc0\x7f"),
        "infinite weights of 16 bits": _tensors(("a", "BF16", [2], [0, 4]), data=b"\x00\x00\x80\x7f"),
        "notes that are objects": _tensors(("a", "F32", [1], [0, 4]), data=_FOUR, __metadata__={"a": {"b": "c"}}),
    }.items()
)
