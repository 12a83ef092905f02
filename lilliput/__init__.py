"""Lilliput: the smallest, fastest encoder that still does the job, and the proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from lilliput.runtime import load


def __getattr__(name: str) -> Any:
    # Loading numpy, tokenizers and onnxruntime waits until a bundle is loaded.
    if name == "load":
        from lilliput.runtime import load

        return load
    raise AttributeError(f"module 'lilliput' has no attribute {name!r}")
