"""TF-IDF of word and character n-grams with logistic regression, tuned: the peer ``tfidf-lr``.

``build`` chooses the strength of the regression by cross-validation; ``load`` fits it on the training texts, inside the
worker, so that no pickle is needed (its peak memory includes that).

Options: ``train`` (a JSON file {"texts": [...], "labels": [index, ...]}), ``facts`` (``labels``); of ``load`` also
``built``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from lilliput.benchmarks.peers import option
from lilliput.benchmarks.peers.tfidf import TfidfPeer

STRENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
CHOSEN = "chosen.json"


def pipeline_of(strength: float) -> Pipeline:
    """Words and pairs of words, and 2 to 5 characters within words, each weighted by sublinear TF-IDF."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    regression = LogisticRegression(C=strength, solver="liblinear", random_state=0)
    return make_pipeline(make_union(words, characters), regression)


def load(options: Mapping[str, Any], threads: int) -> TfidfPeer:
    """Fit on the training texts. Scikit-learn answers on one thread whatever ``threads`` says."""
    built, facts = Path(option(options, "tfidf_lr", "built")), option(options, "tfidf_lr", "facts")
    data = _read(options)
    chosen = json.loads((built / CHOSEN).read_text(encoding="utf-8"))
    pipeline = pipeline_of(chosen["strength"]).fit(data["texts"], data["labels"])
    return TfidfPeer(pipeline, list(facts["labels"]))


def build(options: Mapping[str, Any], folder: Path) -> None:
    """Choose the strength with the best accuracy over five parts of the training texts."""
    data = _read(options)
    vectors = pipeline_of(1.0)[:-1].fit_transform(data["texts"])
    scores = {c: cross_val_score(pipeline_of(c)[-1], vectors, data["labels"], cv=5).mean() for c in STRENGTHS}
    best = max(STRENGTHS, key=lambda strength: scores[strength])
    (folder / CHOSEN).write_text(json.dumps({"strength": best, "accuracy": scores[best]}), encoding="utf-8")


def _read(options: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(Path(option(options, "tfidf_lr", "train")).read_text(encoding="utf-8")))
