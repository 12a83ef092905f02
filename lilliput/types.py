"""Values that cross folders. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "int8", "int8-static", "int8-weights", "int4", "fp16", "bf16"]

ONNX_FILES: dict[Precision, str] = {
    "fp32": "onnx/model.onnx",
    "int8": "onnx/model_quantized.onnx",
    "int8-static": "onnx/model_int8_static.onnx",
    "int8-weights": "onnx/model_int8_weights.onnx",
    "int4": "onnx/model_q4.onnx",
    "fp16": "onnx/model_fp16.onnx",
    "bf16": "onnx/model_bf16.onnx",
}
"""Where a bundle keeps the graph of each precision (names that optimum and transformers.js look for, where they have
one)."""


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


@dataclass(frozen=True)
class BlockShape:
    """``heads`` attention heads and ``ffn`` neurons of one block; a half with none of them only adds its bias."""

    heads: int
    ffn: int


@dataclass(frozen=True)
class PrunePlan:
    """What remains of an encoder after pruning: indices into the unpruned one, each tuple rising.

    ``heads[l]`` and ``neurons[l]`` are those of block l, and l runs over the blocks of the unpruned model. A block with
    neither is dropped as a whole: what comes in goes out, and not even its norms remain. ``dimensions`` are those of
    the residual stream (of the tables, norms and every layer that reads or writes it); None keeps all of them. Where
    some go, as many outputs of the layer between encoder and classifier (a pooler) must go: ``features`` are those that
    stay, and None leaves the choice to `lilliput.compress.surgery`.
    """

    heads: tuple[tuple[int, ...], ...]
    neurons: tuple[tuple[int, ...], ...]
    dimensions: tuple[int, ...] | None = None
    features: tuple[int, ...] | None = None

    @classmethod
    def whole(cls, shapes: EncoderShape | Sequence[BlockShape]) -> PrunePlan:
        """The plan that keeps everything of a model of this shape, or with these blocks."""
        if isinstance(shapes, EncoderShape):
            shapes = [BlockShape(shapes.heads, shapes.ffn)] * shapes.layers
        return cls(
            heads=tuple(tuple(range(shape.heads)) for shape in shapes),
            neurons=tuple(tuple(range(shape.ffn)) for shape in shapes),
        )

    @property
    def layers(self) -> tuple[int, ...]:
        """The blocks that stay, by their numbers in the unpruned model."""
        return tuple(
            number for number, (heads, ffn) in enumerate(zip(self.heads, self.neurons, strict=True)) if heads or ffn
        )

    @property
    def shapes(self) -> tuple[BlockShape, ...]:
        """The shapes of the blocks that stay."""
        return tuple(BlockShape(len(self.heads[number]), len(self.neurons[number])) for number in self.layers)
