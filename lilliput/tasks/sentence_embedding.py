"""A vector for a text, near to those of texts that mean the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from lilliput.errors import ConfigError
from lilliput.tasks import TEXT_COLUMNS, Column, Task, text
from lilliput.tasks.classification import PAIR_COLUMNS
from lilliput.tasks.regression import correlation, score

BLOCK = 1024
"""Texts that are ranked against all others at a time."""


@dataclass(frozen=True)
class Embedded:
    """The texts of an input, and the vector of each, ``[texts, hidden]``, of length 1."""

    texts: tuple[str, ...]
    vectors: NDArray[np.float32]


class SentenceEmbedding(Task):
    """Rows hold two texts that belong together, and perhaps a third that does not (a hard negative); or two texts and
    how similar they are.

    A vector is the mean of the last hidden states, brought to length 1; similarity is the cosine. Reference: Reimers &
    Gurevych 2019, Sentence-BERT.
    """

    name = "sentence-embedding"
    head = "AutoModel"
    metric = "ranking"
    columns: ClassVar[Mapping[str, Column]] = {
        "text": Column(("anchor", "query", "question", "sentence1", "premise", "text1", *TEXT_COLUMNS)),
        "pair": Column(("positive", "answer", *PAIR_COLUMNS)),
        "negative": Column(("negative", "hard_negative"), required=False),
        "label": Column(("score", "similarity", "similarity_score", "label"), required=False),
    }
    inputs = ("text",)
    grouped = True
    outputs = ("last_hidden_state",)
    dimensions = ("tokens", "hidden")

    def read(self, cells: Mapping[str, Any]) -> tuple[Any, Any]:
        """Two texts or three; and their similarity, or None."""
        item = tuple(text(cells[role], f"the {role}") for role in ("text", "pair", "negative") if role in cells)
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

    def of_graph(self, arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """The mean of the last hidden states over the tokens, ``[hidden]``."""
        mean: NDArray[np.float32] = arrays[0].mean(axis=0)
        return mean

    def agreement(
        self, ours: Sequence[Any], theirs: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> float:
        """The mean cosine of the vectors that two models give a text."""
        cosines = [(a.vectors * b.vectors).sum(axis=1) for a, b in zip(ours, theirs, strict=True)]
        return float(np.concatenate(cosines).mean()) if cosines else 1.0

    def predict(
        self,
        item: Any,
        windows: Sequence[Encoding],
        outputs: Sequence[NDArray[np.float32]],
        settings: Mapping[str, Any],
    ) -> Embedded:
        """The vectors of the texts."""
        vectors = np.stack(outputs)  # [texts, hidden]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embedded(tuple(self.parts(item)), vectors / np.maximum(lengths, 1e-12))

    def metrics(
        self, predictions: Sequence[Any], targets: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """With similarities: correlations of cosine and similarity. Without: how often a text's partner is the nearest
        of all second texts (``accuracy_at_1``), and the mean of 1 over its rank (``mrr``).

        ``ranking`` is Spearman's correlation in the one case and the mean reciprocal rank in the other.
        """
        if None not in targets:
            cosines, gold = np.array([_cosine(one) for one in predictions]), np.asarray(targets)
            spearman = correlation(cosines, gold, ranks=True)
            return {"ranking": spearman, "spearman": spearman, "pearson": correlation(cosines, gold)}
        ranks = _ranks(predictions)
        mrr = float((1 / ranks).mean())
        return {"ranking": mrr, "mrr": mrr, "accuracy_at_1": float((ranks == 1).mean())}

    def record(self, prediction: Any, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The cosine of the first two texts."""
        return {"prediction": _cosine(prediction), "probabilities": None}

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
        """The vector of a text, as a list of numbers; its length is 1, so the cosine of two is their product."""
        if options:
            raise ConfigError(f"{next(iter(options))}: {self.name} has no options")
        return prediction.vectors[0].tolist()

    def files(self, width: int, max_length: int) -> dict[str, Any]:
        """What sentence-transformers reads: encoder, mean, unit length, one after the other."""
        modules = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
        ways = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
        return {
            "modules.json": [
                {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
                for i, (kind, path) in enumerate(modules)
            ],
            "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
            "1_Pooling/config.json": {
                "word_embedding_dimension": width,
                **{f"pooling_mode_{way}": way == "mean_tokens" for way in ways},
            },
        }


TASK = SentenceEmbedding()


def _cosine(found: Embedded) -> float:
    return float(found.vectors[0].astype(np.float64) @ found.vectors[1])


def _ranks(found: Sequence[Embedded]) -> NDArray[np.int64]:
    """The rank of each text's partner among all second texts, by cosine, ``[n]``; 1 is the nearest.

    A text that is equal to the partner, or the partner of an equal text, is no rival.
    """
    firsts, seconds = (np.stack([one.vectors[side] for one in found]) for side in (0, 1))  # [n, hidden] each
    ids: dict[str, int] = {}
    texts, partners = (np.array([ids.setdefault(one.texts[side], len(ids)) for one in found]) for side in (0, 1))
    ranks = []
    for start in range(0, len(found), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(found)))
        cosines = firsts[rows] @ seconds.T  # [rows, n]
        rivals = (texts[rows, None] != texts[None]) & (partners[rows, None] != partners[None])
        ranks.append(1 + ((cosines >= cosines[np.arange(len(rows)), rows, None]) & rivals).sum(axis=1))
    return np.concatenate(ranks)
