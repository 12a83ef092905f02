"""Outputs, predictions and scores of a torch model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding
from torch import Tensor

from lilliput import tasks
from lilliput.first_token import first_token_only
from lilliput.tasks import Task
from lilliput.train.features import model_inputs, windows_of

Progress = Callable[[int, int, str], None]
"""Called with what is done, what there is to do, and a few words."""

LARGEST_OUTPUT = 1 << 26
"""Numbers that the outputs of one batch may have: a head over a vocabulary has 30,000 for every token."""


@torch.inference_mode()
def outputs_of(
    model: Any,
    tokenizer: Any,
    windows: Sequence[Encoding],
    *,
    batch_size: int = 64,
    bf16: bool = False,
    progress: Progress | None = None,
    what: str = "predicting",
) -> list[NDArray[np.float32]]:
    """Outputs of ``model`` on each window, computed in batches of like length.

    Args:
        bf16: compute matrix products in bfloat16.

    Returns:
        One float32 array a window, in their order: ``[labels]``, or ``[tokens, labels]`` from a head that answers
        every token. A span head's labels are start and end; a model without a head gives the mean of its last hidden
        states, ``[hidden]``.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    rows = [model_inputs(window, tokenizer) for window in windows]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    result: list[Any] = [None] * len(rows)
    done = 0
    while done < len(order):
        batch_rows = order[done : done + batch_size]
        batch = tokenizer.pad([rows[i] for i in batch_rows], return_tensors="pt").to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16), first_token_only(model):
            output = array_of(model(**batch), batch["attention_mask"])
        values = output.float().cpu().numpy()
        for i, value in zip(batch_rows, values, strict=True):
            result[i] = value[: len(rows[i]["input_ids"])] if value.ndim == 2 else value
        done += len(batch_rows)
        batch_size = max(1, min(batch_size, LARGEST_OUTPUT * len(batch_rows) // (2 * output.numel())))
        if progress:
            progress(done, len(order), what)
    model.train(was_training)
    return result


def array_of(output: Any, mask: Tensor) -> Tensor:
    """``[B, labels]`` or ``[B, T, labels]`` of whatever the head returns; ``mask`` is ``[B, T]``."""
    if "start_logits" in output:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)  # [B, T, 2]
    if "logits" in output:
        return output.logits
    weights = mask.unsqueeze(-1).to(output.last_hidden_state.dtype)  # [B, T, 1]
    return (output.last_hidden_state * weights).sum(dim=1) / weights.sum(dim=1)  # [B, hidden]


def predict(
    model: Any,
    tokenizer: Any,
    task: Task,
    inputs: Sequence[Any],
    max_length: int,
    *,
    settings: Mapping[str, Any] | None = None,
    bf16: bool = False,
    progress: Progress | None = None,
    what: str = "predicting",
) -> list[Any]:
    """The prediction of a model for each input (see `Task.predict`).

    Args:
        max_length: tokens of a window; a long input may have several.
        settings: what the task fitted on validation, such as thresholds.
        bf16: whether to compute in bfloat16.
        what: told with the progress.
    """
    windows = windows_of(task, tokenizer, inputs, max_length)
    flat = [window for found in windows for window in found]
    outputs = iter(outputs_of(model, tokenizer, flat, bf16=bf16, progress=progress, what=what))
    return [
        task.predict(item, found, [next(outputs) for _ in found], settings or {})
        for item, found in zip(inputs, windows, strict=True)
    ]


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
    """Logits of a sequence classifier, float32 ``[texts, labels]``, in the order of ``texts``."""
    if not texts:
        return np.zeros((0, model.config.num_labels), dtype=np.float32)
    found = windows_of(tasks.get("classification"), tokenizer, texts, max_length)
    windows = [window for (window,) in found]
    return np.stack(
        outputs_of(model, tokenizer, windows, batch_size=batch_size, bf16=bf16, progress=progress, what=what)
    )


def accuracy(logits: np.ndarray, labels: Sequence[int]) -> float:
    """Share of rows whose largest logit is the label's."""
    return float((logits.argmax(axis=1) == np.asarray(labels)).mean())
