"""Values that cross folders. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "int8"]

ONNX_FILES: dict[Precision, str] = {
    "fp32": "onnx/model.onnx",
    "int8": "onnx/model_quantized.onnx",
}
"""Where a bundle keeps the graph of each precision (names that optimum and transformers.js look for)."""


@dataclass(frozen=True)
class EncoderShape:
    """The numbers that decide an encoder's cost.

    ``layers`` transformer blocks of width ``hidden``, each with ``heads`` attention heads and ``ffn``
    feed-forward neurons, over a vocabulary of ``vocabulary`` tokens.
    """

    layers: int
    hidden: int
    heads: int
    ffn: int
    vocabulary: int
