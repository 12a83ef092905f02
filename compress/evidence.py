"""What calibration texts tell of a model: how its loss feels each part, and what passes through its layers.

Parts are felt through the gradients g of masks that stand on them (see `lilliput.compress.mask_gradients`), and g has
one or several rows a text (see `lilliput.compress.output_fisher`) whose outer products add up:
``1/texts sum_texts sum_rows g g^T`` is the Fisher information of a mask, and half its quadratic form in what is removed
estimates by how much the loss of a text rises.

Everything is streamed: besides sums there is one batch's activations in memory. Sums of a feed-forward layer of F
neurons are F^2 numbers of four bytes (BERT-base: 450 MB in all), and are made only for a criterion that needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from lilliput import encoder
from lilliput.compress.mask_gradients import BatchGradients, gradients_of
from lilliput.compress.predictions import Kind
from lilliput.errors import ConfigError


@dataclass(frozen=True)
class MaskMoments:
    """Moments of the gradients of the masks of ``n`` structures, the mean over texts.

    Attributes:
        size: ``[n]``, ``sqrt(sum_rows g^2)``: with labels |g|, else its deviation over the model's own answers.
        square: ``[n]``, ``sum_rows g^2``: the diagonal of the Fisher information.
    """

    size: Tensor
    square: Tensor


@dataclass(frozen=True)
class Masks:
    """Moments of the masks of heads and neurons, one a block, and of the dimensions of the residual stream; and of
    heads and dimensions the Fisher information, ``[n, n]`` (that of neurons is large: `Evidence.neuron_fishers`)."""

    heads: tuple[MaskMoments, ...]
    neurons: tuple[MaskMoments, ...]
    dimensions: MaskMoments
    head_fishers: tuple[Tensor, ...]
    dimension_fisher: Tensor


@dataclass(frozen=True)
class LayerMoments:
    """What a linear layer ``y = W x + b`` that writes to the residual stream reads, and how the loss feels its output.

    With ``g_t = d loss / d y_t``, the mean over tokens t of x and its covariance are weighted by ``|g_t|^2``, so that
    tokens that the loss does not feel don't count: in the last block of a classifier all but the first. The loss rises
    by about ``1/2 tr(Fisher dW Cov dW^T)`` when W changes by dW and b takes up the mean of the change.

    Attributes:
        mean: ``[n]``.
        covariance: ``[n, n]``.
        output_fisher: ``sum_t sum_rows g_t g_t^T``, the mean over texts, ``[H, H]``.

    Reference: Martens & Grosse 2015, Optimizing neural networks with Kronecker-factored approximate curvature.
    """

    mean: Tensor
    covariance: Tensor
    output_fisher: Tensor


class Evidence:
    """What calibration texts tell of a model; each part is computed when it is first asked for.

    Args:
        model: a supported encoder with its head, float32; it stays as it is.
        kind: of its outputs, see `lilliput.compress.predictions.kind_of`.
        batches: can be gone through again and again; each has ``input_ids`` and ``attention_mask`` ``[B, T]``, may have
            ``token_type_ids``, and labels as `Task.training` makes them. With labels the loss is theirs; without, the
            model's own answers are the targets. Other columns are ignored.
    """

    def __init__(self, model: Any, kind: Kind, batches: Iterable[dict[str, Tensor]]) -> None:
        self.model = model
        self.kind = kind
        self.batches = batches
        self.blocks = encoder.blocks_of(model)
        self.shapes = encoder.block_shapes_of(model)
        self._found: dict[str, Any] = {}

    @property
    def masks(self) -> Masks:
        """Moments of the gradients of all masks."""
        self.gather("masks")
        return self._found["masks"]

    @property
    def neuron_fishers(self) -> tuple[Tensor, ...]:
        """The Fisher information of each block's neurons, ``[F, F]``, F^2 numbers a block."""
        self.gather("neuron_fishers")
        return self._found["neuron_fishers"]

    @property
    def attention(self) -> tuple[LayerMoments, ...]:
        """Of each block's attention output: x is what its heads found, ``[heads x head size]``."""
        self.gather("layers")
        return self._found["layers"][0]

    @property
    def ffn(self) -> tuple[LayerMoments, ...]:
        """Of each block's second feed-forward layer: x is its neurons' outputs."""
        self.gather("layers")
        return self._found["layers"][1]

    def gather(self, *names: str) -> None:
        """Compute those of "masks", "neuron_fishers" and "layers" that are not there yet, in one pass over the texts.

        Raises:
            ConfigError: there are no texts.
        """
        wanted = {name: _SUMS[name]() for name in names if name not in self._found}
        if not wanted:
            return
        texts = 0
        for gradients in self._passes():
            for sums in wanted.values():
                sums.add(gradients)
            texts += gradients.texts
        if not texts:
            raise ConfigError("--data: no text to calibrate on; give a file with at least a few hundred")
        self._found |= {name: sums.means(texts) for name, sums in wanted.items()}

    def _passes(self) -> Iterator[BatchGradients]:
        was_training = self.model.training
        self.model.eval()
        texts = 0
        try:
            for batch in self.batches:
                yield gradients_of(self.model, self.kind, batch, texts)
                texts += len(batch["input_ids"])
        finally:
            self.model.train(was_training)


# --- sums over batches ------------------------------------------------------------------------------------------------


class _Sums(Protocol):
    """Sums over batches, and what they come to for a number of texts."""

    def add(self, batch: BatchGradients) -> None: ...

    def means(self, texts: int) -> Any: ...


class _MaskSums:
    """Those of `Masks`."""

    def __init__(self) -> None:
        self.sizes: list[list[Tensor]] = []
        self.fishers: list[list[Tensor]] = []

    def add(self, batch: BatchGradients) -> None:
        _add(self.sizes, [_sizes(g) for g in (*batch.heads, *batch.neurons, batch.dimensions)])
        _add(self.fishers, [[_outer(g)] for g in (*batch.heads, batch.dimensions)])

    def means(self, texts: int) -> Masks:
        *moments, dimensions = (MaskMoments(size / texts, square / texts) for size, square in self.sizes)
        *fishers, dimension_fisher = (fisher / texts for (fisher,) in self.fishers)
        half = len(fishers)
        return Masks(tuple(moments[:half]), tuple(moments[half:]), dimensions, tuple(fishers), dimension_fisher)


class _NeuronSums:
    """The whole Fisher information of neurons."""

    def __init__(self) -> None:
        self.sums: list[list[Tensor]] = []

    def add(self, batch: BatchGradients) -> None:
        _add(self.sums, [[_outer(g)] for g in batch.neurons])

    def means(self, texts: int) -> tuple[Tensor, ...]:
        return tuple(fisher.div_(texts) for (fisher,) in self.sums)


class _LayerSums:
    """Those of `LayerMoments`, of inputs less their mean in the first batch: a covariance does not change by that, and
    neither do small differences of large numbers come into it."""

    def __init__(self) -> None:
        self.shifts: list[Tensor] = []
        self.sums: list[list[Tensor]] = []

    def add(self, batch: BatchGradients) -> None:
        layers = (*batch.attention, *batch.ffn)
        self.shifts = self.shifts or [layer.x.flatten(0, 1).mean(0) for layer in layers]
        found = []
        for layer, shift in zip(layers, self.shifts, strict=True):
            felt = layer.weights > 0
            root = layer.weights[felt].sqrt()[:, None]
            x = (layer.x[felt] - shift) * root  # [N, n]
            found.append([root.square().sum(), (x * root).sum(0), x.T @ x, layer.fisher])
        _add(self.sums, found)

    def means(self, texts: int) -> tuple[tuple[LayerMoments, ...], tuple[LayerMoments, ...]]:
        found = []
        for shift, (weight, total, second, fisher) in zip(self.shifts, self.sums, strict=True):
            whole = weight.clamp_min(torch.finfo(weight.dtype).tiny)
            mean = total / whole
            covariance = second.div_(whole).sub_(torch.outer(mean, mean))  # in place: the largest there is
            found.append(LayerMoments(mean + shift, covariance, fisher / texts))
        half = len(found) // 2
        return tuple(found[:half]), tuple(found[half:])


def _sizes(gradients: Tensor) -> list[Tensor]:
    """Of ``[R, B, n]`` the sums over texts of ``sqrt(sum_rows g^2)`` and of ``sum_rows g^2``, ``[n]`` each."""
    square = gradients.square().sum(0)
    return [square.sqrt().sum(0), square.sum(0)]


def _outer(gradients: Tensor) -> Tensor:
    """Of ``[R, B, n]`` the sum of ``g g^T``, ``[n, n]``."""
    flat = gradients.flatten(0, 1)
    return flat.T @ flat


def _add(sums: list[list[Tensor]], found: list[list[Tensor]]) -> None:
    """Add to sums, which begin empty."""
    if not sums:
        sums.extend(found)
        return
    for one, other in zip(sums, found, strict=True):
        for total, value in zip(one, other, strict=True):
            total += value


_SUMS: dict[str, Callable[[], _Sums]] = {"masks": _MaskSums, "neuron_fishers": _NeuronSums, "layers": _LayerSums}
"""What `Evidence.gather` can compute."""
