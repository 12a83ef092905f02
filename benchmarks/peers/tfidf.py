"""The sanity floor: TF-IDF of words and word pairs with logistic regression, scikit-learn's defaults otherwise.

It is trained inside the worker, on the texts it is given, so that no pickle is needed; its peak memory includes that.

Options: ``train`` (a JSON file {"texts": [...], "labels": [index, ...]}), ``labels`` (names).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from lilliput.benchmarks.peers import option


class TfidfPeer:
    """A fitted pipeline."""

    def __init__(self, pipeline: Pipeline, labels: list[str]) -> None:
        self._pipeline = pipeline
        self.labels = labels
        regression = pipeline[-1]
        self.parameters: int | None = int(regression.coef_.size + regression.intercept_.size)
        self.bytes: int | None = None
        self._columns = regression.classes_  # a class without a training text has no column
        self._complete = len(self._columns) == len(labels)

    def one(self, text: str) -> NDArray[np.float64]:
        """Probabilities [labels] of one text."""
        return self.batch([text])[0]

    def batch(self, texts: list[str]) -> NDArray[np.float64]:
        """Probabilities [n, labels]."""
        known = self._pipeline.predict_proba(texts)
        if self._complete:
            return known
        full = np.zeros((len(texts), len(self.labels)))
        full[:, self._columns] = known
        return full


def load(options: Mapping[str, Any], threads: int) -> TfidfPeer:
    """Fit on the training texts. Scikit-learn answers on one thread whatever ``threads`` says."""
    data = json.loads(Path(option(options, "tfidf", "train")).read_text(encoding="utf-8"))
    pipeline = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))
    pipeline.fit(data["texts"], data["labels"])
    return TfidfPeer(pipeline, list(option(options, "tfidf", "labels")))


def write_train(texts: list[str], labels: list[int], path: Path) -> Path:
    """Write the training file that ``load`` reads."""
    path.write_text(json.dumps({"texts": texts, "labels": labels}), encoding="utf-8")
    return path
