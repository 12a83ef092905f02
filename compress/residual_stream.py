"""What reads and writes the residual stream of an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from lilliput import encoder


@dataclass(frozen=True)
class Stream:
    """The layers that have a row, column, gain or bias for each dimension of the residual stream.

    ``tables`` add up to it and ``writers`` add to it, ``norms`` normalise it and ``readers`` read it. ``features``,
    where there is such a layer, is a reader whose outputs ``last`` reads (None in a bare encoder): as many as the
    stream has dimensions, but others. A masked language model compares its features with the table of tokens: there
    the layer is a writer, and what follows it a norm and a reader, as their dimensions are those of the stream.

    An ELECTRA with tables of their own width has a writer that widens them, and its tables, the norm that follows them,
    and what a head compares with them are not part of the stream.
    """

    tables: tuple[nn.Embedding, ...]
    writers: tuple[nn.Linear, ...]
    norms: tuple[nn.LayerNorm, ...]
    readers: tuple[nn.Linear, ...]
    features: nn.Linear | None
    last: nn.Linear | None


def stream_of(model: Any) -> Stream:
    """The residual stream of ``model``.

    Raises:
        ModelError: a head that Lilliput does not know.
    """
    ends, blocks = encoder.ends_of(model), encoder.blocks_of(model)
    readers = [layer for block in blocks for layer in (block.query, block.key, block.value, block.ffn_in)]
    writers = [layer for block in blocks for layer in (block.output, block.ffn_out)]
    norms = [norm for block in blocks for norm in (block.attention_norm, block.ffn_norm)]
    readers += [layer for layer in (ends.features or ends.last,) if layer is not None]
    in_tables = ends.widening is None
    if ends.widening is not None:
        writers.insert(0, ends.widening)
    else:
        norms.insert(0, ends.table_norm)
        if ends.feature_norm is not None and ends.features is not None and ends.last is not None:
            writers.append(ends.features)
            norms.append(ends.feature_norm)
            readers.append(ends.last)
    own_features = ends.features is not None and ends.feature_norm is None
    return Stream(
        tables=ends.tables if in_tables else (),
        writers=tuple(writers),
        norms=tuple(norms),
        readers=tuple(readers),
        features=ends.features if own_features else None,
        last=ends.last if own_features else None,
    )
