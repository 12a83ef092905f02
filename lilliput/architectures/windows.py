"""What Lilliput's own architectures have in common: windows of tokens, pooling, and a small head.

A text is read by windows of ``kernel`` tokens. The layer that reads tokens is linear, so a trained model has a form of
the same function in which a token's row of one table holds its products with all matrices of the window (see
`WindowClassifier.folded`): the first convolution then costs one look-up and a few additions.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput


class WindowConfig(PreTrainedConfig):
    """What the architectures share.

    Attributes:
        embedding_size: of the token table that is trained.
        width: features of a window.
        kernel: tokens of a window. An even one reaches further to the right.
        head_size: neurons between the pooled features and the labels.
        dropout: on the pooled features and on those neurons.
        max_position_embeddings: tokens that the model is meant to read. There are no embeddings of positions.
    """

    vocab_size: int = 30522
    embedding_size: int = 256
    width: int = 128
    kernel: int = 3
    head_size: int = 128
    dropout: float = 0.1
    max_position_embeddings: int = 512
    pad_token_id: int | None = 0
    initializer_range: float = 0.02


def convolve(products: Tensor, width: int) -> Tensor:
    """Add up what each place of a window contributes: out[:, t] = sum over j of products[:, t + j, j-th part].

    Args:
        products: ``[B, T + kernel - 1, kernel * width]``, the tokens' products with the matrices of all places.

    Returns:
        ``[B, T, width]``.
    """
    kernel = products.shape[-1] // width
    parts = products.split(width, dim=-1)  # before the shifts: they copy what they are given
    total = parts[0][:, : 1 - kernel or None]
    for place, part in enumerate(parts[1:], start=1):
        total = total + part[:, place : place + 1 - kernel or None]
    return total


class TokenWindows(nn.Module):
    """The first layer, from token ids.

    Equation:
        h_t = b + sum over j of M_j E[w_{t+j}], j from -(kernel - 1) // 2 to kernel // 2,

    where E is zero at padding and beyond the ends of the text.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.padding = int(config.pad_token_id or 0)
        self.kernel = config.kernel
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=self.padding)
        self.mixing: nn.Module = nn.Linear(config.embedding_size, config.kernel * config.width, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.width))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask ``[B, T]`` to features ``[B, T, width]``."""
        if self.padding == 0:
            ids = input_ids * attention_mask
        else:
            ids = torch.where(attention_mask > 0, input_ids, self.padding)
        ids = F.pad(ids, ((self.kernel - 1) // 2, self.kernel // 2), value=self.padding)
        return convolve(self.mixing(self.word_embeddings(ids)), self.bias.shape[0]) + self.bias

    @torch.no_grad()
    def folded(self) -> TokenWindows:
        """The same function without ``mixing``: its table holds M_j E for every j, ``[vocabulary, kernel * width]``."""
        other = copy.copy(self)
        other._modules = {
            "word_embeddings": nn.Embedding.from_pretrained(self.mixing(self.word_embeddings.weight)),
            "mixing": nn.Identity(),
        }
        return other


class WindowEncoder(nn.Module):
    """Windows, further blocks, and the pooled features of a text: the mean and the maximum of each."""

    def __init__(self, config: Any, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.windows = TokenWindows(config)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask ``[B, T]`` to ``[B, 2 * width]``."""
        features = F.relu(self.windows(input_ids, attention_mask))
        mask = attention_mask.unsqueeze(-1).to(features.dtype)  # [B, T, 1]
        features = features * mask
        for block in self.blocks:
            features = block(features, mask)
        # No feature is below zero, so zeros at padding leave the maximum as it is.
        mean = features.sum(dim=1) / mask.sum(dim=1)
        return torch.cat([mean, features.amax(dim=1)], dim=-1)


class WindowClassifier(PreTrainedModel):
    """A `WindowEncoder` with a head of two layers. Reads any number of tokens; padding does not count.

    Reference: Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014.
    """

    base_model_prefix = "encoder"
    config_class: Any = WindowConfig

    def __init__(self, config: Any, blocks: Iterable[nn.Module] = ()) -> None:
        super().__init__(config)
        self.encoder = WindowEncoder(config, blocks)
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(2 * config.width, config.head_size)
        self.classifier = nn.Linear(config.head_size, config.num_labels)
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **_: Any
    ) -> SequenceClassifierOutput:
        """Ids and mask ``[B, T]`` to logits ``[B, labels]``; with ``labels`` also the loss of the problem type."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        pooled = self.dropout(self.encoder(input_ids, mask))
        logits = self.classifier(self.dropout(F.relu(self.dense(pooled))))
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def folded(self) -> WindowClassifier:
        """A copy that computes the same with less work, in a form that is neither trained nor saved."""
        other = copy.copy(self)
        other._modules = dict(self._modules)
        encoder = copy.copy(self.encoder)
        encoder._modules = {**self.encoder._modules, "windows": self.encoder.windows.folded()}
        other._modules["encoder"] = encoder
        return other

    def get_input_embeddings(self) -> nn.Module:
        """The token table."""
        return self.encoder.windows.word_embeddings

    def set_input_embeddings(self, value: Any) -> None:
        """Another token table."""
        self.encoder.windows.word_embeddings = value

    def _init_weights(self, module: nn.Module) -> None:
        """Matrices that keep the size of what they are given: there is no normalisation to even it out."""
        if isinstance(module, nn.Linear):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(bias := getattr(module, "bias", None), nn.Parameter):
            init.zeros_(bias)
        else:
            super()._init_weights(module)
