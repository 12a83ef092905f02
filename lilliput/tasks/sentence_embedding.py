"""A vector for a text, near to those of texts that mean the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from lilliput.tasks import TEXT_COLUMNS, Column, Task, text
from lilliput.tasks.classification import PAIR_COLUMNS
from lilliput.tasks.regression import correlation, score


class SentenceEmbedding(Task):
    """Rows hold two texts that belong together, and perhaps a third that does not (a hard negative); or two texts and
    how similar they are.

    A vector is the mean of the last hidden states, brought to length 1; similarity is the cosine. Reference: Reimers &
    Gurevych 2019, Sentence-BERT.
    """

    name = "sentence-embedding"
    head = "AutoModel"
    metric = "spearman"
    columns: ClassVar[Mapping[str, Column]] = {
        "text": Column(("anchor", "query", "question", "sentence1", "premise", "text1", *TEXT_COLUMNS)),
        "pair": Column(("positive", "answer", *PAIR_COLUMNS)),
        "negative": Column(("negative", "hard_negative"), required=False),
        "label": Column(("score", "similarity", "similarity_score", "label"), required=False),
    }
    inputs = ("text",)
    grouped = True

    def read(self, cells: Mapping[str, Any]) -> tuple[Any, Any]:
        """Two texts or three; and their similarity, or None."""
        item = tuple(text(cells[role]) for role in ("text", "pair", "negative") if role in cells)
        return item, score(cells["label"]) if "label" in cells else None

    def label_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """None: the outputs are a vector."""
        return ()

    def index(self, target: Any, names: Sequence[str]) -> Any:
        """The similarity as it is."""
        return target

    def shown(self, target: Any, names: Sequence[str]) -> Any:
        """The similarity as it is."""
        return target

    def counted(self, target: Any, names: Sequence[str]) -> Sequence[str]:
        """No labels."""
        return []

    def loss(self, targets: Sequence[Any]) -> str:
        """Contrastive for texts that belong together, CoSENT for texts with a similarity."""
        return "contrastive" if targets[0] is None else "cosent"

    def parts(self, item: Any) -> list[Any]:
        """The texts."""
        return [item] if isinstance(item, str) else list(item)

    def training(self, target: Any, window: Encoding) -> dict[str, Any]:
        """The similarity, where there is one."""
        return {} if target is None else {"labels": target}

    def predict(
        self,
        item: Any,
        windows: Sequence[Encoding],
        outputs: Sequence[NDArray[np.float32]],
        settings: Mapping[str, Any],
    ) -> Any:
        """The vectors of the texts, ``[texts, hidden]``, each of length 1."""
        vectors = np.stack(outputs)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def metrics(
        self, predictions: Sequence[Any], targets: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """Correlations of cosine and similarity; without similarities, how often a text's partner is the nearest of all
        second texts (accuracy at 1), and the mean of 1 over its rank (MRR)."""
        firsts, seconds = (np.stack([vectors[side] for vectors in predictions]) for side in (0, 1))
        if targets[0] is not None:
            cosines, gold = (firsts * seconds).sum(axis=1), np.asarray(targets)
            return {"spearman": correlation(cosines, gold, ranks=True), "pearson": correlation(cosines, gold)}
        similarity = firsts @ seconds.T  # [n, n]
        ranks = (similarity > similarity.diagonal()[:, None]).sum(axis=1) + 1
        return {"mrr": float((1 / ranks).mean()), "accuracy_at_1": float((ranks == 1).mean())}

    def record(self, prediction: Any, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The cosine of the first two texts."""
        return {"prediction": float(prediction[0] @ prediction[1]), "probabilities": None}

    def answer(
        self,
        item: Any,
        prediction: Any,
        names: Sequence[str],
        settings: Mapping[str, Any],
        *,
        tokenizer: Tokenizer,
        **options: Any,
    ) -> Any:
        """The vector of a text, as a list of numbers."""
        return prediction[0].tolist()


TASK = SentenceEmbedding()
