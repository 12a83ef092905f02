"""What lies above an encoder: order, scale and first weights of its outputs, and taking another model's head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn


def scale_head(model: Any, factor: float, offset: float) -> None:
    """Make the head's outputs ``factor * output + offset``."""
    head = _head_of(model)
    head.weight.data *= factor
    head.bias.data = factor * head.bias.data + offset


def reorder_labels(model: Any, order: Sequence[int]) -> None:
    """Give the head's outputs another order: output i becomes what output ``order[i]`` was, with its name."""
    head = _head_of(model)
    head.weight.data = head.weight.data[list(order)]
    head.bias.data = head.bias.data[list(order)]
    names = [model.config.id2label[i] for i in order]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}


def oppose(model: Any, pairs: Iterable[tuple[int, int]]) -> None:
    """Make the weights of each pair of outputs differ by one direction, which all pairs share.

    Equation:
        w_i = (w_i + w_j) / 2 + d,    w_j = (w_i + w_j) / 2 - d,    |d| twice the length of a row on average

    A fresh head tells the outputs of each pair apart by a random direction of its own, so that what all pairs have in
    common is learned for each anew, from a signal that is close to none until it is found. Here it is learned once.

    Args:
        pairs: numbers of outputs.
    """
    pairs = list(pairs)
    if not pairs:
        return
    weight = _head_of(model).weight.data
    apart = torch.randn(weight.shape[1])
    apart *= 2 * weight.norm(dim=1).mean() / apart.norm()
    for one, other in pairs:
        middle = (weight[one] + weight[other]) / 2
        weight[one], weight[other] = middle + apart, middle - apart


def with_head_of(source: Any, model: Any) -> Any:
    """``model`` with all that lies above the encoder of ``source``, pooler included, where the shapes are the same."""
    base = f"{model.base_model_prefix}."
    own = model.state_dict()
    above = {
        name: weight
        for name, weight in source.state_dict().items()
        if (not name.startswith(base) or name.startswith(f"{base}pooler."))
        and name in own
        and own[name].shape == weight.shape
    }
    model.load_state_dict(above, strict=False)
    return model


def _head_of(model: Any) -> nn.Linear:
    """The last layer of a classifier, ``[labels, hidden]``."""
    heads = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return next(module for module in reversed(heads) if module.out_features == model.config.num_labels)
