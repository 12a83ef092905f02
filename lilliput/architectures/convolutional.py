"""A student made of convolutions over tokens."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lilliput.architectures.windows import WindowClassifier, WindowConfig, convolve


class ConvolutionalConfig(WindowConfig):
    """Settings of a `ConvolutionalForSequenceClassification`; see `WindowConfig`.

    Attributes:
        layers: convolutions, that of the token windows among them.
    """

    model_type = "lilliput_conv"

    width: int = 256
    layers: int = 3


class Convolution(nn.Module):
    """A residual convolution over tokens, as one matrix product whose parts are shifted and added.

    Equation:
        y_t = x_t + relu(b + sum over j of W_j x_{t+j}), x zero beyond the ends of the text

    That is an unfolded convolution with the product first: it quantizes as any product does, and its input is
    quantized once, not once for each place of the window.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.kernel = config.kernel
        self.product = nn.Linear(config.width, config.kernel * config.width, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.width))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Features ``[B, T, width]``, zero where ``mask`` ``[B, T, 1]`` is, to the same."""
        products = F.pad(self.product(features), (0, 0, (self.kernel - 1) // 2, self.kernel // 2))
        return (features + F.relu(convolve(products, self.bias.shape[0]) + self.bias)) * mask


class ConvolutionalForSequenceClassification(WindowClassifier):
    """`TokenWindows`, then residual convolutions, pooled."""

    config_class: Any = ConvolutionalConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config, [Convolution(config) for _ in range(config.layers - 1)])
