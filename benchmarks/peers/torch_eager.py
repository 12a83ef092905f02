"""Eager PyTorch as most users run a fine-tuned encoder: transformers' own classes in fp32, one text at a time.

``AutoTokenizer`` and ``AutoModelForSequenceClassification`` with transformers' default attention implementation (SDPA
where the architecture has it), ``eval()`` and ``inference_mode()``; no compilation, no quantization.

Options: ``model`` (folder of config.json, model.safetensors and tokenizer files; a bundle is one), ``max_length``
(tokens; the tokenizer's own limit if absent).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from lilliput.benchmarks.peers import option

BATCH = 32
OPENED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


class TorchPeer:
    """A model and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, max_length: int | None, size: int) -> None:
        self._model, self._tokenizer, self._max_length = model, tokenizer, max_length
        names: dict[int, str] = model.config.id2label
        self.labels = [names[index] for index in range(len(names))]
        self.parameters: int | None = sum(parameter.numel() for parameter in model.parameters())
        self.bytes: int | None = size

    @torch.inference_mode()
    def one(self, text: str) -> NDArray[np.float32]:
        """Probabilities [labels] of one text."""
        inputs = self._tokenizer(text, truncation=True, max_length=self._max_length, return_tensors="pt")
        return self._model(**inputs).logits.softmax(dim=-1)[0].numpy()

    @torch.inference_mode()
    def batch(self, texts: list[str]) -> NDArray[np.float32]:
        """Probabilities [n, labels], 32 texts at a time in the order given, padded to the longest of them."""
        parts = []
        for start in range(0, len(texts), BATCH):
            inputs = self._tokenizer(
                texts[start : start + BATCH],
                truncation=True,
                max_length=self._max_length,
                padding=True,
                return_tensors="pt",
            )
            parts.append(self._model(**inputs).logits.softmax(dim=-1).numpy())
        return np.concatenate(parts)


def load(options: Mapping[str, Any], threads: int) -> TorchPeer:
    """Load a local folder; nothing is looked up on the Hub."""
    torch.set_num_threads(threads)
    folder = Path(option(options, "torch_eager", "model"))
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    size = sum((folder / name).stat().st_size for name in OPENED if (folder / name).is_file())
    return TorchPeer(model.eval(), tokenizer, options.get("max_length"), size)
