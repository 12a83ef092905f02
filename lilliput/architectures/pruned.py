"""Encoders whose blocks differ in attention heads and feed-forward neurons, as pruning leaves them.

Each is the plain encoder of transformers with narrower layers in its blocks: block l has ``block_heads[l]`` heads of
``head_size`` channels and ``block_ffn[l]`` neurons. Either may be 0; that half of the block then only adds its bias.
The classifier of a text may read the mean over its tokens in place of the first one.

This file imports nothing of Lilliput, so that a copy of it beside a checkpoint is all that transformers needs to load
it (see ``lilliput.compress.modeling_file``).
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers import BertConfig, DistilBertConfig, ElectraConfig, PreTrainedConfig, PreTrainedModel, RobertaConfig
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.bert.modeling_bert import BertSelfAttention
from transformers.models.distilbert.modeling_distilbert import DistilBertSelfAttention
from transformers.models.electra.modeling_electra import ElectraSelfAttention
from transformers.models.roberta.modeling_roberta import RobertaSelfAttention

POOLINGS = ("first", "mean")


class PrunedConfig(PreTrainedConfig):
    """What the configuration of a pruned encoder adds to the plain one.

    ``num_attention_heads`` is 1, as the plain classes refuse a number that does not divide the hidden size, and the
    feed-forward size is that of the largest block; neither says anything of a single block.

    Attributes:
        block_heads: attention heads of each block.
        block_ffn: feed-forward neurons of each block.
        head_size: channels of a head.
        pooling: what the classifier of a text reads: ``"first"``, its first token, or ``"mean"``, that over its tokens.

    Raises:
        ValueError: lists of another length than there are blocks, numbers that can't be sizes, or another pooling.
    """

    ffn_name: ClassVar[str] = "intermediate_size"

    block_heads: list[int] | None = None
    block_ffn: list[int] | None = None
    head_size: int | None = None
    pooling: str = "first"

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
        if own.pooling not in POOLINGS:
            raise ValueError(f"pooling: must be one of {', '.join(POOLINGS)}, and is {own.pooling!r}")
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


def _pooled(plain: type[PreTrainedModel]) -> Any:
    """The forward pass of a classifier of texts that reads what the configuration's ``pooling`` says."""
    names = list(inspect.signature(plain.forward).parameters)[1:]

    @functools.wraps(plain.forward)  # trainers look at the signature for the columns that a model reads
    def forward(self: Any, *args: Any, **inputs: Any) -> Any:
        """As the plain class's; with ``pooling="mean"`` the head is given sum_t m_t h_t / sum_t m_t, where it is given
        h_1 otherwise. h are the last hidden states, ``[B, T, H]``, and m is the mask."""
        if self.config.pooling == "first":
            return plain.forward(self, *args, **inputs)
        inputs |= dict(zip(names, args, strict=False))
        labels, wanted = inputs.pop("labels", None), inputs.pop("return_dict", None)
        found = self.base_model(**inputs, return_dict=True)
        states, mask = found.last_hidden_state, inputs.get("attention_mask")
        if mask is None:
            mask = torch.ones_like(states[..., 0])
        elif mask.dim() == 4:  # what is added to the scores, [B, 1, 1 or T, T]: 0, or far below it
            mask = mask[:, 0, 0] >= 0
        mask = mask.to(states.dtype)  # [B, T]
        logits = _head(self, (states * mask[..., None]).sum(1, keepdim=True) / mask.sum(1)[:, None, None])
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        output = SequenceClassifierOutput(loss, logits, found.hidden_states, found.attentions)
        return output if wanted or (wanted is None and self.config.return_dict) else output.to_tuple()

    return forward


def _head(model: Any, states: Tensor) -> Tensor:
    """What a classifier's head makes of ``states``, ``[B, 1, H]``, at the place of the first token's."""
    if hasattr(model, "pre_classifier"):  # DistilBERT's
        return model.classifier(model.dropout(F.relu(model.pre_classifier(states[:, 0]))))
    pooler = getattr(model.base_model, "pooler", None)
    return model.classifier(states if pooler is None else model.dropout(pooler(states)))


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
    about = f"`{plain.__name__}` with pruned blocks."
    contents: dict[str, Any] = {"config_class": config, "__module__": __name__, "__doc__": about}
    if plain.__name__.endswith("ForSequenceClassification"):
        contents["forward"] = _pooled(plain)
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
