"""The Fisher information of the masks of a block, in which structures that do the same are seen together.

Equation:
    loss(S) = 1/2 sum_{i,j in S} F_ij, F = 1/texts sum_texts sum_rows g g^T, removed one by one, least loss first.

Two heads that compensate each other have F_ij < 0, two of which one must stay F_ij > 0. F spans the heads or the
neurons of one block, or the dimensions.

Reference: Kwon et al. 2022, A fast post-training pruning framework for transformers, equation 9 (mask rearrangement,
which starts from the diagonal's choice and exchanges; here the choice is greedy from the first).
"""

from __future__ import annotations

from lilliput.compress.evidence import Evidence
from lilliput.compress.importance import Rankings, greedy


def rank(evidence: Evidence) -> Rankings:
    """Rankings by greedy removal."""
    evidence.gather("masks", "neuron_fishers")  # both in one pass
    masks = evidence.masks
    return Rankings(
        heads=tuple(map(greedy, masks.head_fishers)),
        neurons=tuple(map(greedy, evidence.neuron_fishers)),
        dimensions=greedy(masks.dimension_fisher),
    )
