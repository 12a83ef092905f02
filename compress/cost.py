"""What an encoder costs in closed form: multiplications, parameters, bytes. All add up over its blocks.

With hidden size H, head size d, h heads and f neurons, biases everywhere, and a text of T tokens, a block has

    parameters:        4 H h d + 3 h d  +  2 H f + f  +  6 H          (attention, feed-forward, biases and norms)
    multiplications:   4 T H h d + 2 T^2 h d  +  2 T H f

and where the head reads the first token only, the last block is computed for that one (`lilliput.first_token`):

    multiplications:   (2 + 2 T) H h d + 2 T h d  +  2 H f

Norms, activations, softmax and looking up rows are not counted as multiplications. A half that lost all its heads or
neurons keeps its bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from torch import nn

from lilliput import encoder
from lilliput.export.quantize import SMALL
from lilliput.types import BlockShape, Precision

_COLUMN = 4 + 1 + 4
"""Bytes of an int8 layer for each output: scale, zero point, and its bias in float32."""
_BLOCK_TEXT: dict[str, int] = {"fp32": 5_250, "int8": 10_900}
_REST_TEXT = 5_600
"""Bytes of a graph beside its weights, for each block and once: operators and their names. Measured on exports of the
four architectures: to 1% for a block, to 2,000 bytes once."""


class Cost(Protocol):
    """A cost that adds up over the blocks of an encoder of one hidden size. ``last`` blocks may cost less."""

    @property
    def unit(self) -> str:
        """What it counts: "MACs", "parameters", "bytes", "ms"."""
        ...

    def attention(self, heads: int, last: bool) -> float:
        """What ``heads`` attention heads of a block cost beside none."""
        ...

    def feed_forward(self, neurons: int, last: bool) -> float:
        """What ``neurons`` feed-forward neurons of a block cost beside none."""
        ...

    def block(self, last: bool) -> float:
        """What a block costs beside its heads and neurons: norms, biases, residual connections."""
        ...

    def rest(self) -> float:
        """What the model costs without any block: tables, head, and whatever else is counted."""
        ...

    def total(self, blocks: Sequence[BlockShape]) -> float:
        """What a model of these blocks costs."""
        final = len(blocks) - 1
        return self.rest() + sum(
            self.attention(shape.heads, number == final)
            + self.feed_forward(shape.ffn, number == final)
            + self.block(number == final)
            for number, shape in enumerate(blocks)
        )


@dataclass(frozen=True)
class Layer:
    """A linear layer outside the blocks; a size of None is the hidden size. ``tied``: its matrix is the token table."""

    inputs: int | None
    outputs: int | None
    bias: bool
    tied: bool = False

    def sizes(self, hidden: int) -> tuple[int, int]:
        """Inputs and outputs in a model of that hidden size."""
        return hidden if self.inputs is None else self.inputs, hidden if self.outputs is None else self.outputs


@dataclass(frozen=True)
class Facts:
    """What decides the cost of an encoder beside its blocks.

    Attributes:
        tables: rows of the tables of tokens, positions and types.
        width: columns of the tables where they are narrower than the residual stream; else None.
        widening: the layer that widens them then.
        head: the layers after the blocks.
        head_norm: whether a norm lies among them.
        first_token: whether they read the first token only.
    """

    hidden: int
    head_size: int
    tables: tuple[int, ...]
    width: int | None
    widening: Layer | None
    head: tuple[Layer, ...]
    head_norm: bool
    first_token: bool

    @classmethod
    def of(cls, model: Any) -> Facts:
        """Read them off a model.

        Raises:
            ModelError: it has no transformer blocks, or a head that Lilliput does not know.
        """
        ends = encoder.ends_of(model)
        hidden = encoder.shape_of(model).hidden
        table = encoder.word_embeddings_of(model).weight
        narrow = ends.widening is not None

        def layer(part: nn.Linear) -> Layer:
            reads_table = part.weight is table
            inputs = None if part.in_features == hidden and not (reads_table and narrow) else part.in_features
            square = part is ends.features and part.out_features == hidden
            return Layer(inputs, None if square else part.out_features, part.bias is not None, reads_table)

        return cls(
            hidden=hidden,
            head_size=encoder.head_size_of(model),
            tables=tuple(part.num_embeddings for part in ends.tables),
            width=table.shape[1] if narrow else None,
            widening=None if ends.widening is None else Layer(table.shape[1], None, ends.widening.bias is not None),
            head=tuple(layer(part) for part in (ends.features, ends.last) if part is not None),
            head_norm=ends.feature_norm is not None,
            first_token=encoder.reads_first_token(model),
        )

    def for_hidden(self, hidden: int) -> Facts:
        """The same of a model of another hidden size."""
        return replace(self, hidden=hidden)

    def for_vocabulary(self, tokens: int) -> Facts:
        """The same of a model whose table has that many tokens."""
        return replace(self, tables=(tokens, *self.tables[1:]))


@dataclass(frozen=True)
class MacCost(Cost):
    """Multiplications (each with its addition) for a text, the mean over texts of the given ``lengths`` in tokens.

    The last block is counted as it is computed; with ``first_token`` False for all tokens, as papers count it.
    """

    facts: Facts
    lengths: tuple[int, ...]
    first_token: bool = True

    @property
    def unit(self) -> str:
        """MACs."""
        return "MACs"

    def attention(self, heads: int, last: bool) -> float:
        """Projections, scores and weighted sums."""
        hidden, width = self.facts.hidden, heads * self.facts.head_size
        if self._short(last):
            return width * ((2 + 2 * self._tokens) * hidden + 2 * self._tokens)
        return width * (4 * self._tokens * hidden + 2 * self._squares)

    def feed_forward(self, neurons: int, last: bool) -> float:
        """Both layers."""
        return (1 if self._short(last) else self._tokens) * 2 * self.facts.hidden * neurons

    def block(self, last: bool) -> float:
        """None: norms are not counted."""
        return 0.0

    def rest(self) -> float:
        """The head, and the layer that widens narrow tables."""
        reads = 1 if self.facts.first_token else self._tokens
        total = sum(reads * np.prod(layer.sizes(self.facts.hidden)) for layer in self.facts.head)
        if self.facts.widening is not None:
            total += self._tokens * np.prod(self.facts.widening.sizes(self.facts.hidden))
        return float(total)

    def encoder(self, blocks: Sequence[BlockShape]) -> float:
        """The blocks alone."""
        return self.total(blocks) - self.rest()

    def _short(self, last: bool) -> bool:
        return last and self.first_token and self.facts.first_token

    @property
    def _tokens(self) -> float:
        return float(np.mean(self.lengths))

    @property
    def _squares(self) -> float:
        return float(np.mean(np.square(self.lengths, dtype=np.float64)))


@dataclass(frozen=True)
class ParameterCost(Cost):
    """Weights and biases, a shared table counted once."""

    facts: Facts

    @property
    def unit(self) -> str:
        """parameters."""
        return "parameters"

    def attention(self, heads: int, last: bool) -> float:
        """Queries, keys, values with biases, and the output layer without."""
        return heads * self.facts.head_size * (4 * self.facts.hidden + 3)

    def feed_forward(self, neurons: int, last: bool) -> float:
        """Both layers, the first one's bias."""
        return neurons * (2 * self.facts.hidden + 1)

    def block(self, last: bool) -> float:
        """Two norms, and the biases of the two layers that write to the residual stream."""
        return 6 * self.facts.hidden

    def rest(self) -> float:
        """Tables and their norm, what widens them, and the head."""
        facts = self.facts
        width = facts.hidden if facts.width is None else facts.width
        total = sum(facts.tables) * width + 2 * width
        layers = facts.head if facts.widening is None else (facts.widening, *facts.head)
        for layer in layers:
            inputs, outputs = layer.sizes(facts.hidden)
            total += (0 if layer.tied else inputs * outputs) + (outputs if layer.bias else 0)
        if facts.head_norm:
            total += 2 * (facts.head[0].sizes(facts.hidden)[1])
        return float(total)


@dataclass(frozen=True)
class ByteCost(Cost):
    """Bytes that an app ships: the graph of one precision, and ``files`` bytes of tokenizer and manifest.

    float32 has 4 bytes a parameter. int8 has 1 byte for an element of a matrix or table; for each output a scale, a
    zero point and the bias; for each input the factor that smoothing divides by; norms and small heads stay in float32.
    """

    facts: Facts
    precision: Precision
    files: int = 0

    @property
    def unit(self) -> str:
        """bytes."""
        return "bytes"

    def attention(self, heads: int, last: bool) -> float:
        """The matrices, and what goes with the heads' channels."""
        width = heads * self.facts.head_size
        if self.precision == "fp32":
            return 4 * ParameterCost(self.facts).attention(heads, last)
        return width * (4 * self.facts.hidden + 3 * _COLUMN + 4)

    def feed_forward(self, neurons: int, last: bool) -> float:
        """The matrices, and what goes with the neurons."""
        if self.precision == "fp32":
            return 4 * ParameterCost(self.facts).feed_forward(neurons, last)
        return neurons * (2 * self.facts.hidden + _COLUMN + 4)

    def block(self, last: bool) -> float:
        """Norms, biases, scales of what writes to the residual stream, and the text of the operators."""
        if self.precision == "fp32":
            return 4 * ParameterCost(self.facts).block(last) + _BLOCK_TEXT["fp32"]
        smoothed = 3 if last and self.facts.first_token else 2  # queries of one token are smoothed by themselves
        return self.facts.hidden * (4 * 4 + 2 * _COLUMN + 4 * smoothed) + _BLOCK_TEXT["int8"]

    def rest(self) -> float:
        """Tables, head, the text of their operators, and the files beside the graph."""
        facts = self.facts
        text = _REST_TEXT + self.files + 8 * max(facts.tables[1:2])  # the positions' numbers, int64
        if self.precision == "fp32":
            return 4 * ParameterCost(facts).rest() + text
        width = facts.hidden if facts.width is None else facts.width
        total = sum(facts.tables) * width + 4 * 2 * width
        for layer in facts.head if facts.widening is None else (facts.widening, *facts.head):
            inputs, outputs = layer.sizes(facts.hidden)
            if layer in facts.head and facts.first_token and inputs * outputs <= SMALL:
                total += 4 * (inputs * outputs + outputs)
            else:
                total += inputs * outputs + _COLUMN * outputs + (0 if facts.first_token else 4 * inputs)
        return float(total + text)
