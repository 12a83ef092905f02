"""Tiny data for every task: each kind of row out of a text, its sentiment and its number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]


class Kind(NamedTuple):
    """A kind of data for a task; ``row`` makes a row of a text, its sentiment and its number."""

    task: str
    row: Callable[[str, str, int], Row]


def two_entities(text: str, label: str, number: int) -> Row:
    """A relation between the first word and all others."""
    first, _, rest = text.partition(" ")
    return {"text": f"[E1] {first} [/E1] [E2] {rest} [/E2]", "relation": label}


def tagged(text: str, label: str, number: int) -> Row:
    """An entity of one word, or of all words where the sentiment is positive."""
    return {"tokens": text.split(), "tags": ["B-X", *["I-X" if label == "positive" else "O"] * (len(text.split()) - 1)]}


def with_answer(text: str, label: str, number: int) -> Row:
    """The last word is the answer; of every third row there is none."""
    start = text.rindex(" ") + 1
    answers = {"text": [text[start:]], "answer_start": [start]} if number % 3 else {"text": [], "answer_start": []}
    return {"question": f"what was it in {number}?", "context": text, "answers": answers}


def several(text: str, label: str, number: int) -> Row:
    """No label, one, or two."""
    return {"text": text, "labels": [[], [label], [label, "both"]][number % 3]}


KINDS = {
    "single text": Kind("classification", lambda text, label, _: {"text": text, "label": label}),
    "pair of texts": Kind(
        "classification", lambda text, label, n: {"premise": text, "hypothesis": f"good {n}", "label": label}
    ),
    "several labels": Kind("multi-label", several),
    "score": Kind("regression", lambda text, label, n: {"text": text, "rating": n % 5 + 1}),
    "tags": Kind("token-classification", tagged),
    "answers": Kind("question-answering", with_answer),
    "relations": Kind("relation-extraction", two_entities),
    "pairs": Kind("sentence-embedding", lambda text, label, n: {"anchor": text, "positive": f"good {n}"}),
    "triples": Kind(
        "sentence-embedding",
        lambda text, label, n: {"anchor": text, "positive": f"good {n}", "negative": f"bad {n}"},
    ),
    "pairs with a similarity": Kind(
        "sentence-embedding", lambda text, label, n: {"sentence1": text, "sentence2": f"good {n}", "score": n % 5}
    ),
}


def write(folder: Path, kind: str, rows: Callable[[int, int], list[tuple[str, str]]], sizes: dict[str, int]) -> Path:
    """A folder of split files of a kind.

    Args:
        rows: texts and sentiments: as many as asked for, from a number on.
        sizes: rows of each split.
    """
    folder.mkdir()
    start = 0
    for split, size in sizes.items():
        made = [KINDS[kind].row(*row, start + i) for i, row in enumerate(rows(size, start))]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
        start += size
    return folder
