"""The rated sentences of a domain, as the embedded data hold them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lilliput.benchmarks.vader.paper import CLASSES, classes_of
from lilliput.errors import ConfigError, DataError
from lilliput.train.data import BUCKETS, bucket_of, key
from lilliput.train.sentiment import FOLDS

FILES = {
    "tweets": "tweets_GroundTruth.txt",
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
}


@dataclass(frozen=True)
class Sentence:
    """A text, its mean rating by 20 people in [-4, 4], and the `key` that equal texts share."""

    text: str
    rating: float
    key: bytes


def read(folder: Path, domain: str) -> list[Sentence]:
    """The sentences of a domain in the order of their file.

    Args:
        folder: what :func:`lilliput.train.embedded.fetch_sentiment` returns.

    Raises:
        ConfigError: there is no such domain.
        DataError: a line is no id, rating and text with tabs between.
    """
    if domain not in FILES:
        raise ConfigError(f"--domain {domain}: unknown; known are {', '.join(FILES)}")
    path, found = folder / FILES[domain], []
    for number, line in enumerate(path.read_bytes().decode("utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            _, rating, text = line.rstrip("\r").split("\t")
            found.append(Sentence(text, float(rating), key(text)))
        except ValueError:
            raise DataError(f"{path}:{number}: expected id, rating and text with tabs between") from None
    return found


def without_duplicates(sentences: Iterable[Sentence]) -> list[Sentence]:
    """The first of equal texts."""
    first: dict[bytes, Sentence] = {}
    for sentence in sentences:
        first.setdefault(sentence.key, sentence)
    return list(first.values())


def gold_of(sentences: Sequence[Sentence]) -> NDArray[np.int64]:
    """Classes of the ratings [n], by the rule of the compound score, on the scale of the ratings as they are."""
    return classes_of([sentence.rating for sentence in sentences])


def splits_of(sentences: Sequence[Sentence], fold: int) -> dict[str, list[Sentence]]:
    """Train, validation and test of a fold, by the rule of the embedded data (see :mod:`lilliput.train.sentiment`):
    fold k tests on buckets 3k to 3k+2, validates on bucket (3k+3) mod 10 and trains on the rest; the tests are
    disjoint.
    """
    if fold not in range(FOLDS):
        raise ConfigError(f"--folds: {fold} is none of {', '.join(map(str, range(FOLDS)))}")
    tests, validation = range(3 * fold, 3 * fold + 3), (3 * fold + 3) % BUCKETS
    made: dict[str, list[Sentence]] = {"train": [], "validation": [], "test": []}
    for sentence in sentences:
        place = bucket_of(sentence.key)
        made["test" if place in tests else "validation" if place == validation else "train"].append(sentence)
    return made


def write(splits: dict[str, list[Sentence]], transfer: Sequence[str], folder: Path) -> Path:
    """A data set as the commands read it: ``train.jsonl`` and so on, and ``unlabelled.jsonl`` of other texts."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, sentences in splits.items():
        rows = [
            {"text": sentence.text, "label": CLASSES[index]}
            for sentence, index in zip(sentences, gold_of(sentences), strict=True)
        ]
        _write(folder / f"{name}.jsonl", rows)
    if transfer:
        _write(folder / "unlabelled.jsonl", [{"text": text} for text in transfer])
    return folder


def _write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
