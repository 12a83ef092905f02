"""Logits and scores of a torch model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

Progress = Callable[[int, int, str], None]
"""Called with what is done, what there is to do, and a few words."""


@torch.inference_mode()
def logits_of(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    max_length: int,
    *,
    batch_size: int = 64,
    bf16: bool = False,
    progress: Progress | None = None,
    what: str = "predicting",
) -> np.ndarray:
    """Logits of ``model`` for ``texts``, computed in batches of like length.

    Args:
        max_length: tokens of a text that are read.
        bf16: compute matrix products in bfloat16.

    Returns:
        float32 array ``[texts, labels]``, in the order of ``texts``.
    """
    if not texts:  # which tokenizers refuse
        return np.zeros((0, model.config.num_labels), dtype=np.float32)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    encoded = tokenizer(list(texts), truncation=True, max_length=max_length)
    ids = encoded["input_ids"]
    order = sorted(range(len(texts)), key=lambda i: len(ids[i]))
    result = np.zeros((len(texts), model.config.num_labels), dtype=np.float32)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = tokenizer.pad({key: [encoded[key][i] for i in rows] for key in encoded}, return_tensors="pt").to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            output = model(**batch).logits
        result[rows] = output.float().cpu().numpy()
        if progress:
            progress(min(start + batch_size, len(order)), len(order), what)
    model.train(was_training)
    return result


def accuracy(logits: np.ndarray, labels: Sequence[int]) -> float:
    """Share of rows whose largest logit is the label's."""
    return float((logits.argmax(axis=1) == np.asarray(labels)).mean())
