"""The diagonal of the Fisher information of the masks.

Equation:
    loss(S) = 1/2 sum_{i in S} F_ii, F = 1/texts sum_texts sum_rows g g^T

Reference: Theis et al. 2018, Faster gaze prediction with dense networks and Fisher pruning, equation 7; Kwon et al.
2022, A fast post-training pruning framework for transformers, section 4.1.
"""

from __future__ import annotations

from lilliput.compress.evidence import Evidence
from lilliput.compress.importance import Ranking, Rankings


def rank(evidence: Evidence) -> Rankings:
    """Rankings by the diagonal of the Fisher information."""
    masks = evidence.masks
    return Rankings(
        heads=tuple(Ranking.additive(found.square / 2) for found in masks.heads),
        neurons=tuple(Ranking.additive(found.square / 2) for found in masks.neurons),
        dimensions=Ranking.additive(masks.dimensions.square / 2),
    )
