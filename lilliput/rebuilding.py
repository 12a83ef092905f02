"""A fresh model around weights that were cut."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from lilliput import encoder
from lilliput.errors import ModelError
from lilliput.types import BlockShape, EncoderShape


def rebuild(model: Any, shape: EncoderShape) -> Any:
    """A fresh model of ``shape`` with the weights of ``model``, whose parts were cut to that shape before.

    The parts of ``model`` need not fit its configuration any more; those of the result do, as plain transformers needs
    them to load it again. A model of unequal blocks becomes one of the plain class.
    """
    from lilliput.architectures import pruned

    kind: Any = type(model)
    config = copy.deepcopy(model.config)
    if encoder.is_per_block(model):
        kind = pruned.plain_of(kind)
        config = pruned.with_class(config, kind.config_class)
    for key, value in zip(encoder.size_keys_of(model), (shape.hidden, shape.heads, shape.ffn), strict=True):
        setattr(config, key, value)
    return _filled(kind, config, model)


def rebuild_blocks(model: Any, hidden: int, shapes: Sequence[BlockShape]) -> Any:
    """As `rebuild`, for blocks of unequal shapes, whose heads have the size that they have in ``model``.

    Raises:
        ModelError: a head that there is no class for above such blocks.
    """
    from lilliput.architectures import pruned

    kind: Any = type(model) if encoder.is_per_block(model) else pruned.MODELS.get(type(model))
    if kind is None:
        raise ModelError(f"{type(model).__name__}: blocks of unequal shapes can't have such a head above them")
    hidden_key, _, _ = encoder.size_keys_of(model)
    config = pruned.with_class(
        model.config,
        kind.config_class,
        head_size=encoder.head_size_of(model),
        block_heads=[shape.heads for shape in shapes],
        block_ffn=[shape.ffn for shape in shapes],
        **{hidden_key: hidden},
    )
    return _filled(kind, config, model)


def _filled(kind: Any, config: Any, model: Any) -> Any:
    """A model of class ``kind`` with the weights of ``model``."""
    if hasattr(config, "embedding_size"):
        config.embedding_size = encoder.word_embeddings_of(model).embedding_dim
    with torch.random.fork_rng(devices=[]):  # the weights that it starts with are all replaced
        fresh = kind(config)
    # Of a half of a block that is all gone there is nothing to load.
    fresh.load_state_dict({name: weight for name, weight in model.state_dict().items() if weight.numel()})
    return fresh.to(model.device, model.dtype).train(model.training)
