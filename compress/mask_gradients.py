"""How the loss of each text of a batch feels every part of a model: the gradients of masks.

A mask of ones stands on every attention head, every feed-forward neuron and every dimension of the residual stream (on
the embeddings' output and after each norm; one mask for all places). Of a neuron with outputs ``x_t`` at token t its
gradient is ``g = sum_t x_t d loss / d x_t``, of a head and of a dimension likewise, so a single backward pass gives
those of all texts of a batch, and no mask need be there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lilliput import encoder
from lilliput.compress.output_fisher import cotangents
from lilliput.compress.predictions import Kind
from lilliput.train.evaluate import array_of

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""Columns of a batch that models read."""


@dataclass
class LayerGradients:
    """One linear layer's inputs ``x``, ``[B, T, n]``, and sums over rows of its outputs' gradients ``g_t``.

    Attributes:
        weights: ``[B, T]``, the sum of ``|g_t|^2``.
        fisher: ``[H, H]``, the sum of ``g_t g_t^T``, over tokens too.
    """

    x: Tensor
    weights: Tensor
    fisher: Tensor

    @classmethod
    def none(cls, x: Tensor, y: Tensor) -> LayerGradients:
        """No rows yet, of a layer with outputs ``y [B, T, H]``."""
        return cls(x.detach(), y.new_zeros(y.shape[:2]), y.new_zeros(y.shape[2], y.shape[2]))

    def add(self, gradients: Tensor) -> None:
        """Add a row's ``g``, ``[B, T, H]``."""
        self.weights += gradients.square().sum(-1)
        felt = gradients.flatten(0, 1)
        self.fisher += felt.T @ felt


@dataclass(frozen=True)
class BatchGradients:
    """What the backward passes of one batch tell.

    Attributes:
        texts: B.
        heads, neurons: gradients of the masks of R rows a text, ``[R, B, n]``, one tensor a block.
        dimensions: ``[R, B, H]``.
        attention, ffn: the layers that write to the residual stream, one a block.
    """

    texts: int
    heads: list[Tensor]
    neurons: list[Tensor]
    dimensions: Tensor
    attention: list[LayerGradients]
    ffn: list[LayerGradients]


def gradients_of(model: Any, kind: Kind, batch: dict[str, Tensor], first: int = 0) -> BatchGradients:
    """Gradients of the loss of each text of a batch; ``first`` is the number of its first text, among all."""
    batch = {name: values.to(model.device) for name, values in batch.items()}
    reads = INPUTS if getattr(model.config, "type_vocab_size", 0) > 1 else INPUTS[:2]
    with torch.enable_grad(), _tapped(model) as taps:
        answers = model(**{name: batch[name] for name in reads if name in batch})
        outputs = array_of(answers, batch["attention_mask"]).float()
    starts = cotangents(kind, outputs, batch, first)
    layers = [LayerGradients.none(*pair) for pair in zip(taps.inputs, taps.outputs, strict=True)]
    count, half = len(layers), len(layers) // 2
    masks: list[list[Tensor]] = []  # of each row: [B, n] of each layer's inputs, and [B, H] of the stream
    for number, start in enumerate(starts, start=1):
        found = torch.autograd.grad(
            outputs,
            [*taps.outputs, *taps.inputs, *taps.stream],
            start,
            retain_graph=number < len(starts),
            allow_unused=True,
            materialize_grads=True,
        )
        for layer, gradient in zip(layers, found[:count], strict=True):
            layer.add(gradient)
        felt = zip([*taps.inputs, *taps.stream], found[count:], strict=True)
        products = [(x.detach() * gradient).sum(1) for x, gradient in felt]
        masks.append([*products[:count], torch.stack(products[count:]).sum(0)])
    *inner, dimensions = (torch.stack(rows) for rows in zip(*masks, strict=True))  # [R, B, n] each
    shapes = encoder.block_shapes_of(model)
    heads = [_by_head(g, shape.heads) for g, shape in zip(inner[:half], shapes, strict=True)]
    return BatchGradients(len(outputs), heads, inner[half:], dimensions, layers[:half], layers[half:])


def _by_head(gradients: Tensor, heads: int) -> Tensor:
    """``[R, B, heads]`` of ``[R, B, heads x head size]``."""
    return gradients.unflatten(-1, (heads, -1)).sum(-1) if heads else gradients


@dataclass
class _Taps:
    """Tensors of one forward pass: inputs and outputs of the layers that write to the residual stream (of all blocks'
    attention, then of all feed-forward layers), and the residual stream where its mask stands."""

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    stream: list[Tensor] = field(default_factory=list)


@contextmanager
def _tapped(model: Any) -> Iterator[_Taps]:
    """Inside, a forward pass keeps tensors of which gradients can be asked."""
    taps, blocks = _Taps(), encoder.blocks_of(model)
    writers = [*(block.output for block in blocks), *(block.ffn_out for block in blocks)]
    places = {layer: number for number, layer in enumerate(writers)}
    taps.inputs, taps.outputs = [torch.empty(0)] * len(writers), [torch.empty(0)] * len(writers)

    def begin(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        # The weights below are no business of ours; what is above has gradients even where weights are frozen.
        taps.stream.append(output.detach().requires_grad_())
        return taps.stream[-1]

    def write(layer: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        for value in (*inputs, output):
            if not value.requires_grad:  # a layer that reads nothing, or frozen
                value.requires_grad_()
        taps.inputs[places[layer]], taps.outputs[places[layer]] = inputs[0], output

    def normed(_: nn.Module, __: Any, output: Tensor) -> None:
        taps.stream.append(output)

    hooks = [encoder.embeddings_of(model).register_forward_hook(begin)]
    hooks += [layer.register_forward_hook(write) for layer in writers]
    hooks += [n.register_forward_hook(normed) for block in blocks for n in (block.attention_norm, block.ffn_norm)]
    try:
        yield taps
    finally:
        for hook in hooks:
            hook.remove()
