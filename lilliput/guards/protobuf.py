"""Protocol Buffers' wire format, read strictly: https://protobuf.dev/programming-guides/encoding/.

Only what a schema here names is accepted, of the type that it says, and once unless it repeats. Parsers differ in what
they make of unknown fields, of a field that comes twice, or of a number that is too long; a file on which two parsers
could disagree is refused instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types: whole numbers, 8 bytes, a length and so many bytes, 4 bytes."""

Span = tuple[int, int]
"""Where a field's bytes begin and end."""

FIELDS = 1 << 18
"""Fields of a message at most, repeated ones included."""

Schema = Mapping[int, tuple[str, int, bool]]
"""Field number -> its name, wire type, and whether it repeats."""


class Malformed(ValueError):
    """These bytes are no message of the schema; the message says why."""


def read(data: bytes, span: Span, schema: Schema) -> dict[str, Any]:
    """The fields of the message in ``data[start:end]`` that are there.

    A whole number is an int (negative where its type is signed: the 64-bit pattern is read as two's complement), and
    what has a length is the `Span` of its bytes; numbers of 4 and 8 bytes are spans too. A field that repeats is a list
    of these; of numbers, each entry is one of them or the span of a packed run.

    Raises:
        Malformed: a field is cut off, unknown, of another type, or there twice.
    """
    position, end = span
    found: dict[str, Any] = {}
    room = FIELDS
    while position < end:
        room -= 1
        if not room:
            raise Malformed(f"more than {FIELDS:,} fields")
        key, position = _varint(data, position, end)
        wire = key & 7
        known = schema.get(key >> 3)
        if known is None:
            raise Malformed(f"field {key >> 3} is unknown")
        name, expected, repeats = known
        value: int | Span
        if wire == VARINT:
            value, position = _varint(data, position, end)
            if value >= 1 << 63:
                value -= 1 << 64
        else:
            if wire == BYTES:
                length, position = _varint(data, position, end)
            elif wire == FIXED32:
                length = 4
            elif wire == FIXED64:
                length = 8
            else:
                raise Malformed(f"{name}: wire type {wire}")
            value = (position, position + length)
            position += length
            if position > end:
                raise Malformed(f"{name}: cut off")
        if wire != expected and not (repeats and wire == BYTES):
            raise Malformed(f"{name}: wire type {wire} instead of {expected}")
        if repeats:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise Malformed(f"{name} is there twice")
        else:
            found[name] = value
    return found


def whole_numbers(data: bytes, values: list[int | Span], limit: int) -> list[int]:
    """The entries of a repeated whole number, packed or not.

    Raises:
        Malformed: there are more than ``limit`` of them, or a run is cut off.
    """
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
        else:
            position, end = value
            while position < end and len(found) <= limit:
                number, position = _varint(data, position, end)
                found.append(number - (1 << 64) if number >= 1 << 63 else number)
        if len(found) > limit:
            raise Malformed(f"more than {limit} numbers")
    return found


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and where it ends."""
    if position < end and (byte := data[position]) < 128:
        return byte, position + 1
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >= 1 << 64:
                break
            return value, position
        shift += 7
    raise Malformed("a number is cut off or too long")
