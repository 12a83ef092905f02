"""The embedded sentiment data: sentences of four domains with the mean rating of 20 people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lilliput import tasks
from lilliput.errors import ConfigError, DataError
from lilliput.train.data import BUCKETS, Dataset, Row, assemble, bucket_of, key
from lilliput.train.data_report import Ledger

FOLDS = 3
NEUTRAL = 0.5

_DOMAINS = {
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
}
_TASK_DOMAIN = "movies"


def sentiment(folder: Path, fold: int = 0) -> Dataset:
    """The embedded sentiment data: is a sentence of a movie review positive or negative?

    A sentence is labelled where its mean rating is above 0.5 in size. With buckets of :func:`bucket`, fold k tests on
    buckets 3k to 3k+2, validates on bucket (3k+3) mod 10 and trains on the other six; so equal texts are always on
    one side, and the tests of the three folds are disjoint. The other domains' labelled sentences of the test buckets
    are the out-of-domain tests. All other text outside the test buckets is transfer text.

    Args:
        folder: what :func:`lilliput.train.embedded.fetch_sentiment` returns.
        fold: 0, 1 or 2.

    Raises:
        ConfigError: no such fold.
        DataError: a file is missing.

    References: Hutto & Gilbert 2014, VADER, ICWSM-14.
    """
    if fold not in range(FOLDS):
        raise ConfigError(f"fold must be 0, 1 or 2, not {fold!r}")
    tests, validation = range(3 * fold, 3 * fold + 3), (3 * fold + 3) % BUCKETS
    ledger = Ledger()
    labelled: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    transfer: list[Row] = []
    outside: dict[str, list[Row]] = {name: [] for name in _DOMAINS if name != _TASK_DOMAIN}
    for domain, filename in _DOMAINS.items():
        for row in _rated_rows(folder / filename, ledger):
            place = bucket_of(row.key)
            if row.target is None and place in tests:
                ledger.reject("neutral sentence in a test bucket", row.file, row.line, harmless=True)
            elif row.target is not None and place in tests:
                (labelled["test"] if domain == _TASK_DOMAIN else outside[domain]).append(row)
            elif row.target is not None and domain == _TASK_DOMAIN:
                labelled["validation" if place == validation else "train"].append(row)
            else:
                transfer.append(row)
    task = tasks.get("classification")
    dataset = assemble(f"sentiment-fold{fold}", task, ("negative", "positive"), labelled, transfer, outside, ledger)
    if shared := {pair: count for pair, count in dataset.report.overlap.items() if count}:
        raise DataError(f"{folder}: the splits share texts, which the bucket rule should make impossible: {shared}")
    return dataset


def _rated_rows(path: Path, ledger: Ledger) -> Iterator[Row]:
    """Rows of a file of id, mean rating and text, separated by tabs; the label is None for a neutral rating."""
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing: run `lilliput data fetch` again") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        ledger.rows_in += 1
        cells = line.rstrip("\r").split("\t")
        try:
            _, number_text, text = cells
            rating = float(number_text)
        except ValueError:
            ledger.reject("malformed row", path.name, number)
            continue
        if not text.strip():
            ledger.reject("empty text", path.name, number)
            continue
        label = None if abs(rating) <= NEUTRAL else "positive" if rating > 0 else "negative"
        yield Row(text, label, path.name, number, key(text))
