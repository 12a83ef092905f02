"""A bundle for sentence embeddings of a tiny random encoder: what is tried is the format, not the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from lilliput import models, tasks
from lilliput.bundle import Bundle
from lilliput.config import ExportConfig
from lilliput.export.to_bundle import to_bundle
from lilliput.train import evaluate, features

HIDDEN, LAYERS = 32, 2


def bundle_like(bundle: Path, texts: Sequence[str], out: Path, seed: int = 0) -> Path:
    """Write a bundle with the tokenizer and the length of ``bundle`` to ``out``; its gates read ``texts``."""
    task, length = tasks.get("sentence-embedding"), Bundle.open(bundle).manifest.max_length
    tokenizer = models.load_tokenizer(bundle)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertModel(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=HIDDEN,
                num_hidden_layers=LAYERS,
                num_attention_heads=2,
                intermediate_size=2 * HIDDEN,
                max_position_embeddings=length,
                initializer_range=0.5,  # wide enough for vectors that differ between texts
                pad_token_id=tokenizer.pad_token_id,
            )
        ).eval()
    windows = features.windows_of(task, tokenizer, texts, length)
    found = iter(evaluate.outputs_of(model, tokenizer, [window for some in windows for window in some]))
    to_bundle(
        model,
        tokenizer,
        ExportConfig(task=task.name, model="random", precisions=("fp32",), max_length=length, out=out),
        list(texts),
        [[next(found) for _ in some] for some in windows],
        samples=[],
        provenance={"model": {"name": "random"}},
        recipe={"seed": seed},
    )
    return out
