"""Train under the rounding of a quantized graph (quantization-aware training).

In the forward pass weights and activations are rounded to what the graph will hold; in the backward pass rounding
counts as the identity (straight-through estimator), so that weights learn to lie where rounding does little:

    W_q = s (clamp(round(W / s) + z, a, b) - z),    dL/dW = dL/dW_q

The scales s and zero points z are those that the quantizers choose from the weights themselves (extremes of a channel
or of a block), anew in every step. So what the graph computes is what was trained, and no scale has to be carried over.
Dynamic int8 chooses the scale of an activation from the tensor, here as in the graph; static int8 has the scale
calibrated after the training, by the rule that is used here on each batch. Int8 graphs are smoothed (see
`lilliput.export.smooth`), which moves their weights' grid a little from the one trained with.

References: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", section 3; Bengio et al. 2013, "Estimating or Propagating Gradients Through Stochastic Neurons", section 4.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lilliput.config import DistillConfig
from lilliput.errors import ConfigError
from lilliput.export.precisions import QuantSpec
from lilliput.export.quantize import SMALL
from lilliput.train.loop import BESIDE

Round = Callable[[Tensor], Tensor]


def straight_through(rounded: Tensor, exact: Tensor) -> Tensor:
    """``rounded`` forwards, the gradient of ``exact`` backwards."""
    return exact + (rounded - exact).detach()


def symmetric(weights: Tensor, levels: int, largest: Tensor) -> Tensor:
    """Weights as signed numbers from -levels to levels, with the scale max|W| / levels.

    Args:
        weights: ``[..., n]``.
        largest: max|W| of those that share a scale, in a shape that fits.
    """
    scale = (largest / levels).clamp_min(torch.finfo(torch.float32).tiny)
    return straight_through(torch.round(weights / scale).clamp(-levels, levels) * scale, weights)


def by_channel(weights: Tensor, levels: int) -> Tensor:
    """`symmetric` with a scale for each output of a product ``[out, in]``."""
    return symmetric(weights, levels, weights.abs().amax(1, keepdim=True))


def asymmetric(values: Tensor, levels: int, low: Tensor, high: Tensor) -> Tensor:
    """Values as numbers from 0 to levels, with a scale and a zero point from the extremes; 0 stays 0.

    Args:
        low, high: extremes of those that share a scale, in shapes that fit.
    """
    low, high = low.clamp_max(0), high.clamp_min(0)
    scale = ((high - low) / levels).clamp_min(torch.finfo(torch.float32).tiny)
    zero = torch.round(-low / scale)
    return straight_through((torch.round(values / scale + zero).clamp(0, levels) - zero) * scale, values)


def blocks(weights: Tensor, size: int, bits: int) -> Tensor:
    """`asymmetric` in blocks of ``size`` neighbours of the last dimension; the last block of a row may be shorter."""
    width = weights.shape[-1]
    padded = nn.functional.pad(weights, (0, -width % size)).unflatten(-1, (-1, size))
    ends = padded.amin(-1, keepdim=True), padded.amax(-1, keepdim=True)
    return asymmetric(padded, 2**bits - 1, *ends).flatten(-2)[..., :width]


@dataclass(frozen=True)
class Rounding:
    """What a precision rounds.

    Attributes:
        weights: of a product, ``[out, in]``.
        inputs: what goes into it, ``[..., in]``; None where it stays exact.
        rows: what was looked up in a table, ``[..., width]``, given with the whole table.
    """

    weights: Round
    inputs: Round | None
    rows: Callable[[Tensor, Tensor], Tensor]


def rounding_of(precision: str, *, reduce_range: bool, block_size: int) -> Rounding:
    """The rounding of a precision below 16 bits.

    Args:
        reduce_range: weights of int8 have 7 bits (see `lilliput.export.quantize.overflows`).
        block_size: weights that share a scale in int8-weights and int4.

    Raises:
        ConfigError: the precision rounds nothing that training could mend.
    """
    levels = 64 if reduce_range else 127

    def looked_up(rows: Tensor, table: Tensor) -> Tensor:
        return asymmetric(rows, 255, table.detach().amin(), table.detach().amax())

    if precision in ("int8", "int8-static"):
        return Rounding(lambda w: by_channel(w, levels), lambda x: asymmetric(x, 255, x.amin(), x.amax()), looked_up)
    if precision == "int8-weights":
        return Rounding(lambda w: blocks(w, block_size, 8), None, looked_up)
    if precision == "int4":
        # A block lies within a row, so that only the rows that are wanted need rounding.
        return Rounding(lambda w: blocks(w, block_size, 4), None, lambda rows, _: blocks(rows, block_size, 4))
    raise ConfigError(f"{precision}: has 16 bits, which need no training under their rounding")


def rounding_for(config: DistillConfig) -> Rounding | None:
    """The rounding that a student is trained under; None where it is trained as it is."""
    if config.rounding is None:
        return None
    narrow = QuantSpec(config.rounding, config.target_cpu).reduce_range
    return rounding_of(config.rounding, reduce_range=narrow, block_size=config.block_size)


class RoundedLinear(nn.Linear):
    """A product whose operands are rounded; `rounded` makes one of a Linear and back."""

    rounding: Rounding

    def forward(self, input: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        values = self.rounding.inputs(input) if self.rounding.inputs else input
        return nn.functional.linear(values, self.rounding.weights(self.weight), self.bias)


class RoundedEmbedding(nn.Embedding):
    """A table whose rows are rounded."""

    rounding: Rounding

    def forward(self, input: Tensor) -> Tensor:
        """``[...]`` to ``[..., width]``."""
        return self.rounding.rows(nn.functional.embedding(input, self.weight, self.padding_idx), self.weight)


ROUNDED: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: RoundedLinear, nn.Embedding: RoundedEmbedding}


@contextlib.contextmanager
def rounded(model: nn.Module, rounding: Rounding | None) -> Iterator[None]:
    """Round the products and tables of a model while the context lasts; its weights and their names stay as they are.

    What the graph computes exactly stays exact (see `_exact`). None rounds nothing.
    """
    changed: list[Any] = []
    try:
        exact = _exact(model) if rounding else set[nn.Module]()
        every: list[Any] = list(model.modules()) if rounding else []
        for module in every:
            if type(module) in ROUNDED and module not in exact:
                kind = type(module)
                module.__class__ = ROUNDED[kind]
                module.rounding = rounding
                changed.append((module, kind))
        yield
    finally:
        for module, kind in changed:
            module.__class__ = kind
            del module.rounding


def _exact(model: nn.Module) -> set[nn.Module]:
    """What is no part of the graph, and the layers of at most `SMALL` weights that read one row a text.

    Those are a pooler and the head of a classifier of texts (see `lilliput.export.quantize.small_heads`); heads that
    answer for every token are quantized, however small.
    """
    exact = set(getattr(model, BESIDE, nn.Module()).modules())
    if type(model).__name__.endswith("ForSequenceClassification"):
        base: Any = model.base_model
        inner = set(base.modules()) - set((getattr(base, "pooler", None) or nn.Module()).modules())
        layers = (module for module in model.modules() if isinstance(module, nn.Linear) and module not in inner)
        exact |= {layer for layer in layers if layer.weight.numel() <= SMALL}
    return exact
