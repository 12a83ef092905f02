"""What of a layer's output the rest of it can't make up for: the optimal brain surgeon on whole structures.

Of ``y = W x + b`` the columns S of W go, and W changes elsewhere so that y changes least where the loss feels it. With
the covariance G of x, ``P = (G + damping)^-1`` and the Fisher information of y (see `LayerMoments`),

    loss(S) = 1/2 tr(Fisher W_S (P_SS)^-1 W_S^T), and then W <- W - W_S (P_SS)^-1 P_S,

which is the least ``1/2 tr(Fisher dW (G + damping) dW^T)`` of any W without those columns, as the change of W does not
depend on the Fisher information. Structures go one by one, least loss first, each with what W and P are by then, so
the losses of the steps add up to that of the whole. The bias takes up the mean, hence the covariance.

Dimensions of the residual stream, which every layer reads and writes, go by the diagonal Fisher information.

References: Hassibi & Stork 1993, Second order derivatives for network pruning; Kurtic, Frantar & Alistarh 2023, ZipLM,
equations 2 to 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lilliput.compress.evidence import Evidence, LayerMoments
from lilliput.compress.importance import Ranking, Rankings

DAMPING = 0.01
"""Added to the diagonal of G, as a share of its mean: what few texts don't tell apart is not taken for the same."""

BLOCK = 32
"""Neurons that go between two updates of whole matrices; the choice is the same for any."""


def rank(evidence: Evidence) -> Rankings:
    """Rankings by what can't be reconstructed."""
    evidence.gather("masks", "layers")  # both in one pass
    heads, neurons = [], []
    for block, shape, attention, ffn in zip(
        evidence.blocks, evidence.shapes, evidence.attention, evidence.ffn, strict=True
    ):
        heads.append(rank_heads(*_factors(block.output.weight, attention), shape.heads))
        neurons.append(rank_neurons(*_factors(block.ffn_out.weight, ffn)))
    return Rankings(tuple(heads), tuple(neurons), Ranking.additive(evidence.masks.dimensions.square / 2))


def _factors(weight: Tensor, moments: LayerMoments) -> tuple[Tensor, Tensor]:
    """V with ``V^T V = W^T Fisher W``, ``[rank of Fisher, n]``, and P, ``[n, n]``, in float64."""
    felt, directions = torch.linalg.eigh(moments.output_fisher.double())
    kept = felt > felt[-1] * 1e-12
    factor = (directions[:, kept] * felt[kept].sqrt()).T  # [rank, H]
    gram = moments.covariance.double()
    gram = (gram + gram.T) / 2
    if len(gram):
        gram.diagonal().add_(DAMPING * gram.diagonal().mean() or 1.0)
    return factor @ weight.detach().double(), torch.cholesky_inverse(torch.linalg.cholesky(gram))


def rank_heads(v: Tensor, p: Tensor, heads: int) -> Ranking:
    """Remove groups of neighbouring columns, all of one size.

    Args:
        v: ``[r, heads x size]``, whose Gram matrix is ``W^T Fisher W``.
        p: ``[heads x size, heads x size]``.
    """
    alive = list(range(heads))
    size = len(p) // max(heads, 1)
    order, steps = [], []
    while alive:
        count = len(alive)
        own = p.view(count, size, count, size).diagonal(dim1=0, dim2=2).permute(2, 0, 1)  # P_SS: [count, size, size]
        columns = v.view(-1, count, size).permute(1, 2, 0)  # V_S^T: [count, size, r]
        losses = (columns * torch.linalg.solve(own, columns)).sum((1, 2)) / 2
        chosen = int(losses.argmin())
        gone = torch.zeros(count, dtype=torch.bool, device=p.device)
        gone[chosen] = True
        gone = gone.repeat_interleave(size)
        shares = torch.linalg.solve(p[gone][:, gone], p[gone][:, ~gone])  # (P_SS)^-1 P_S
        v, p = v[:, ~gone] - v[:, gone] @ shares, p[~gone][:, ~gone] - p[~gone][:, gone] @ shares
        order.append(alive.pop(chosen))
        steps.append(float(losses[chosen]))
    return Ranking.of(order, steps)


def rank_neurons(v: Tensor, p: Tensor) -> Ranking:
    """Remove single columns: `rank_heads` with groups of one, in order n^3 / 3 multiplications.

    Within `BLOCK` steps only what the next choice needs is kept up to date, as in a blocked Cholesky decomposition
    with pivots: the diagonal of P, and the squared lengths of V's columns.

    Args:
        v: ``[r, n]``.
        p: ``[n, n]``.
    """
    alive = torch.arange(len(p), device=p.device)
    order, steps = [], []
    while len(alive):
        chosen, losses, v, p = _remove_block(v, p, min(BLOCK, len(alive)))
        order += alive[chosen].tolist()
        steps += losses
        kept = torch.ones(len(alive), dtype=torch.bool, device=p.device)
        kept[chosen] = False
        alive, v, p = alive[kept], v[:, kept], p[kept][:, kept]
    return Ranking.of(order, steps)


def _remove_block(v: Tensor, p: Tensor, count: int) -> tuple[list[int], list[float], Tensor, Tensor]:
    """The next ``count`` columns and their losses, and V and P without them (their rows and columns still there)."""
    squares, diagonal = v.square().sum(0), p.diagonal().clone()
    removed = v.new_zeros(len(v), count)  # V's columns, as they were when they went
    shares = v.new_zeros(count, len(p))  # (P_ii)^-1 P_i
    roots = v.new_zeros(count, len(p))  # (P_ii)^-1/2 P_i, with roots^T roots what is subtracted from P
    chosen: list[int] = []
    losses = []
    for step in range(count):
        scores = squares / diagonal
        scores[chosen] = torch.inf
        i = int(scores.argmin())
        row = p[i] - roots[:step, i] @ roots[:step]
        column = v[:, i] - removed[:, :step] @ shares[:step, i]
        square = column @ column
        losses.append(float(square / row[i]) / 2)
        products = column @ v - (column @ removed[:, :step]) @ shares[:step]  # with each column of V
        removed[:, step], shares[step], roots[step] = column, row / row[i], row / row[i].sqrt()
        squares = (squares + shares[step] * (shares[step] * square - 2 * products)).clamp_min(0)
        diagonal = diagonal - roots[step].square()
        chosen.append(i)
    return chosen, losses, v - removed @ shares, p - roots.T @ roots
