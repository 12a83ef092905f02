"""VADER, a lexicon with rules: the peer ``vader``. Nothing is trained, but what a text without opinion is called.

Option: ``facts`` (``labels``: "negative" and "positive"); ``unsure``, the label of a text whose compound score is 0.

Reference: Hutto & Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput.benchmarks.peers import option
from lilliput.errors import ConfigError

LABELS = ("negative", "positive")


def probabilities_of(compound: float, unsure: int) -> list[float]:
    """[P(negative), P(positive)] = [(1 - c)/2, (1 + c)/2] of a compound score c in [-1, 1]; at 0 a trifle more for
    the label of index ``unsure``.
    """
    positive = (1 + compound) / 2 + (0 if compound else (1e-9 if unsure else -1e-9))
    return [1 - positive, positive]


def compound_of(probabilities: Sequence[float]) -> float:
    """The compound score, of four digits, that `probabilities_of` was given."""
    return round(2 * probabilities[1] - 1, 4)


class VaderPeer:
    """The analyser of the package; its bytes are the lexicons'."""

    parameters: int | None = None

    def __init__(self, analyser: Any, unsure: int, size: int) -> None:
        self.labels = list(LABELS)
        self.bytes: int | None = size
        self._analyser, self._unsure = analyser, unsure

    def one(self, text: str) -> NDArray[np.float64]:
        """Probabilities [labels] of one text."""
        return np.array(probabilities_of(self._analyser.polarity_scores(text)["compound"], self._unsure))

    def batch(self, texts: list[str]) -> NDArray[np.float64]:
        """Probabilities [n, labels]."""
        return np.stack([self.one(text) for text in texts])


def load(options: Mapping[str, Any], threads: int) -> VaderPeer:
    """Read the lexicon.

    Raises:
        ConfigError: the labels are others.
    """
    labels = tuple(option(options, "vader", "facts")["labels"])
    if labels != LABELS:
        raise ConfigError(
            f"the peer 'vader' answers {', '.join(LABELS)}, but the data's labels are {', '.join(labels)}"
        )
    from vaderSentiment import vaderSentiment  # type: ignore[import-not-found]

    size = sum(path.stat().st_size for path in Path(vaderSentiment.__file__).parent.glob("*.txt"))
    return VaderPeer(vaderSentiment.SentimentIntensityAnalyzer(), LABELS.index(options.get("unsure", LABELS[0])), size)
