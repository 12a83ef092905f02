"""Templates filled with strings, and the promise that the test set shares neither with the other parts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from lilliput.errors import DataError
from lilliput.runs import write_text

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass
class Part:
    """Rows of one part of the data, and what they were made of."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    templates: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)


def lines(text: str) -> tuple[str, ...]:
    """The templates of a block of text."""
    return tuple(line.strip() for line in text.strip().splitlines() if line.strip())


def words(*texts: str) -> frozenset[str]:
    """Every word of templates, in lower case, slots aside."""
    return frozenset(word for text in texts for word in re.findall(r"\w+", _SLOT.sub(" ", text).lower()))


def pieces(template: str, fill: Callable[[str], str]) -> list[tuple[str, str | None]]:
    """A template as pieces of text, each with the slot that it fills, in order."""
    found: list[tuple[str, str | None]] = []
    for number, part in enumerate(_SLOT.split(template)):
        if part:
            found.append((fill(part), part) if number % 2 else (part, None))
    return found


def disjoint(parts: Mapping[str, Part]) -> None:
    """Check that no template and no entity string of the test set is in training or validation, nor one of validation
    in training; a string counts wherever a text has it as whole words.

    Raises:
        DataError: one is.
    """
    seen = Part()
    for name, part in parts.items():
        if shared := sorted(part.templates & seen.templates):
            raise DataError(f"generated {name}: has the template {shared[0]!r} in common with an earlier part")
        text = f" {' '.join(map(plain, seen.texts))} "
        if shared := sorted(one for one in part.strings if f" {plain(one)} " in text):
            raise DataError(f"generated {name}: {shared[0]!r} is also in the texts of an earlier part")
        seen.templates |= part.templates
        seen.texts += part.texts


def plain(text: str) -> str:
    """Words in lower case with one space between."""
    return " ".join(re.findall(r"\w+", text.lower()))


def write(folder: Path, parts: Mapping[str, Part]) -> None:
    """A JSONL file for each part, as ``--data`` reads it; their promise is checked first."""
    disjoint(parts)
    for name, part in parts.items():
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part.rows)
        write_text(folder / f"{name}.jsonl", content)


def spread(templates: Sequence[str], count: int, draw: Random) -> Iterable[str]:
    """``count`` templates, each as often as the others, in random order."""
    every = [templates[number % len(templates)] for number in range(count)]
    draw.shuffle(every)
    return every
