"""What passes through an encoder, estimated from its weights alone.

Each dimension of the residual stream, each neuron and each channel of a head is taken as an independent variable with
a mean and a variance. That is rough, but it tells dimensions that carry much from those that carry little, and what is
constant from what varies, without reading a text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lilliput import encoder

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(40)


@dataclass(frozen=True)
class Moments:
    """Mean and variance, both ``[n]`` in float64, of ``n`` independent variables."""

    mean: Tensor
    variance: Tensor

    def __add__(self, other: Moments) -> Moments:
        """Those of the sums of two independent sets of variables."""
        return Moments(self.mean + other.mean, self.variance + other.variance)

    @property
    def deviation(self) -> Tensor:
        """The standard deviation, ``[n]``."""
        return self.variance.sqrt()

    def through(self, layer: nn.Linear) -> Moments:
        """Those of ``W x + b``: mean ``W m + b``, variance ``(W * W) v``."""
        weight, bias = _double(layer.weight), _double(layer.bias)
        return Moments(weight @ self.mean + bias, weight.square() @ self.variance)

    def centre_and_scale(self) -> tuple[Tensor, Tensor]:
        """What LayerNorm subtracts and divides by, both scalars: ``c = mean_d m_d``, and
        ``s^2 = mean_d (m_d^2 + v_d) - c^2``."""
        centre = self.mean.mean()
        return centre, ((self.mean.square() + self.variance).mean() - centre.square()).clamp_min(0).sqrt()

    def normed(self, norm: nn.LayerNorm) -> Moments:
        """Those of ``g (x - c) / s + b``, LayerNorm with gain g and bias b."""
        centre, scale = self.centre_and_scale()
        gain = _double(norm.weight) / (scale.square() + norm.eps).sqrt()
        return Moments(gain * (self.mean - centre) + _double(norm.bias), gain.square() * self.variance)

    def activated(self, function: Callable[[Tensor], Tensor]) -> Moments:
        """Those of ``function(x)`` for normal ``x``, by Gauss-Hermite quadrature with 40 nodes."""
        nodes, weights = (torch.as_tensor(value).to(self.mean) for value in (_NODES, _WEIGHTS / _WEIGHTS.sum()))
        values = function(self.mean[:, None] + self.deviation[:, None] * nodes)  # [n, 40]
        mean = values @ weights
        return Moments(mean, (values - mean[:, None]).square() @ weights)


def estimate(model: Any) -> dict[nn.Module, Moments]:
    """The moments of what each linear layer and LayerNorm of the encoder reads, keyed by the module itself.

    Tokens, positions and types are taken as equally frequent, and a head to attend to one token at a time, as all of
    the variance of its values is kept then.
    """
    ends, activation = encoder.ends_of(model), encoder.activation_of(model)
    read: dict[nn.Module, Moments] = {}

    def through(layer: nn.Module, moments: Moments) -> Moments:
        read[layer] = moments
        return moments.normed(layer) if isinstance(layer, nn.LayerNorm) else moments.through(layer)  # type: ignore[arg-type]

    tables = [_double(table.weight) for table in ends.tables]
    summed = Moments(sum(t.mean(0) for t in tables), sum(t.var(0, correction=0) for t in tables))  # type: ignore[arg-type]
    stream = through(ends.table_norm, summed)
    if ends.widening is not None:
        stream = through(ends.widening, stream)
    for block in encoder.blocks_of(model):
        read[block.query] = read[block.key] = stream
        found = through(block.output, through(block.value, stream))
        stream = through(block.attention_norm, stream + found)
        neurons = through(block.ffn_in, stream).activated(activation)
        stream = through(block.ffn_norm, stream + through(block.ffn_out, neurons))
    if ends.feature_norm is not None and ends.features is not None and ends.last is not None:
        read[ends.last] = through(ends.feature_norm, through(ends.features, stream).activated(activation))
    elif head := ends.features or ends.last:
        read[head] = stream
    return read


def _double(weights: Tensor) -> Tensor:
    return weights.detach().double()
