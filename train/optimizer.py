"""A learning rate that falls from the head down to the embeddings.

The layers near the words hold what is true of the language, those near the head what is true of the task, and less of
the former should change. References: Howard & Ruder 2018, section 3.2 ("discriminative fine-tuning"); Clark et al.
2020 (ELECTRA), appendix B.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from lilliput import encoder


def parameter_groups(
    model: Any, rate: float, layer_decay: float, weight_decay: float, decayed: Collection[str]
) -> list[dict[str, Any]]:
    """The trainable parameters in groups of one depth, the head's first.

    Equation:
        rate of depth d = rate * layer_decay^(L + 1 - d)

    Depth is L + 1 for the head, L for the top block, 1 for the lowest and 0 for the embeddings: the head learns at
    ``rate``, the top block at ``layer_decay`` times that. (ELECTRA's own code gives the top block its square.)

    Args:
        decayed: names of the parameters that weight decay is for.
    """
    depths = encoder.depths_of(model)
    last = max(depths.values())
    groups: dict[tuple[int, bool], list[Any]] = defaultdict(list)
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            groups[last - depths[name], name not in decayed].append(weight)
    return [
        {"params": groups[key], "lr": rate * layer_decay ** key[0], "weight_decay": 0.0 if key[1] else weight_decay}
        for key in sorted(groups)
    ]
