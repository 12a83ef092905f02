"""Encoders whose blocks differ in attention heads and feed-forward neurons, as pruning leaves them.

Each is the plain encoder of transformers with narrower layers in its blocks: block l has ``block_heads[l]`` heads of
``head_size`` channels and ``block_ffn[l]`` neurons. Either may be 0; that half of the block then only adds its bias.

This file imports nothing of Lilliput, so that a copy of it beside a checkpoint is all that transformers needs to load
it (see ``lilliput.compress.modeling_file``).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor, nn
from transformers import BertConfig, DistilBertConfig, ElectraConfig, PreTrainedConfig, PreTrainedModel, RobertaConfig
from transformers.models.bert.modeling_bert import BertSelfAttention
from transformers.models.distilbert.modeling_distilbert import DistilBertSelfAttention
from transformers.models.electra.modeling_electra import ElectraSelfAttention
from transformers.models.roberta.modeling_roberta import RobertaSelfAttention


class PrunedConfig(PreTrainedConfig):
    """What the configuration of a pruned encoder adds to the plain one.

    ``num_attention_heads`` is 1, as the plain classes refuse a number that does not divide the hidden size, and the
    feed-forward size is that of the largest block; neither says anything of a single block.

    Attributes:
        block_heads: attention heads of each block.
        block_ffn: feed-forward neurons of each block.
        head_size: channels of a head.

    Raises:
        ValueError: lists of another length than there are blocks, or numbers that can't be sizes.
    """

    ffn_name: ClassVar[str] = "intermediate_size"

    block_heads: list[int] | None = None
    block_ffn: list[int] | None = None
    head_size: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        own: Any = self
        count = own.num_hidden_layers
        if own.head_size is None:
            own.head_size = own.hidden_size // own.num_attention_heads
        if own.block_heads is None:
            own.block_heads = [own.num_attention_heads] * count
        if own.block_ffn is None:
            own.block_ffn = [getattr(own, own.ffn_name)] * count
        for name, sizes in (("block_heads", own.block_heads), ("block_ffn", own.block_ffn)):
            if not isinstance(sizes, list | tuple) or len(sizes) != count or not all(map(_is_size, sizes)):
                raise ValueError(f"{name}: must be {count} whole numbers, one for each block, and is {sizes!r}")
        if not _is_size(own.head_size) or not own.head_size:
            raise ValueError(f"head_size: must be a whole number of at least 1, and is {own.head_size!r}")
        own.num_attention_heads = 1
        setattr(own, own.ffn_name, max(1, *own.block_ffn))


class LilliputBertConfig(PrunedConfig, BertConfig):
    """A pruned BERT."""

    model_type = "lilliput_bert"


class LilliputRobertaConfig(PrunedConfig, RobertaConfig):
    """A pruned RoBERTa."""

    model_type = "lilliput_roberta"


class LilliputDistilBertConfig(PrunedConfig, DistilBertConfig):
    """A pruned DistilBERT."""

    model_type = "lilliput_distilbert"
    ffn_name: ClassVar[str] = "hidden_dim"


class LilliputElectraConfig(PrunedConfig, ElectraConfig):
    """A pruned ELECTRA."""

    model_type = "lilliput_electra"


class Unweighted(nn.Linear):
    """A layer that reads nothing or gives nothing: all that it can compute is its bias.

    Its weight, ``[out, in]`` with a 0 in it, is no parameter: files, optimizers and counts do not see it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The bias for each row of ``input``, ``[..., in]``: ``[..., out]``."""
        return self.bias.expand(*input.shape[:-1], self.out_features)


class HeadlessBertAttention(BertSelfAttention):
    """Attention without heads."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:  # type: ignore[override]
        """``[B, T, hidden]`` to what no head finds, ``[B, T, 0]``; there are no attention weights."""
        # All three are called: hooks may watch them.
        found, _, _ = (layer(hidden_states) for layer in (self.query, self.key, self.value))
        return found, None


class HeadlessRobertaAttention(RobertaSelfAttention):
    """Attention without heads."""

    forward: Any = HeadlessBertAttention.forward


class HeadlessElectraAttention(ElectraSelfAttention):
    """Attention without heads."""

    forward: Any = HeadlessBertAttention.forward


class HeadlessDistilBertAttention(DistilBertSelfAttention):
    """Attention without heads; its output layer is part of it."""

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:  # type: ignore[override]
        """``[B, T, hidden]`` to what no head finds, the output's bias; there are no attention weights."""
        found, _, _ = (layer(hidden_states) for layer in (self.q_lin, self.k_lin, self.v_lin))
        return self.out_lin(found), None


_HEADLESS: dict[type[nn.Module], type[nn.Module]] = {
    BertSelfAttention: HeadlessBertAttention,
    RobertaSelfAttention: HeadlessRobertaAttention,
    ElectraSelfAttention: HeadlessElectraAttention,
    DistilBertSelfAttention: HeadlessDistilBertAttention,
}


class PrunedBlocks:
    """Makes the blocks of a plain model those of its configuration, as the last step of its construction."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]
        model: Any = self
        blocks = next(module for module in model.modules() if isinstance(module, nn.ModuleList))
        for block, heads, ffn in zip(blocks, config.block_heads, config.block_ffn, strict=True):
            for layer in _shape(block, heads, config.head_size, ffn):
                model._init_weights(layer)


def _shape(block: nn.Module, heads: int, size: int, ffn: int) -> list[nn.Linear]:
    """Give ``block`` so many heads and neurons; returns its linear layers.

    All four architectures have six of them, in this order.
    """
    layers = [module for module in block.modules() if isinstance(module, nn.Linear)]
    query, key, value, output, ffn_in, ffn_out = layers
    for layer in (query, key, value):
        _resize(layer, layer.in_features, heads * size)
    _resize(output, heads * size, output.out_features)
    _resize(ffn_in, ffn_in.in_features, ffn)
    _resize(ffn_out, ffn, ffn_out.out_features)
    attention: Any = next(module for module in block.modules() if type(module) in _HEADLESS)
    attention.attention_head_size, attention.scaling = size, size**-0.5
    for name, number in (("num_attention_heads", heads), ("n_heads", heads), ("all_head_size", heads * size)):
        if hasattr(attention, name):
            setattr(attention, name, number)
    if not heads:
        attention.__class__ = _HEADLESS[type(attention)]  # it has all that it needs
    return layers


def _resize(layer: nn.Linear, inputs: int, outputs: int) -> None:
    """Give ``layer`` fresh weights for so many inputs and outputs."""
    like: Any = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    values = {"weight": torch.zeros(outputs, inputs, **like), "bias": torch.zeros(outputs, **like)}
    layer.in_features, layer.out_features = inputs, outputs
    if not inputs or not outputs:
        layer.__class__ = Unweighted
    for name, value in values.items():
        delattr(layer, name)
        if value.numel():
            layer.register_parameter(name, nn.Parameter(value))
        else:
            layer.register_buffer(name, value, persistent=False)


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


CONFIGS: dict[type[PreTrainedConfig], type[PrunedConfig]] = {
    BertConfig: LilliputBertConfig,
    RobertaConfig: LilliputRobertaConfig,
    DistilBertConfig: LilliputDistilBertConfig,
    ElectraConfig: LilliputElectraConfig,
}
"""The pruned configuration of each plain one."""

HEADS = ("Model", "ForMaskedLM", "ForQuestionAnswering", "ForSequenceClassification", "ForTokenClassification")
"""What a model of each architecture can end with, as transformers names it."""


def _of(plain: type[PreTrainedModel], config: type[PrunedConfig]) -> type[PreTrainedModel]:
    contents = {"config_class": config, "__module__": __name__, "__doc__": f"`{plain.__name__}` with pruned blocks."}
    return type(f"Lilliput{plain.__name__}", (PrunedBlocks, plain), contents)


MODELS: dict[type[PreTrainedModel], type[PreTrainedModel]] = {
    plain: _of(plain, config)
    for plain_config, config in CONFIGS.items()
    for head in HEADS
    for plain in [getattr(transformers, plain_config.__name__.removesuffix("Config") + head)]
}
"""The pruned class of each plain one, ``LilliputBertForSequenceClassification`` of `BertForSequenceClassification`."""

globals().update({pruned.__name__: pruned for pruned in MODELS.values()})  # transformers looks for them by name


def auto_class_of(plain: type[PreTrainedModel]) -> str:
    """The class of transformers that finds a model's class by its configuration: ``AutoModelForMaskedLM`` and so on."""
    return "AutoModel" + next(head for head in HEADS if plain.__name__.endswith(head)).removeprefix("Model")


def plain_of(kind: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """The plain class of a pruned one."""
    return next(plain for plain, pruned in MODELS.items() if pruned is kind)


def with_class(config: PreTrainedConfig, kind: type[PreTrainedConfig], **changes: Any) -> PreTrainedConfig:
    """``config`` as one of class ``kind``: what plain and pruned ones share stays, and ``changes`` are made."""
    of_the_class = ("model_type", "transformers_version", "architectures", "auto_map")
    sizes = ("block_heads", "block_ffn", "head_size")
    values = {name: value for name, value in config.to_dict().items() if name not in (*of_the_class, *sizes)}
    made = kind.from_dict({**values, **changes})
    made._attn_implementation = config._attn_implementation
    return made
