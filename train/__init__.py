"""Data, tokenizers, pretraining, fine-tuning, the training loop and evaluation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["finetune", "pretrain", "train_tokenizer"]

if TYPE_CHECKING:
    from lilliput.train.finetuning import finetune
    from lilliput.train.pretraining import pretrain
    from lilliput.train.wordpiece import train_tokenizer

_HOMES = {"finetune": "finetuning", "pretrain": "pretraining", "train_tokenizer": "wordpiece"}


def __getattr__(name: str) -> Any:
    # Data sets can be read and checked without torch, so torch waits until something is trained.
    if name in _HOMES:
        return getattr(import_module(f"lilliput.train.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'lilliput.train' has no attribute {name!r}")
