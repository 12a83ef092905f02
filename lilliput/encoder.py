"""What Lilliput knows about the inside of encoders: the only file that names their attributes.

Supported are the architectures of ``SUPPORTED``, and what pruning makes of them (``lilliput_bert`` and so on: blocks of
unequal shapes). MiniLM, TinyBERT and mBERT are of type ``bert``; XLM-R is not listed because it has not been tried.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from lilliput.errors import ConfigError, ModelError
from lilliput.types import BlockShape, EncoderShape


@dataclass(frozen=True)
class Block:
    """The parts of one transformer block.

    ``query``, ``key`` and ``value`` read the residual stream; ``output`` writes to it what the heads found, and
    ``attention_norm`` follows; ``ffn_in`` and ``ffn_out`` are the feed-forward layers, and ``ffn_norm`` follows.
    """

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    attention_norm: nn.LayerNorm
    ffn_in: nn.Linear
    ffn_out: nn.Linear
    ffn_norm: nn.LayerNorm


@dataclass(frozen=True)
class Ends:
    """The parts before and after the blocks.

    ``tables`` (of tokens, positions, and types where there are any) add up, and ``table_norm`` follows. An ELECTRA
    whose tables are narrower than the residual stream has ``widening`` there. What reads the stream after the last
    block is ``features``, whose outputs ``last`` reads; or ``last``, where a head works on each token; or nothing in a
    bare encoder without a pooler. A masked language model has ``feature_norm`` between the two, and its ``last`` is as
    wide as the tables.
    """

    tables: tuple[nn.Embedding, ...]
    table_norm: nn.LayerNorm
    widening: nn.Linear | None
    features: nn.Linear | None
    feature_norm: nn.LayerNorm | None
    last: nn.Linear | None


@dataclass(frozen=True)
class BlockSettings:
    """What a block computes with beside its weights; ``output_dropout`` is on what the heads found."""

    heads: int
    activation: str
    attention_dropout: float
    output_dropout: float
    dropout: float


@dataclass(frozen=True)
class _Names:
    """Where an architecture keeps its parts: attribute paths below the base model, and keys of its config.

    ``word_head`` is the first module of a masked language model's head, an attribute of the whole model. ``block``
    holds the paths below a block, in the order of the fields of :class:`Block`.
    """

    layers: str
    word_embeddings: str
    layer_count: str
    hidden: str
    heads: str
    ffn: str
    activation: str
    word_head: str
    block: tuple[str, ...]


_BERT = _Names(
    layers="encoder.layer",
    word_embeddings="embeddings.word_embeddings",
    layer_count="num_hidden_layers",
    hidden="hidden_size",
    heads="num_attention_heads",
    ffn="intermediate_size",
    activation="hidden_act",
    word_head="cls",
    block=(
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    ),
)
_DISTILBERT = _Names(
    layers="transformer.layer",
    word_embeddings="embeddings.word_embeddings",
    layer_count="n_layers",
    hidden="dim",
    heads="n_heads",
    ffn="hidden_dim",
    activation="activation",
    word_head="vocab_transform",
    block=(
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "sa_layer_norm",
        "ffn.lin1",
        "ffn.lin2",
        "output_layer_norm",
    ),
)
_NAMES = {
    "bert": _BERT,
    "roberta": replace(_BERT, word_head="lm_head"),
    "distilbert": _DISTILBERT,
    "electra": replace(_BERT, word_head="generator_predictions"),
}

SUPPORTED = tuple(_NAMES)

_PRUNED = "lilliput_"
_NAMES |= {_PRUNED + name: names for name, names in _NAMES.items()}

_OWN = {"lilliput_conv": "windows.word_embeddings", "lilliput_static": "windows.word_embeddings"}
"""Architectures of Lilliput's own, which have no transformer blocks, and where they keep the token table."""


def check_supported(architecture: str, where: str) -> None:
    """Raise :class:`ModelError` unless ``architecture`` (a config's ``model_type``) is one that Lilliput knows."""
    if architecture not in _NAMES and architecture not in _OWN:
        raise ModelError(
            f"{where}: architecture {architecture!r} is not supported; supported are {', '.join(SUPPORTED)}"
        )


def _family(model: Any) -> str:
    """The architecture that pruning began with."""
    return str(model.config.model_type).removeprefix(_PRUNED)


def _names(model: Any) -> _Names:
    check_supported(model.config.model_type, type(model).__name__)
    if not has_blocks(model):
        raise ModelError(f"{type(model).__name__}: it has no transformer blocks, and this works with those")
    return _NAMES[model.config.model_type]


def _base(model: Any) -> Any:
    """The encoder below the task's head."""
    return getattr(model, model.base_model_prefix, model)


def _tables_of(model: Any) -> Any:
    """The module that holds the tables of tokens and positions."""
    return _get(_base(model), _names(model).word_embeddings.rpartition(".")[0])


def _get(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module


def layers_of(model: nn.Module) -> nn.ModuleList:
    """The transformer blocks, first to last."""
    return _get(_base(model), _names(model).layers)


def blocks_of(model: nn.Module) -> list[Block]:
    """The parts of each transformer block, first to last."""
    paths = _names(model).block
    return [Block(*(_get(block, path) for path in paths)) for block in layers_of(model)]


def attention_projections_of(model: nn.Module) -> list[tuple[nn.Linear, nn.Linear, nn.Linear]]:
    """The layers that make queries, keys and values in each block, first to last.

    The outputs of each are ``[B, T, hidden]``, the heads one after the other.
    """
    return [(block.query, block.key, block.value) for block in blocks_of(model)]


def block_shapes_of(model: Any) -> tuple[BlockShape, ...]:
    """Heads and feed-forward neurons of each block, first to last."""
    names, config = _names(model), model.config
    if is_per_block(model):
        return tuple(BlockShape(*sizes) for sizes in zip(config.block_heads, config.block_ffn, strict=True))
    return (BlockShape(getattr(config, names.heads), getattr(config, names.ffn)),) * len(layers_of(model))


def is_per_block(model: Any) -> bool:
    """Whether each block of the model has a shape of its own (``lilliput_bert`` and so on)."""
    return has_blocks(model) and model.config.model_type.startswith(_PRUNED)


def size_keys_of(model: Any) -> tuple[str, str, str]:
    """How the configuration names the width of the residual stream, the heads and the feed-forward neurons."""
    names = _names(model)
    return names.hidden, names.heads, names.ffn


def head_size_of(model: Any) -> int:
    """Channels of an attention head."""
    names, config = _names(model), model.config
    if is_per_block(model):
        return int(config.head_size)
    return int(getattr(config, names.hidden)) // int(getattr(config, names.heads))


def has_blocks(model: Any) -> bool:
    """Whether the model is made of transformer blocks."""
    return model.config.model_type in _NAMES


def reads_first_token(model: Any) -> bool:
    """Whether the first token is all that is read of the last block, as by a classifier of texts."""
    return has_blocks(model) and type(model).__name__.endswith("ForSequenceClassification")


def settings_of(model: Any) -> BlockSettings:
    """What the last block of the model computes with."""
    config, heads = model.config, block_shapes_of(model)[-1].heads
    block: Any = layers_of(model)[-1]
    if _family(model) == "distilbert":  # it has no dropout between its heads and the residual connection
        return BlockSettings(heads, config.activation, block.attention.dropout.p, 0.0, block.ffn.dropout.p)
    attention, output = _get(block, "attention.self.dropout"), _get(block, "attention.output.dropout")
    return BlockSettings(heads, config.hidden_act, attention.p, output.p, block.output.dropout.p)


def set_dropout(model: nn.Module, rate: float) -> None:
    """Set every dropout of the model as it is in memory; its configuration, and so a copy loaded later, stay."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate


def embeddings_of(model: nn.Module) -> nn.Module:
    """The module whose output, ``[B, T, hidden]``, is what the first block reads.

    That is the embeddings; in an ELECTRA with narrow ones, the layer that widens them.
    """
    widening = getattr(_base(model), "embeddings_project", None)
    return _tables_of(model) if widening is None else widening


def ends_of(model: Any) -> Ends:
    """The parts before and after the blocks.

    Raises:
        ModelError: a head that Lilliput does not know, as of a model for several tasks at once.
    """
    embeddings, widening = _tables_of(model), getattr(_base(model), "embeddings_project", None)
    before = {id(inner) for module in (embeddings, widening) if module is not None for inner in module.modules()}
    known = before | set(map(id, layers_of(model).modules()))
    head = [module for module in model.modules() if id(module) not in known]
    linears = [module for module in head if isinstance(module, nn.Linear)]
    norms = [module for module in head if isinstance(module, nn.LayerNorm)]
    if len(linears) > 2 or len(norms) > 1:
        raise ModelError(f"{type(model).__name__}: a head of {len(linears)} layers is not one that Lilliput knows")
    bare = _base(model) is model
    return Ends(
        tables=tuple(module for module in embeddings.modules() if isinstance(module, nn.Embedding)),
        table_norm=next(module for module in embeddings.modules() if isinstance(module, nn.LayerNorm)),
        widening=widening,
        features=linears[0] if len(linears) == 2 or (bare and linears) else None,
        feature_norm=norms[0] if norms else None,
        last=linears[-1] if linears and not bare else None,
    )


def activation_of(model: Any) -> Callable[[Tensor], Tensor]:
    """The function between the two feed-forward layers of each block, element by element."""
    from transformers.activations import ACT2FN

    return ACT2FN[getattr(model.config, _names(model).activation)]


def word_embeddings_of(model: Any) -> nn.Embedding:
    """The token table, ``[vocabulary, hidden]``."""
    return _get(_base(model), _OWN.get(model.config.model_type) or _names(model).word_embeddings)


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
    """Read the shape off a model; of unequal blocks, the most heads and the most neurons that any of them has."""
    if not has_blocks(model):
        count, vocabulary = getattr(model.config, "layers", 1), word_embeddings_of(model).num_embeddings
        return EncoderShape(layers=count, hidden=model.config.width, heads=0, ffn=0, vocabulary=vocabulary)
    shapes = block_shapes_of(model)
    return EncoderShape(
        layers=len(shapes),
        hidden=getattr(model.config, _names(model).hidden),
        heads=max(shape.heads for shape in shapes),
        ffn=max(shape.ffn for shape in shapes),
        vocabulary=word_embeddings_of(model).num_embeddings,
    )


def depths_of(model: Any) -> dict[str, int]:
    """How deep each parameter lies, by its name: 0 for the embeddings, 1 to L for the blocks, L + 1 for what follows.

    A table that the head shares with the embeddings belongs to the embeddings, as ``named_parameters`` has it.
    """
    # ELECTRA's narrow embeddings are widened by a layer of their own.
    first = (_tables_of(model), embeddings_of(model))
    depth = {id(weight): 0 for module in first for weight in module.parameters()}
    for number, block in enumerate(layers_of(model), start=1):
        depth |= dict.fromkeys(map(id, block.parameters()), number)
    last = len(layers_of(model)) + 1
    return {name: depth.get(id(weight), last) for name, weight in model.named_parameters()}


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
    _set_layers(smaller, nn.ModuleList(copy.deepcopy(blocks[i]) for i in indices))
    setattr(smaller.config, names.layer_count, len(indices))
    if is_per_block(model):
        for name in ("block_heads", "block_ffn"):
            setattr(smaller.config, name, [getattr(model.config, name)[i] for i in indices])
    return smaller


@contextmanager
def only_layers(model: Any, indices: Sequence[int]) -> Iterator[None]:
    """Inside, the model itself has the given blocks only; its configuration stays."""
    blocks = layers_of(model)
    _set_layers(model, nn.ModuleList(blocks[i] for i in indices))
    try:
        yield
    finally:
        _set_layers(model, blocks)


def _set_layers(model: Any, blocks: nn.ModuleList) -> None:
    container, _, attribute = _names(model).layers.rpartition(".")
    setattr(_get(_base(model), container), attribute, blocks)


def input_names_of(model: Any, tokenizer: Any) -> tuple[str, ...]:
    """The inputs that both the tokenizer makes and the model reads, in the tokenizer's order."""
    type_vocabulary = getattr(model.config, "type_vocab_size", 0)
    reads = {"input_ids", "attention_mask"} | ({"token_type_ids"} if type_vocabulary > 1 else set())
    made = list(tokenizer.model_input_names)
    return tuple(name for name in ("input_ids", "attention_mask", "token_type_ids") if name in reads and name in made)


def longest_input(model: Any) -> int:
    """Positions that the model can read, in tokens (RoBERTa keeps two of its table for padding)."""
    config = model.config
    reserved = config.pad_token_id + 1 if _family(model) == "roberta" else 0
    return int(config.max_position_embeddings) - reserved
