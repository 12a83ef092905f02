"""Data, fine-tuning, the training loop and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["finetune"]

if TYPE_CHECKING:
    from lilliput.train.finetuning import finetune


def __getattr__(name: str) -> Any:
    # Data sets can be read and checked without torch, so torch waits until something is trained.
    if name == "finetune":
        from lilliput.train.finetuning import finetune

        return finetune
    raise AttributeError(f"module 'lilliput.train' has no attribute {name!r}")
