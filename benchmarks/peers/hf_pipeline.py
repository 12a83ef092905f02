"""transformers' text-classification pipeline in fp32, as its documentation calls it: the peer ``hf-pipeline``.

Options: ``model`` (folder of config.json, model.safetensors and tokenizer files), ``facts`` (``labels``,
``max_length``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import pipeline

from lilliput.benchmarks.peers import option

OPENED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


class PipelinePeer:
    """The pipeline, with its scores put back into the order of the labels."""

    def __init__(self, pipe: Any, labels: list[str], max_length: int, size: int) -> None:
        self._pipe, self._max_length = pipe, max_length
        self.labels = labels
        self.parameters: int | None = sum(parameter.numel() for parameter in pipe.model.parameters())
        self.bytes: int | None = size
        self._place = {label: index for index, label in enumerate(labels)}

    def one(self, text: str) -> NDArray[np.float64]:
        """Probabilities [labels] of one text."""
        return self.batch([text])[0]

    def batch(self, texts: list[str]) -> NDArray[np.float64]:
        """Probabilities [n, labels]."""
        answers = self._pipe(texts, top_k=None, truncation=True, max_length=self._max_length, batch_size=32)
        table = np.zeros((len(texts), len(self.labels)))
        for row, answer in zip(table, answers, strict=True):
            for choice in answer:
                row[self._place[choice["label"]]] = choice["score"]
        return table


def load(options: Mapping[str, Any], threads: int) -> PipelinePeer:
    """Open the folder; PyTorch reads its thread count from the environment."""
    folder, facts = Path(option(options, "hf_pipeline", "model")), option(options, "hf_pipeline", "facts")
    pipe = pipeline("text-classification", model=str(folder), device="cpu")
    size = sum((folder / name).stat().st_size for name in OPENED if (folder / name).exists())
    return PipelinePeer(pipe, list(facts["labels"]), facts["max_length"], size)
