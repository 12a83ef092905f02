"""How much a change of a model's outputs matters: what is sent back through a model to learn what inside it matters.

The loss of a text is the mean, over what the model answers about it, of minus the log-likelihood. Without labels the
answers are the model's own, whose expected loss has no slope; so what tells one change from another is the curvature,
the Fisher information ``F = E[d d^T]`` of the outputs ``z``, with ``d = d loss / d z`` for an answer drawn from the
model. Of cross-entropy it is the Hessian in ``z`` whatever the targets are, and so that of a distance to a teacher too.
Here it is written as ``F = sum_r u_r u_r^T``: one backward pass with each ``u_r`` gives the rows whose outer products
add up to the Fisher information of anything inside the model.

kind      answer                                              u, with probes s
classes   softmax(z)                                          D Q s, D = diag(sqrt(p)), Q spanning what is orthogonal
                                                              to r = sqrt(p), as diag(p) - p p^T = D (1 - r r^T) D
labels    sigmoid(z_c) of each of C                           sqrt(p_c (1 - p_c) / C) s_c
score     a Gaussian of variance 1 around z                   s
tokens    softmax(z_t) of each of N real tokens               those of the classes, over sqrt(N)
span      softmax over places of the start, and of the end    those of the classes, over sqrt(2)
vector    a Gaussian of variance 1 around z / |z|             (s - (s e) e) / |z|, with e = z / |z|: half the squared
                                                              distance of two directions is one minus their cosine

With few columns the probes are the unit vectors, and the sum is exact. Else they are random signs, a few a text: its
expectation is exact (Hutchinson 1990), and the mean over texts comes near. The signs depend on the text's number alone.

References: Martens 2020, New insights and perspectives on the natural gradient method, sections 8 and 9; Kwon et al.
2022, A fast post-training pruning framework for transformers, section 4.1, with the labels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lilliput.compress.predictions import Kind, rows
from lilliput.tasks import IGNORED

MOST_EXACT = 8
"""Columns of a Fisher factor that are each worth a backward pass."""

PROJECTIONS = 4
"""Random probes of a text where there are more columns."""


def cotangents(kind: Kind, outputs: Tensor, batch: dict[str, Tensor], first: int) -> Tensor:
    """What to send back from the outputs: gradients whose outer products make a text's Fisher information.

    With labels in the batch (``labels`` or ``start_positions``) it is one a text, the gradient of its loss: the
    empirical Fisher information. A text whose label is unknown then has zeros.

    Args:
        outputs: of the kind, see `lilliput.compress.predictions`.
        batch: with ``attention_mask`` ``[B, T]``.
        first: number of the batch's first text, among all.

    Returns:
        float32 ``[R, *outputs.shape]``.
    """
    outputs = outputs.detach().float()
    if kind != "vector" and not batch.keys().isdisjoint(("labels", "start_positions")):
        leaf = outputs.requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(label_losses(kind, leaf, batch).sum(), leaf)[0][None]
    return _factor(kind, outputs.double(), batch["attention_mask"].bool(), first).float()


def label_losses(kind: Kind, outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """The loss of each text with its labels, ``[B]``: cross-entropy, its mean over what is known of several labels, of
    tokens or of start and end; of a score half the squared error. 0 where nothing is known."""
    if kind == "score":
        error = outputs.squeeze(-1) - batch["labels"].float()
        return torch.where(error.isnan(), 0, error).square() / 2
    if kind == "tokens":
        losses = F.cross_entropy(outputs.transpose(1, 2), batch["labels"], reduction="none", ignore_index=IGNORED)
        return losses.sum(1) / (batch["labels"] != IGNORED).sum(1).clamp_min(1)
    found = rows(kind, outputs, outputs, batch)
    assert found.labels is not None  # the batch has them
    losses = F.cross_entropy(found.student, found.labels, reduction="none", ignore_index=IGNORED)
    if kind == "span":
        return losses.unflatten(0, (2, -1)).mean(0)
    losses, known = (values.unflatten(0, (len(outputs), -1)) for values in (losses, found.labels != IGNORED))
    return losses.sum(1) / known.sum(1).clamp_min(1)


def _factor(kind: Kind, outputs: Tensor, real: Tensor, first: int) -> Tensor:
    """``u`` of the table at the top, ``[R, *outputs.shape]``; ``real`` is bool ``[B, T]``."""
    texts, width = len(outputs), outputs.shape[-1]
    if kind == "span":
        signs = _signs(real, width, first).to(outputs).transpose(-1, -2)  # [R, B, 2, T]
        signs[..., 0] = 0
        chances = outputs.transpose(1, 2).masked_fill(~real[:, None], float("-inf")).softmax(-1)  # [B, 2, T]
        return (_categorical(chances, signs) / width**0.5).transpose(-1, -2)
    if kind == "tokens":
        signs = F.pad(_signs(real, width - 1, first).to(outputs), (1, 0))  # [R, B, T, C]
        return _categorical(outputs.softmax(-1), signs) / real.sum(1)[:, None, None].sqrt()
    if kind == "classes":
        signs = F.pad(_probes(texts, width - 1, first).to(outputs), (1, 0))  # [R, B, C]
        return _categorical(outputs.softmax(-1), signs)
    signs = _probes(texts, width, first).to(outputs)  # [R, B, C]
    if kind == "labels":
        chances = outputs.sigmoid()
        return (chances * (-outputs).sigmoid() / width).sqrt() * signs
    if kind == "vector":
        length = outputs.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(outputs.dtype).tiny)
        direction = outputs / length
        return (signs - (signs * direction).sum(-1, keepdim=True) * direction) / length
    return signs


def _categorical(chances: Tensor, signs: Tensor) -> Tensor:
    """``D Q s`` of one choice out of C, with ``s_0 = 0``.

    Q is all but the first column of the Householder reflection that takes the first unit vector to ``-sqrt(p)``:
    ``1 - v v^T / (1 + sqrt(p_0))`` with ``v = sqrt(p) + e_0``, which never cancels.

    Args:
        chances: p, ``[..., C]``.
        signs: s, ``[R, ..., C]``.
    """
    root = chances.sqrt()
    reflector = root.clone()
    reflector[..., 0] += 1
    return root * (signs - reflector * (root * signs).sum(-1, keepdim=True) / (1 + root[..., :1]))


def _probes(texts: int, width: int, first: int) -> Tensor:
    """Vectors s, ``[R, B, width]``, with ``E[sum_r s_r s_r^T] = 1``: unit vectors where they are few, else signs."""
    if width <= MOST_EXACT:
        return torch.eye(width)[:, None].expand(width, texts, width)
    return _signs(torch.ones(texts, 1, dtype=torch.bool), width, first).squeeze(2)


def _signs(real: Tensor, width: int, first: int) -> Tensor:
    """Random signs over the square root of R, ``[R, B, N, width]``; 0 where ``real``, bool ``[B, N]``, is False."""
    found = torch.zeros(PROJECTIONS, *real.shape, width)
    for number, places in enumerate(real.cpu()):
        generator = torch.Generator().manual_seed(first + number)
        drawn = torch.randint(2, (PROJECTIONS, int(places.sum()), width), generator=generator)
        found[:, number, places] = (2 * drawn - 1) / PROJECTIONS**0.5
    return found
