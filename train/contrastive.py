"""Losses of sentence embeddings: vectors that are near where texts belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lilliput.train.features import PREFIXES


def embeddings_of(model: Any, batch: dict[str, Tensor]) -> list[Tensor]:
    """The vectors ``[B, hidden]``, each of length 1, of every text of the rows: the mean of its last hidden states.

    All texts go through the model together, so that a step is one pass.
    """
    groups = [prefix for prefix in PREFIXES if f"{prefix}input_ids" in batch]
    width = max(batch[f"{prefix}input_ids"].shape[1] for prefix in groups)
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch]
    inputs = {
        name: torch.cat([F.pad(part, (0, width - part.shape[1])) for part in (batch[p + name] for p in groups)])
        for name in names
    }  # [texts * B, width] each
    hidden = model(**inputs).last_hidden_state.float()
    mask = inputs["attention_mask"].unsqueeze(-1).float()
    vectors = F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    return list(vectors.chunk(len(groups)))


@dataclass(frozen=True)
class Contrastive:
    """Each text must be nearer to its partner than to all other partners and all hard negatives of the batch.

    Equation:
        L = -1/B sum_i log(exp(cos(a_i, p_i) / t) / sum_c exp(cos(a_i, c) / t)), c over all p_j and all negatives n_j.
        Left out of the sum is what is no negative: a text equal to a_i or p_i, and a p_j whose a_j equals a_i.

    References: Henderson et al. 2017, Efficient Natural Language Response Suggestion, section 4.4; van den Oord et al.
    2018, Representation Learning with Contrastive Predictive Coding (InfoNCE).
    """

    temperature: float = 0.05

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a batch of pairs or triples; ``texts``, ``[B, 2 or 3]``, has the same number for equal texts."""
        anchors, *others = embeddings_of(model, batch)
        cosines = anchors @ torch.cat(others).T / self.temperature  # [B, C]
        anchor_texts, *other_texts = batch["texts"].T
        candidates = torch.cat(other_texts)[None]  # [1, C]
        left_out = (candidates == anchor_texts[:, None]) | (candidates == other_texts[0][:, None])  # [B, C]
        rows = len(anchors)
        left_out[:, :rows] |= anchor_texts[None] == anchor_texts[:, None]
        left_out[:, :rows].fill_diagonal_(False)  # the partners themselves
        return F.cross_entropy(cosines.masked_fill(left_out, -torch.inf), torch.arange(rows, device=cosines.device))


@dataclass(frozen=True)
class CoSENT:
    """Pairs of a higher similarity must have a higher cosine.

    Equation:
        L = log(1 + sum over pairs i, j with s_i > s_j of exp(k (cos_j - cos_i)))

    Reference: Huang et al. 2024, CoSENT: Consistent Sentence Embedding via Similarity Ranking (whose lambda is our k).
    """

    scale: float = 20.0

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """Loss of a batch of pairs with similarities ``labels``, ``[B]``."""
        first, second = embeddings_of(model, batch)[:2]
        cosines = self.scale * (first * second).sum(-1)  # [B]
        above = batch["labels"][:, None] > batch["labels"][None, :]  # [i, j]
        differences = (cosines[None, :] - cosines[:, None])[above]
        return torch.logsumexp(torch.cat([differences.new_zeros(1), differences]), dim=0)
