"""Make a pruned encoder compute what the unpruned one did, without training: least squares, block after block.

What heads and neurons that are gone wrote to the residual stream can in part be written by those that stay, because
they are correlated. The matrices that write to the stream are solved for that on calibration texts, each with the
inputs that it really gets: those of the pruned model whose earlier blocks are solved already, so that errors do not add
up where they can be mended.

References: Kwon et al. 2022, "A Fast Post-Training Pruning Framework for Transformers", section 4.3 (rescales each head
and neuron; here whole matrices are solved); He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural
Networks", section 3.2 (inputs of the pruned model, targets of the unpruned one).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lilliput import encoder
from lilliput.compress.least_squares import RIDGES, HeldOutSums
from lilliput.compress.mask_gradients import INPUTS
from lilliput.compress.surgery import kept_features, prune
from lilliput.encoder import Block
from lilliput.types import PrunePlan

Sample = tuple[Tensor, Tensor, Tensor]
"""Inputs of a layer ``[B, T, n]``, the outputs it should have ``[B, T, m]``, and the weights of tokens ``[B, T]``."""


@torch.no_grad()
def reconstruct(
    model: Any, plan: PrunePlan, batches: Iterable[Mapping[str, Tensor]], ridges: Sequence[float] = RIDGES
) -> Any:
    """The model that ``plan`` leaves of ``model``, corrected on calibration texts.

    Of each block that stays, ``output`` and ``ffn_out`` with their biases are solved (see `least_squares`) so that what
    they write, added to the pruned stream, is nearest to the sum that the unpruned model has there, over all tokens
    that are not padding. Where blocks after it are dropped, the feed-forward half aims at the sum at the end of those,
    and takes over the norm that follows. Where dimensions are removed, what reads the stream (queries, keys, values,
    ``ffn_in``) is solved to compute what it did, and gains and biases of norms to give the dimensions that stay the
    values they had. In the end a head's last layer, unless it is tied to the tables, is solved for the logits. In the
    last block of a sequence classifier only the first token counts, as nothing else of it is read.

    Time is that of about two passes of each model over the texts. Memory is that of four residual streams of all texts,
    ``16 * texts * tokens * hidden`` bytes for texts padded to ``tokens``, and ``32 * n^2`` bytes for the sums and the
    equations of a layer of n inputs.

    Args:
        model: the unpruned model; not changed. It may be one that was pruned before.
        batches: inputs of the model, read once; other entries than its inputs (labels, a teacher's answers) are
            ignored.
        ridges: strengths of the pull towards the sliced weights, relative to the mean variance of the inputs, above 0.
    """
    pruned = prune(model, plan)
    modes = model.training, pruned.training
    model.eval(), pruned.eval()
    try:
        texts = [_inputs_of(batch, model) for batch in batches]
        work = _Reconstruction(model, pruned, plan, texts, tuple(ridges))
        work.blocks()
        work.head()
    finally:
        model.train(modes[0]), pruned.train(modes[1])
    return pruned


class _Reconstruction:
    """Both residual streams of all texts, on their way through both models.

    ``whole`` and ``small`` hold, for each batch, what the unpruned model has there, ``[B, T, H]``, and what the pruned
    one has, ``[B, T, kept]``; ``same`` says that nothing differs yet.
    """

    def __init__(
        self, model: Any, pruned: Any, plan: PrunePlan, texts: list[dict[str, Tensor]], ridges: tuple[float, ...]
    ) -> None:
        self.model, self.pruned, self.plan, self.texts, self.ridges = model, pruned, plan, texts, ridges
        self.old, self.new = encoder.blocks_of(model), encoder.blocks_of(pruned)
        self.shapes = encoder.block_shapes_of(model)
        self.activation = encoder.activation_of(model)
        self.masks = [text["attention_mask"] for text in texts]
        self.heads = _solvable(model, plan)
        passes = [_run(model, text, encoder.embeddings_of(model), *self.heads) for text in texts]
        self.whole = [found[0].outputs for found in passes]
        self.answers = [[found.outputs for found in one[1:]] for one in passes]  # of each text, of each layer of heads
        self.same = plan.dimensions is None and plan.layers[0] == 0
        self.kept: Any = slice(None) if plan.dimensions is None else list(plan.dimensions)
        if plan.dimensions is None:
            self.small = list(self.whole)
        else:
            self.small = [_run(pruned, text, encoder.embeddings_of(pruned))[0].outputs for text in texts]

    def blocks(self) -> None:
        """Solve every block that stays."""
        layers, ends = self.plan.layers, encoder.ends_of(self.pruned)
        if self.plan.dimensions is not None and ends.widening is None:
            self._rescale(ends.table_norm)
        for number in range(layers[0]):
            self.whole = [self.old[number].ffn_norm(sums) for sums in self._whole_sums(number)]
        for number, following, new in zip(layers, (*layers[1:], len(self.old)), self.new, strict=True):
            self._attention(number, new, first=following == len(self.old) and encoder.reads_first_token(self.model))
            self._feed_forward(number, following, new)

    def head(self) -> None:
        """Solve the layers of the head for the outputs that those of the unpruned model have."""
        if self.same:
            return
        for number, layer in enumerate(_solvable(self.pruned, self.plan)):
            rows: Any = slice(None)
            if layer.out_features < self.heads[number].out_features:
                rows = list(kept_features(self.model, self.plan))
            self._solve([layer], self._head_samples(number, layer, rows))

    def _head_samples(self, number: int, layer: nn.Linear, rows: Any) -> Iterator[Sample]:
        for text, mask, answers in zip(self.texts, self.masks, self.answers, strict=True):
            features, targets = _run(self.pruned, text, layer)[0].inputs, answers[number][..., rows]
            if features.dim() == 2:  # a row a text
                yield features[:, None], targets[:, None], torch.ones_like(features[:, :1])
            else:
                yield features, targets, mask.to(features.dtype)

    def _attention(self, number: int, new: Block, first: bool) -> None:
        """Solve the attention half of a block; both streams are then what its feed-forward half reads."""
        old = self.old[number]
        self.same &= len(self.plan.heads[number]) == self.shapes[number].heads
        if self.same:
            for i in range(len(self.masks)):
                self._whole_attention(number, i)
            self.small = [stream[:, :1] if first else stream for stream in self.whole]
            return
        if self.plan.dimensions is not None:
            size = encoder.head_size_of(self.model)
            channels = [head * size + channel for head in self.plan.heads[number] for channel in range(size)]
            readers = ((old.query, new.query), (old.key, new.key), (old.value, new.value))
            self._solve_readers(readers, channels)
        contexts = []

        def samples() -> Iterator[Sample]:
            for i, mask in enumerate(self.masks):
                stream = self.small[i]
                self.small[i] = rows = stream[:, :1] if first else stream
                contexts.append(_attend(new, len(self.plan.heads[number]), rows, stream, mask))
                target = self._whole_attention(number, i)
                yield contexts[-1], self._like(target, rows) - rows, self._weights(i)

        self._solve([new.output], samples())
        rows = zip(contexts, self.small, strict=True)
        self.small = [new.attention_norm(new.output(context) + stream) for context, stream in rows]
        self._rescale(new.attention_norm)

    def _feed_forward(self, number: int, following: int, new: Block) -> None:
        """Solve the feed-forward half of a block, and pass the dropped blocks before ``following``."""
        old = self.old[number]
        if self.plan.dimensions is not None:
            self._solve_readers(((old.ffn_in, new.ffn_in),), list(self.plan.neurons[number]))
        sums = [self._feed(old, stream) for stream in self.whole]
        for dropped in range(number + 1, following):
            self.whole = [self.old[dropped - 1].ffn_norm(one) for one in sums]
            sums = self._whole_sums(dropped)
        norm = self.old[following - 1].ffn_norm
        self.same &= following == number + 1 and len(self.plan.neurons[number]) == self.shapes[number].ffn
        if self.same:
            self.whole = [norm(one) for one in sums]
            self.small = [self._like(whole, stream) for whole, stream in zip(self.whole, self.small, strict=True)]
            return
        new.ffn_norm.weight.copy_(norm.weight[self.kept])
        new.ffn_norm.bias.copy_(norm.bias[self.kept])

        def samples() -> Iterator[Sample]:
            for i, stream in enumerate(self.small):
                yield self.activation(new.ffn_in(stream)), self._like(sums[i], stream) - stream, self._weights(i)

        self._solve([new.ffn_out], samples())
        self.small = [new.ffn_norm(self._feed(new, stream)) for stream in self.small]
        self.whole = [norm(one) for one in sums]
        self._rescale(new.ffn_norm)

    def _solve_readers(self, layers: Sequence[tuple[nn.Linear, nn.Linear]], rows: list[int]) -> None:
        """Solve layers that read the stream for the outputs ``rows`` of the unpruned ones."""

        def samples() -> Iterator[Sample]:
            for i, stream in enumerate(self.small):
                whole = self.whole[i][:, : stream.shape[1]]
                yield stream, torch.cat([old(whole)[..., rows] for old, _ in layers], dim=-1), self._weights(i)

        self._solve([new for _, new in layers], samples())

    def _solve(self, layers: Sequence[nn.Linear], samples: Iterable[Sample]) -> None:
        """Correct layers that read the same inputs; their targets lie side by side."""
        widths = [layer.out_features for layer in layers]
        sums = HeldOutSums(layers[0].in_features, sum(widths), self.model.device)
        for features, targets, weights in samples:
            outputs = torch.cat([layer(features) for layer in layers], dim=-1)
            sums.add(features, targets - outputs, weights)
        for layer, part in zip(layers, sums.correction(self.ridges).split(widths, dim=1), strict=True):
            layer.weight.add_(part[:-1].T.to(layer.weight.dtype))
            layer.bias.add_(part[-1].to(layer.bias.dtype))

    def _rescale(self, norm: nn.LayerNorm) -> None:
        """Where dimensions are gone, a norm divides by another spread: give its outputs the scale and mean they had.

        For each dimension, with z its value and t that of the unpruned model, ``a = cov(z, t) / var(z)`` and
        ``b = mean(t) - a mean(z)``.
        """
        if self.plan.dimensions is None:
            return
        sums = torch.zeros(5, norm.weight.numel(), dtype=torch.float64, device=norm.weight.device)
        for i, stream in enumerate(self.small):
            z, t, weight = (part.double() for part in (stream, self._like(self.whole[i], stream), self._weights(i)))
            moments = torch.stack([torch.ones_like(z), z, t, z * z, z * t])  # [5, B, T, kept]
            sums += (moments * weight[..., None]).sum((1, 2))
        count, z, t, zz, zt = sums
        variance, covariance = zz / count - (z / count) ** 2, zt / count - z * t / count**2
        scale = torch.where(variance > 0, covariance / variance.clamp_min(1e-12), 1.0)
        shift = t / count - scale * z / count
        norm.weight.copy_(scale * norm.weight)
        norm.bias.copy_(scale * norm.bias + shift)
        self.small = [(scale * stream + shift).to(stream.dtype) for stream in self.small]

    def _weights(self, i: int) -> Tensor:
        """Which tokens of a batch count, ``[B, T or 1]``: those that are not padding."""
        stream = self.small[i]
        return self.masks[i][:, : stream.shape[1]].to(stream.dtype)

    def _like(self, whole: Tensor, small: Tensor) -> Tensor:
        """The tokens and dimensions of ``whole`` that ``small`` has."""
        return whole[:, : small.shape[1], self.kept]

    def _whole_attention(self, number: int, i: int) -> Tensor:
        """Run the attention half of an unpruned block on one batch; returns the sums before its norm."""
        block, stream = self.old[number], self.whole[i]
        sums = block.output(_attend(block, self.shapes[number].heads, stream, stream, self.masks[i])) + stream
        self.whole[i] = block.attention_norm(sums)
        return sums

    def _whole_sums(self, number: int) -> list[Tensor]:
        """Run an unpruned block on all batches; returns the sums before its last norm."""
        for i in range(len(self.masks)):
            self._whole_attention(number, i)
        return [self._feed(self.old[number], stream) for stream in self.whole]

    def _feed(self, block: Block, stream: Tensor) -> Tensor:
        """The feed-forward half of a block before its norm."""
        return block.ffn_out(self.activation(block.ffn_in(stream))) + stream


@dataclass(frozen=True)
class _Seen:
    """What a layer read (None where it got it by name) and gave."""

    inputs: Any
    outputs: Tensor


def _run(model: Any, text: dict[str, Tensor], *layers: nn.Module) -> list[_Seen]:
    """What each of ``layers`` sees when the model reads a batch."""
    seen: dict[nn.Module, _Seen] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        seen[layer] = _Seen(inputs[0] if inputs else None, outputs)

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        model(**text)
    finally:
        for hook in hooks:
            hook.remove()
    return [seen[layer] for layer in layers]


def _solvable(model: Any, plan: PrunePlan) -> list[nn.Linear]:
    """The layers of a head to solve: the first one where it lost dimensions to read, and the last one.

    None of a masked language model's, whose last layer shares the table of tokens.
    """
    ends = encoder.ends_of(model)
    if ends.feature_norm is not None:
        return []
    first = None if plan.dimensions is None else ends.features
    return [layer for layer in (first, ends.last) if layer is not None]


def _attend(block: Block, heads: int, rows: Tensor, stream: Tensor, mask: Tensor) -> Tensor:
    """What the heads of a block find for ``rows`` in ``stream``, ``[B, rows, heads * size]``."""
    if heads == 0:
        return rows.new_zeros(*rows.shape[:2], 0)
    query, key, value = (
        layer(inputs).unflatten(-1, (heads, -1)).transpose(1, 2)  # [B, T, A] -> [B, heads, T, size]
        for layer, inputs in ((block.query, rows), (block.key, stream), (block.value, stream))
    )
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask.bool()[:, None, None, :])
    return found.transpose(1, 2).flatten(2)


def _inputs_of(batch: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
    """What the model reads of a batch, on its device."""
    inputs = {name: batch[name].to(model.device) for name in INPUTS if name in batch}
    return {"attention_mask": torch.ones_like(inputs["input_ids"]), **inputs}
