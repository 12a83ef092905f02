"""How much the loss of a text changes, to first order, when a structure's mask goes from 1 to 0.

Equation:
    loss(S) = sum_{i in S} 1/texts sum_texts |g_i|, with g_i the gradient of the text's loss with respect to mask i;
    without labels |g_i| is its root mean square over the model's own answers.

Reference: Michel, Levy & Neubig 2019, Are sixteen heads really better than one?, equation 2; Molchanov et al. 2019,
Importance estimation for neural network pruning, who square g.
"""

from __future__ import annotations

from lilliput.compress.evidence import Evidence
from lilliput.compress.importance import Ranking, Rankings


def rank(evidence: Evidence) -> Rankings:
    """Rankings by the size of the masks' gradients."""
    masks = evidence.masks
    return Rankings(
        heads=tuple(Ranking.additive(found.size) for found in masks.heads),
        neurons=tuple(Ranking.additive(found.size) for found in masks.neurons),
        dimensions=Ranking.additive(masks.dimensions.size),
    )
