"""What a safetensors file may hold: https://huggingface.co/docs/safetensors, section "Format".

8 bytes: length n of the header, little-endian
n bytes: {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
the rest: the tensors, which cover it without a hole or an overlap
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput.errors import IntegrityError
from lilliput.guards import strict_json

HEADER = 16 << 20
"""Bytes of the header at most; a hundred a tensor are usual."""
_SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4}
_SIZES |= {"F64": 8, "I64": 8, "U64": 8}
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def check(data: bytes, path: Path) -> None:
    """Refuse bytes that are no safetensors file in full, or weights that are not finite.

    Args:
        data: the bytes of the file.
        path: where they are from, for error messages.

    Raises:
        IntegrityError: the first fault that is found.
    """
    try:
        header, start = _header(data)
        end = 0
        for name, entry in sorted(header.items(), key=lambda pair: pair[1]["data_offsets"]):
            begin, stop = entry["data_offsets"]
            if begin != end:
                raise ValueError(f"tensor {name!r:.80} begins at byte {begin} of the data, where {end} is expected")
            end = stop
            if end > len(data) - start or not _fills(entry):
                raise ValueError(
                    f"tensor {name!r:.80} has {stop - begin:,} bytes for {entry['dtype']} {entry['shape']}"
                )
            if not _is_finite(data, entry, start):
                raise ValueError(f"tensor {name!r:.80} holds numbers that are not finite")
        if end != len(data) - start:
            raise ValueError(f"{len(data) - start - end:,} bytes after the last tensor")
    except ValueError as error:
        raise IntegrityError(f"{path}: no safetensors file as Lilliput writes it: {error!s:.300}") from error


def is_finite(numbers: NDArray[Any]) -> bool:
    """Whether all of an array are finite numbers; nearly always told by their sum, which is quicker."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(numbers.sum())) or bool(np.isfinite(numbers).all())


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """What the header says of each tensor, and where the data begin."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(HEADER, len(data) - 8) or data[8:9] != b"{":
        raise ValueError(f"a header of {length:,} bytes in a file of {len(data):,}")
    header = strict_json.parse(data[8 : 8 + length])
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise ValueError("notes that are no strings")
    for name, entry in header.items():
        if not _is_entry(entry):
            raise ValueError(f"tensor {name!r:.80} has no type, shape and place that can be read")
    return header, 8 + length


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and set(entry) == {"dtype", "shape", "data_offsets"}
        and entry["dtype"] in _SIZES
        and _are_whole(entry["shape"])
        and len(entry["shape"]) <= 8
        and _are_whole(entry["data_offsets"])
        and len(entry["data_offsets"]) == 2
    )


def _are_whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**62 for value in values)


def _fills(entry: dict[str, Any]) -> bool:
    begin, end = entry["data_offsets"]
    return bool(end - begin == math.prod(entry["shape"]) * _SIZES[entry["dtype"]])


def _is_finite(data: bytes, entry: dict[str, Any], start: int) -> bool:
    (begin, end), kind = entry["data_offsets"], entry["dtype"]
    if kind in _FLOATS:
        return is_finite(np.frombuffer(data, _FLOATS[kind], math.prod(entry["shape"]), start + begin))
    if kind == "BF16":  # the upper half of a float32: infinite or no number where all bits of the exponent are set
        bits = np.frombuffer(data, "<u2", (end - begin) // 2, start + begin)
        return bool(((bits & 0x7F80) != 0x7F80).all())
    return True
