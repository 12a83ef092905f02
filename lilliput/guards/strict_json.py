"""JSON that every parser reads alike, and that takes no more memory than its size lets one expect."""

from __future__ import annotations

import json
from typing import Any

PARTS = 1 << 19
"""Lists and objects at most; each takes some sixty bytes of memory for two of the file."""


def parse(data: bytes) -> Any:
    """What JSON bytes hold.

    Raises:
        ValueError: they are no UTF-8, no JSON, nested too deeply, of too many parts, or have a key twice.
    """
    if data.count(b"{") + data.count(b"[") > PARTS:
        raise ValueError(f"more than {PARTS:,} lists and objects")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of some pairs; raises :class:`ValueError` where a key is there twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found
