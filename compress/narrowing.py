"""Cut an encoder to fewer dimensions, heads and neurons, keeping those that matter most by their weights.

Of neurons and heads that are cut off, the mean stays, in the biases (see `moments`). A narrow student is far from its
teacher all the same until it is trained: half of the dimensions are half of what every matrix reads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lilliput import encoder, rebuilding
from lilliput.compress.moments import Moments, estimate
from lilliput.compress.residual_stream import stream_of
from lilliput.types import EncoderShape, PrunePlan


@torch.no_grad()
def narrow(model: Any, shape: EncoderShape) -> Any:
    """A model of ``shape``, nowhere wider than ``model``, with its most important parts; ``model`` itself is used up.

    Layers and vocabulary stay as they are.
    """
    _cut(model, shape)
    return rebuilding.rebuild(model, shape)


@torch.no_grad()
def plan(model: Any, shape: EncoderShape) -> PrunePlan:
    """What `narrow` keeps, for a ``shape`` whose heads have the size that they have in ``model``; that is used up."""
    return _cut(model, shape)


def _cut(model: Any, shape: EncoderShape) -> PrunePlan:
    """Cut the matrices of ``model``; the plan says what stays, but for directions inside of heads."""
    old = encoder.shape_of(model)
    found = PrunePlan.whole(old)
    if shape.hidden < old.hidden:
        found = replace(found, dimensions=_narrow_stream(model, shape.hidden))
    size = shape.hidden // shape.heads
    if (shape.heads, size) != (old.heads, old.hidden // old.heads):
        moments = estimate(model)
        blocks = encoder.blocks_of(model)
        heads = [_narrow_heads(block, moments[block.query], old.heads, shape.heads, size) for block in blocks]
        found = replace(found, heads=tuple(heads))
    if shape.ffn < old.ffn:
        moments = estimate(model)
        neurons = [_narrow_neurons(block, moments[block.ffn_out], shape.ffn) for block in encoder.blocks_of(model)]
        found = replace(found, neurons=tuple(neurons))
    return found


def stream_importance(model: Any) -> Tensor:
    """How much each dimension of the residual stream matters to what reads it, ``[hidden]``.

    Equation:
        I_d = sum_W v_d |W_d|^2 / sum_e v_e |W_e|^2

    over all matrices W that read the stream; ``W_d`` is W's column for dimension d, and ``v_d`` the variance of the
    dimension there, which the gains of LayerNorm and the weights that write to the stream decide (`moments.estimate`).
    Each W has a weight of 1. The last states of a bare encoder count as one more, with ``W`` the identity.

    Reference: Sun et al. 2024, "A Simple and Effective Pruning Approach for Large Language Models", equation 1, has the
    product of weight and input, measured on texts.
    """
    moments = estimate(model)
    energies = [
        moments[layer].variance * layer.weight.detach().double().square().sum(0) for layer in _stream_readers(model)
    ]
    if encoder.ends_of(model).last is None:
        norm = encoder.blocks_of(model)[-1].ffn_norm
        energies.append(moments[norm].normed(norm).variance)
    return torch.stack([energy / energy.sum().clamp_min(torch.finfo(energy.dtype).tiny) for energy in energies]).sum(0)


def head_importance(queries: Tensor, keys: Tensor, values: Tensor, outputs: Tensor) -> Tensor:
    """How much each head of a block adds to the residual stream, ``[heads]``.

    Equation:
        I_h = |O_h^T V_h|^2 (1 + |Q_h^T K_h|^2 / size)

    The first factor is the variance of what a token's value writes. The second is 1 + the variance of the attention's
    logits: a softmax over T tokens gives each the weight (1 + z) / T to first order in its logit z, and the squares of
    the weights add up to (1 + var z) / T. A head that attends to all tokens alike counts by its value alone.

    Args:
        queries, keys, values: ``[heads, size, n]``, the weights times the standard deviation of what they read.
        outputs: ``[heads, size, hidden]``, the columns of the output matrix.
    """
    return _product_norm(outputs, values) * (1 + _product_norm(queries, keys) / queries.shape[1])


def factor(left: Tensor, right: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """``A`` and ``B``, both ``[heads, size, d]``, such that ``(A left)^T (B right)`` is nearest to ``left^T right``.

    By singular value decomposition, ``left^T right = U S V^T``: the nearest matrix of rank ``size`` keeps the largest
    singular values, and their roots go to both sides. Exact where the rank is not larger.

    Args:
        left: ``[heads, d, m]``.
        right: ``[heads, d, n]``.

    Reference: Eckart & Young 1936.
    """
    # Both are thin: with left^T = Q R, the product has the singular values of R_left R_right^T, at most d by d.
    thin_left, thin_right = (torch.linalg.qr(matrix.mT, mode="r").R for matrix in (left, right))
    u, s, vt = torch.linalg.svd(thin_left @ thin_right.mT, full_matrices=False)
    u, s, vt = u[..., :size], s[..., :size], vt[..., :size, :]
    there = s > s[..., :1] * 1e-12
    root = torch.where(there, s, 1).rsqrt() * there
    # S^-1/2 V^T R_right turns R_left^T into S^1/2 U^T, and likewise on the other side.
    return root[..., None] * (vt @ thin_right), root[..., None] * (u.mT @ thin_left)


def keep_outputs(layer: nn.Linear, kept: Tensor) -> None:
    """Give the outputs ``kept`` only."""
    _set(layer, layer.weight[kept], layer.bias[kept])


def keep_inputs(layer: nn.Linear, kept: Tensor, mean: Tensor | None = None) -> None:
    """Read the inputs ``kept`` only; for the others the bias takes their ``mean``."""
    bias: Tensor = layer.bias
    if mean is not None:
        weight = layer.weight.double()
        bias = bias + weight @ mean - weight[:, kept] @ mean[kept]
    _set(layer, layer.weight[:, kept], bias)


def keep_normed(norm: nn.LayerNorm, kept: Tensor, moments: Moments) -> None:
    """Normalise the dimensions ``kept`` only, with gain and bias such that they come out as before.

    With c and s as LayerNorm subtracts and divides by, ``g' = g s_kept / s`` and ``b' = b + g (c_kept - c) / s``.
    """
    centre, scale = moments.centre_and_scale()
    kept_centre, kept_scale = Moments(moments.mean[kept], moments.variance[kept]).centre_and_scale()
    gain = norm.weight[kept] / scale.clamp_min(norm.eps)
    _set(norm, gain * kept_scale, norm.bias[kept] + gain * (kept_centre - centre))


def _product_norm(left: Tensor, right: Tensor) -> Tensor:
    """``|left^T right|^2`` (Frobenius) of matrices ``[heads, d, n]``, without forming the product."""
    return ((left @ left.mT) * (right @ right.mT)).sum((-1, -2))


def _largest(scores: Tensor, count: int) -> Tensor:
    """The indices of the ``count`` largest, rising; of equal ones the first."""
    return scores.sort(descending=True, stable=True).indices[:count].sort().values


def _narrow_stream(model: Any, hidden: int) -> tuple[int, ...]:
    """Keep the most important dimensions of the residual stream, the same ones everywhere.

    The bias of what reads them does not take the mean of the others: measured on MiniLM, that made students worse.
    """
    moments, stream = estimate(model), stream_of(model)
    kept = _largest(stream_importance(model), hidden)
    for table in stream.tables:
        table.weight = nn.Parameter(table.weight[:, kept].clone())
        table.embedding_dim = hidden
    if stream.features is not None:
        _narrow_features(stream.features, stream.last, moments[stream.features], hidden)
    for layer in stream.readers:
        keep_inputs(layer, kept)
    for layer in stream.writers:
        keep_outputs(layer, kept)
    for norm in stream.norms:
        keep_normed(norm, kept, moments[norm])
    return tuple(kept.tolist())


def _stream_readers(model: Any) -> list[nn.Linear]:
    ends = encoder.ends_of(model)
    readers = [
        layer for block in encoder.blocks_of(model) for layer in (block.query, block.key, block.value, block.ffn_in)
    ]
    return readers + [layer for layer in (ends.features or ends.last,) if layer is not None]


def _narrow_features(layer: nn.Linear, last: nn.Linear | None, moments: Moments, count: int) -> None:
    """Keep the outputs of ``layer`` that matter most to ``last``, by ``sd(h_k) |w_out_k|``."""
    importance = moments.through(layer).deviation
    kept = _largest(importance if last is None else importance * last.weight.norm(dim=0), count)
    keep_outputs(layer, kept)
    if last is not None:
        keep_inputs(last, kept)


def _narrow_neurons(block: encoder.Block, moments: Moments, count: int) -> tuple[int, ...]:
    """Keep the feed-forward neurons whose outputs vary most in the residual stream, by ``sd(h_k) |w_out_k|``."""
    kept = _largest(moments.deviation * block.ffn_out.weight.double().norm(dim=0), count)
    keep_outputs(block.ffn_in, kept)
    keep_inputs(block.ffn_out, kept, moments.mean)
    return tuple(kept.tolist())


def _narrow_heads(block: encoder.Block, moments: Moments, heads: int, keep: int, size: int) -> tuple[int, ...]:
    """Keep the most important heads of a block, and of each the ``size`` directions that matter most.

    Attention does not change when all logits of a query move by the same, so that the bias of the keys says nothing;
    and its weights add up to 1, so that a constant in the values goes to the bias of the output.
    """

    def split(weights: Tensor) -> Tensor:
        return weights.double().unflatten(0, (heads, -1))  # [heads, old size, ...]

    query, key, value = (split(layer.weight) for layer in (block.query, block.key, block.value))
    query_bias, key_bias, value_bias = (split(layer.bias)[..., None] for layer in (block.query, block.key, block.value))
    output = split(block.output.weight.T)
    mean, deviation = moments.mean[:, None], moments.deviation

    def written() -> Tensor:
        return (output.mT @ (value_bias + value @ mean)).sum(0)[:, 0]  # [hidden], what the mean of the stream gives

    constant = block.output.bias.double() + written()
    # The stream is its mean, 1, and what varies: a query has a constant part that keys are compared with too.
    queries = torch.cat([query * deviation, query_bias + query @ mean], dim=-1)
    chosen = _largest(head_importance(queries, key * deviation, value * deviation, output), keep)
    query, key, value, output, queries = (part[chosen] for part in (query, key, value, output, queries))
    query_bias, key_bias, value_bias = (part[chosen] for part in (query_bias, key_bias, value_bias))
    old_size = query.shape[1]
    if size < old_size:
        left, right = factor(queries, key * deviation, size)
        # The model divides logits by the root of the new size: both sides take their share of the difference.
        left, right = left * (size / old_size) ** 0.25, right * (size / old_size) ** 0.25
        query, query_bias, key, key_bias = left @ query, left @ query_bias, right @ key, 0 * right @ key_bias
        left, right = factor(output, value * deviation, size)
        output, value, value_bias = left @ output, right @ value, 0 * right @ value_bias
    for layer, weight, bias in (
        (block.query, query, query_bias),
        (block.key, key, key_bias),
        (block.value, value, value_bias),
    ):
        _set(layer, weight.flatten(0, 1), bias.flatten())
    _set(block.output, output.flatten(0, 1).T, constant - written())
    return tuple(chosen.tolist())


def _set(layer: nn.Linear | nn.LayerNorm, weight: Tensor, bias: Tensor) -> None:
    """Replace the parameters of ``layer``, in the type that they had."""
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype).contiguous())
    # A word head has two names for its bias, and both see this.
    layer.bias.data = bias.to(layer.bias.dtype)
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    else:
        layer.normalized_shape = tuple(weight.shape)
