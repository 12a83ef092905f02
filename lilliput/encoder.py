"""What Lilliput knows about the inside of encoders: the only file that names their attributes.

Supported are the architectures of ``SUPPORTED``. MiniLM, TinyBERT and mBERT are of type ``bert``; XLM-R is not listed
because it has not been tried.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from lilliput.errors import ConfigError, ModelError
from lilliput.types import EncoderShape


@dataclass(frozen=True)
class _Names:
    """Where an architecture keeps its parts: attribute paths below the base model, and keys of its config.

    ``word_head`` is the first module of a masked language model's head, an attribute of the whole model.
    """

    layers: str
    word_embeddings: str
    layer_count: str
    hidden: str
    heads: str
    ffn: str
    word_head: str


_BERT = _Names(
    layers="encoder.layer",
    word_embeddings="embeddings.word_embeddings",
    layer_count="num_hidden_layers",
    hidden="hidden_size",
    heads="num_attention_heads",
    ffn="intermediate_size",
    word_head="cls",
)
_DISTILBERT = _Names(
    layers="transformer.layer",
    word_embeddings="embeddings.word_embeddings",
    layer_count="n_layers",
    hidden="dim",
    heads="n_heads",
    ffn="hidden_dim",
    word_head="vocab_transform",
)
_NAMES = {
    "bert": _BERT,
    "roberta": replace(_BERT, word_head="lm_head"),
    "distilbert": _DISTILBERT,
    "electra": replace(_BERT, word_head="generator_predictions"),
}

SUPPORTED = tuple(_NAMES)


def check_supported(architecture: str, where: str) -> None:
    """Raise :class:`ModelError` unless ``architecture`` (a config's ``model_type``) is one that Lilliput knows."""
    if architecture not in _NAMES:
        raise ModelError(
            f"{where}: architecture {architecture!r} is not supported; supported are {', '.join(SUPPORTED)}"
        )


def _names(model: Any) -> _Names:
    check_supported(model.config.model_type, type(model).__name__)
    return _NAMES[model.config.model_type]


def _base(model: Any) -> Any:
    """The encoder below the task's head."""
    return getattr(model, model.base_model_prefix, model)


def _get(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module


def layers_of(model: nn.Module) -> nn.ModuleList:
    """The transformer blocks, first to last."""
    return _get(_base(model), _names(model).layers)


def word_embeddings_of(model: nn.Module) -> nn.Embedding:
    """The token table, ``[vocabulary, hidden]``."""
    return _get(_base(model), _names(model).word_embeddings)


@contextmanager
def only_at(model: Any, chosen: Tensor) -> Iterator[None]:
    """Inside, a masked language model computes logits at the chosen tokens only: ``[chosen tokens, vocabulary]``.

    The head works on each token by itself, and over a vocabulary it costs more than all layers of a small encoder.

    Args:
        chosen: bool ``[B, T]``, of the batch that the model reads.
    """
    head = getattr(model, _names(model).word_head)
    hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0][chosen], *inputs[1:]))
    try:
        yield
    finally:
        hook.remove()


def shape_of(model: Any) -> EncoderShape:
    """Read the shape off a model (uniform layers)."""
    names, config = _names(model), model.config
    return EncoderShape(
        layers=len(layers_of(model)),
        hidden=getattr(config, names.hidden),
        heads=getattr(config, names.heads),
        ffn=getattr(config, names.ffn),
        vocabulary=word_embeddings_of(model).num_embeddings,
    )


def depths_of(model: Any) -> dict[str, int]:
    """How deep each parameter lies, by its name: 0 for the embeddings, 1 to L for the blocks, L + 1 for what follows.

    A table that the head shares with the embeddings belongs to the embeddings, as ``named_parameters`` has it.
    """
    base, path = _base(model), _names(model).word_embeddings.rpartition(".")[0]
    # ELECTRA's narrow embeddings are widened by a layer of their own.
    first = [_get(base, path), getattr(base, "embeddings_project", None)]
    depth = {id(weight): 0 for module in first if module is not None for weight in module.parameters()}
    for number, block in enumerate(layers_of(model), start=1):
        depth |= dict.fromkeys(map(id, block.parameters()), number)
    last = len(layers_of(model)) + 1
    return {name: depth.get(id(weight), last) for name, weight in model.named_parameters()}


def _head_of(model: Any) -> nn.Linear:
    """The last layer of a classifier, ``[labels, hidden]``."""
    heads = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return next(module for module in reversed(heads) if module.out_features == model.config.num_labels)


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


def keep_layers(model: Any, indices: Sequence[int]) -> Any:
    """A copy of ``model`` that has only the given blocks, in the given order, and everything else.

    Raises:
        ConfigError: no index, or an index outside the model.
    """
    names = _names(model)
    count = len(layers_of(model))
    wrong = [i for i in indices if not 0 <= i < count]
    if wrong or not indices:
        given = ",".join(map(str, indices))
        raise ConfigError(f"--initial-layers {given}: the layers that it starts from are numbered 0 to {count - 1}")
    smaller = copy.deepcopy(model)
    blocks = layers_of(smaller)
    container_path, _, attribute = names.layers.rpartition(".")
    container = _get(_base(smaller), container_path)
    setattr(container, attribute, nn.ModuleList(copy.deepcopy(blocks[i]) for i in indices))
    setattr(smaller.config, names.layer_count, len(indices))
    return smaller


def input_names_of(model: Any, tokenizer: Any) -> tuple[str, ...]:
    """The inputs that both the tokenizer makes and the model reads, in the tokenizer's order."""
    type_vocabulary = getattr(model.config, "type_vocab_size", 0)
    reads = {"input_ids", "attention_mask"} | ({"token_type_ids"} if type_vocabulary > 1 else set())
    made = list(tokenizer.model_input_names)
    return tuple(name for name in ("input_ids", "attention_mask", "token_type_ids") if name in reads and name in made)


def longest_input(model: Any) -> int:
    """Positions that the model can read, in tokens (RoBERTa keeps two of its table for padding)."""
    config = model.config
    reserved = config.pad_token_id + 1 if config.model_type == "roberta" else 0
    return int(config.max_position_embeddings) - reserved
