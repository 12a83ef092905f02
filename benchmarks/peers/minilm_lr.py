"""Sentence embeddings of the embedded checkpoint, and logistic regression on them: the peer ``minilm-lr``.

The encoder is as sentence-transformers ships it, not fine-tuned: what is had without any training of an encoder.

Options of ``build``: ``checkpoint`` (folder of the encoder), ``train`` (a JSON file {"texts": [...], "labels":
[index, ...]}). Of ``load``: ``built``, ``checkpoint``, ``facts`` (``labels``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer, models  # type: ignore[import-not-found]

from lilliput.benchmarks.peers import option

WEIGHTS = "regression.json"
OPENED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


class EmbeddingPeer:
    """An encoder of sentences and a regression: P = sigmoid(w e + b) of two labels, softmax(W e + b) of more."""

    def __init__(self, encoder: Any, weights: Mapping[str, Any], labels: list[str], size: int) -> None:
        self._encoder = encoder
        self._matrix = np.array(weights["coef"])  # [1 or labels, hidden]
        self._bias = np.array(weights["intercept"])
        self.labels = labels
        parameters = sum(parameter.numel() for parameter in encoder.parameters())
        self.parameters: int | None = parameters + self._matrix.size + self._bias.size
        self.bytes: int | None = size

    def one(self, text: str) -> NDArray[np.float64]:
        """Probabilities [labels] of one text."""
        return self.batch([text])[0]

    def batch(self, texts: list[str]) -> NDArray[np.float64]:
        """Probabilities [n, labels]."""
        embedded = self._encoder.encode(texts, show_progress_bar=False, convert_to_numpy=True)  # [n, hidden]
        logits = embedded @ self._matrix.T + self._bias
        if logits.shape[1] == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def encoder_of(checkpoint: Path) -> Any:
    """The encoder with the pooling and the normalization that it was trained with."""
    words = models.Transformer(str(checkpoint), max_seq_length=256)
    return SentenceTransformer(modules=[words, models.Pooling(384, "mean"), models.Normalize()], device="cpu")


def load(options: Mapping[str, Any], threads: int) -> EmbeddingPeer:
    """Open encoder and regression; PyTorch reads its thread count from the environment."""
    built, checkpoint = (Path(option(options, "minilm_lr", key)) for key in ("built", "checkpoint"))
    weights = json.loads((built / WEIGHTS).read_text(encoding="utf-8"))
    opened = [checkpoint / name for name in OPENED if (checkpoint / name).exists()] + [built / WEIGHTS]
    labels = list(option(options, "minilm_lr", "facts")["labels"])
    return EmbeddingPeer(encoder_of(checkpoint), weights, labels, sum(path.stat().st_size for path in opened))


def build(options: Mapping[str, Any], folder: Path) -> None:
    """Embed the training texts and fit the regression; its strength is chosen by cross-validation on them."""
    from sklearn.linear_model import LogisticRegressionCV

    data = json.loads(Path(option(options, "minilm_lr", "train")).read_text(encoding="utf-8"))
    encoder = encoder_of(Path(option(options, "minilm_lr", "checkpoint")))
    embedded = encoder.encode(data["texts"], batch_size=64, show_progress_bar=False, convert_to_numpy=True)
    regression = LogisticRegressionCV(Cs=10, cv=5, max_iter=2000).fit(embedded, data["labels"])
    found = {"coef": regression.coef_.tolist(), "intercept": regression.intercept_.tolist()}
    (folder / WEIGHTS).write_text(json.dumps(found), encoding="utf-8")
