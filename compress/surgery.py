"""Cut out of an encoder what a plan leaves, or compute with the whole one as if it were cut.

Nothing is corrected here (see `reconstruct`): what stays has the weights that it had. LayerNorm normalises over the
dimensions that stay.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lilliput import encoder, rebuilding
from lilliput.compress.modeling_file import write_modeling_file
from lilliput.compress.narrowing import keep_inputs, keep_outputs
from lilliput.compress.residual_stream import stream_of
from lilliput.errors import ConfigError
from lilliput.types import BlockShape, EncoderShape, PrunePlan

__all__ = ["check", "is_uniform", "kept_features", "masked", "prune", "write_modeling_file"]


@torch.no_grad()
def prune(model: Any, plan: PrunePlan) -> Any:
    """The model that ``plan`` leaves of ``model``, which is not changed and may be one that was pruned before.

    A uniform plan (see `is_uniform`) gives a model of the plain class, any other plan one of the classes of
    ``lilliput.architectures.pruned``. To be loaded again, the layer between an encoder and its classifier (a pooler)
    must be as wide as the stream: of its outputs those of `kept_features` stay.

    Raises:
        ConfigError: ``plan`` does not fit ``model``.
        ModelError: a model that Lilliput can't take apart, or can't rebuild with blocks of unequal shapes.
    """
    check(model, plan)
    features = kept_features(model, plan)
    size, width = encoder.head_size_of(model), encoder.shape_of(model).hidden
    hidden = width if plan.dimensions is None else len(plan.dimensions)
    smaller = encoder.keep_layers(model, plan.layers)
    for number, block in zip(plan.layers, encoder.blocks_of(smaller), strict=True):
        channels, neurons = _channels(plan.heads[number], size), torch.tensor(plan.neurons[number], dtype=torch.long)
        for layer in (block.query, block.key, block.value):
            keep_outputs(layer, channels)
        keep_inputs(block.output, channels)
        keep_outputs(block.ffn_in, neurons)
        keep_inputs(block.ffn_out, neurons)
    if plan.dimensions is not None:
        _cut_stream(smaller, torch.tensor(plan.dimensions), features)
    if is_uniform(plan.shapes, hidden, size):
        heads, ffn = plan.shapes[0].heads, plan.shapes[0].ffn
        vocabulary = encoder.word_embeddings_of(model).num_embeddings
        return rebuilding.rebuild(smaller, EncoderShape(len(plan.layers), hidden, heads, ffn, vocabulary))
    return rebuilding.rebuild_blocks(smaller, hidden, plan.shapes)


@contextmanager
def masked(model: Any, plan: PrunePlan) -> Iterator[Any]:
    """Inside, ``model`` itself computes what ``prune(model, plan)`` would, with zeros where something is cut.

    Blocks that the plan drops are not there inside. Gradients flow.

    Raises:
        ConfigError: ``plan`` does not fit ``model``.
    """
    check(model, plan)
    features, size, blocks = kept_features(model, plan), encoder.head_size_of(model), encoder.blocks_of(model)
    with ExitStack() as stack:
        stack.enter_context(encoder.only_layers(model, plan.layers))
        for number in plan.layers:
            block = blocks[number]
            _zero(stack, block.output, _channels(plan.heads[number], size), inputs=True)
            _zero(stack, block.ffn_out, torch.tensor(plan.neurons[number], dtype=torch.long), inputs=True)
        if plan.dimensions is not None:
            stream, kept = stream_of(model), torch.tensor(plan.dimensions)
            for norm in stream.norms:
                _normalise_only(stack, norm, kept)
            widening = encoder.ends_of(model).widening
            if widening is not None:  # nothing normalises what it writes before the first block reads it
                _zero(stack, widening, kept)
            if stream.features is not None:  # its activations all give 0 for 0
                _zero(stack, stream.features, torch.tensor(features))
        yield model


def is_uniform(shapes: Sequence[BlockShape], hidden: int, head_size: int) -> bool:
    """Whether plain transformers can load an encoder of such blocks.

    It wants as many heads and neurons in every block, some of both, and heads that together are as wide as the stream.
    """
    first = shapes[0]
    return set(shapes) == {first} and first.ffn > 0 and 0 < first.heads * head_size == hidden


@torch.no_grad()
def kept_features(model: Any, plan: PrunePlan) -> tuple[int, ...]:
    """Which outputs of the layer between encoder and classifier stay, rising; all of them where no dimension goes.

    ``plan.features`` where it says so. Otherwise those with the largest ``|w_in_k| |w_out_k|``: the norm of the weights
    with which output k reads the dimensions that stay, times that of the weights with which the classifier reads it (1
    in a bare encoder). Of equal ones the first. Empty where there is no such layer.
    """
    stream = stream_of(model)
    if stream.features is None:
        return ()
    if plan.dimensions is None:
        return tuple(range(stream.features.out_features))
    if plan.features is not None:
        return plan.features
    scores = stream.features.weight[:, torch.tensor(plan.dimensions)].double().norm(dim=1)
    if stream.last is not None:
        scores = scores * stream.last.weight.double().norm(dim=0)
    best = scores.sort(descending=True, stable=True).indices[: len(plan.dimensions)]
    return tuple(best.sort().values.tolist())


def check(model: Any, plan: PrunePlan) -> None:
    """Raise :class:`ConfigError` where ``plan`` names what ``model`` does not have, or leaves nothing of it."""
    shapes, hidden = encoder.block_shapes_of(model), encoder.shape_of(model).hidden
    if (len(plan.heads), len(plan.neurons)) != (len(shapes), len(shapes)):
        raise ConfigError(
            f"pruning plan: tells of {len(plan.heads)} and {len(plan.neurons)} blocks, and the model has {len(shapes)}"
        )
    for number, shape in enumerate(shapes):
        _check_indices(f"heads of block {number}", plan.heads[number], shape.heads)
        _check_indices(f"neurons of block {number}", plan.neurons[number], shape.ffn)
    if not plan.layers:
        raise ConfigError("pruning plan: leaves no block; keep a head or a neuron of at least one")
    if plan.dimensions is not None:
        _check_dimensions(model, plan, plan.dimensions, hidden)


def _check_dimensions(model: Any, plan: PrunePlan, dimensions: tuple[int, ...], hidden: int) -> None:
    _check_indices("dimensions", dimensions, hidden)
    if not dimensions:
        raise ConfigError("pruning plan: leaves no dimension of the residual stream; keep at least one")
    widening = encoder.ends_of(model).widening
    if widening is not None and widening.in_features == len(dimensions):
        raise ConfigError(
            f"pruning plan: leaves {len(dimensions)} dimensions, the width of this model's embeddings, and its "
            "architecture has no layer between the two then; keep one more or one less"
        )
    if plan.features is not None:
        _check_indices("features", plan.features, hidden)
        if len(plan.features) != len(dimensions):
            raise ConfigError(
                f"pruning plan: keeps {len(plan.features)} features and {len(dimensions)} dimensions; as many of both"
            )


def _check_indices(what: str, indices: Sequence[int], count: int) -> None:
    rising = all(left < right for left, right in itertools.pairwise(indices))
    if not rising or any(not 0 <= index < count for index in indices):
        few = ", ".join(map(str, indices[:8])) + (" ..." if len(indices) > 8 else "")
        raise ConfigError(f"pruning plan: {what} must be rising numbers from 0 to {count - 1}, and are {few}")


def _channels(heads: Sequence[int], size: int) -> Tensor:
    """The channels of ``heads``, of ``size`` each, which lie one after the other."""
    return (torch.tensor(heads, dtype=torch.long)[:, None] * size + torch.arange(size)).flatten()


def _cut_stream(model: Any, kept: Tensor, features: Sequence[int]) -> None:
    """Keep the dimensions ``kept`` of the residual stream, and the outputs ``features`` of what reads it at the end."""
    stream = stream_of(model)
    for table in stream.tables:
        table.weight = nn.Parameter(table.weight[:, kept].clone())
        table.embedding_dim = len(kept)
    for norm in stream.norms:
        norm.weight, norm.bias = (nn.Parameter(values[kept].clone()) for values in (norm.weight, norm.bias))
        norm.normalized_shape = (len(kept),)
    for reader in stream.readers:
        keep_inputs(reader, kept)
    for writer in stream.writers:
        keep_outputs(writer, kept)
    if stream.features is not None:
        keep_outputs(stream.features, torch.tensor(features))
        if stream.last is not None:
            keep_inputs(stream.last, torch.tensor(features))


def _zero(stack: ExitStack, layer: nn.Linear, kept: Tensor, inputs: bool = False) -> None:
    """Make ``layer`` read zeros, or give them, everywhere but at ``kept``, until ``stack`` ends."""
    mask = layer.weight.new_zeros(layer.in_features if inputs else layer.out_features)
    mask[kept.to(mask.device)] = 1
    if inputs:
        hook = layer.register_forward_pre_hook(lambda _, given: (given[0] * mask, *given[1:]))
    else:
        hook = layer.register_forward_hook(lambda _, given, output: output * mask)
    stack.callback(hook.remove)


def _normalise_only(stack: ExitStack, norm: nn.LayerNorm, kept: Tensor) -> None:
    """Make ``norm`` compute over the dimensions ``kept`` and give zeros at the others, until ``stack`` ends."""
    kept = kept.to(norm.weight.device)

    def over_kept(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        normed = F.layer_norm(given[0][..., kept], kept.shape, norm.weight[kept], norm.bias[kept], norm.eps)
        return normed.new_zeros(output.shape).index_copy(-1, kept, normed)

    stack.callback(norm.register_forward_hook(over_kept).remove)
