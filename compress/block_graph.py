"""The graph that an app would run for an encoder of any block shapes, without exporting each: for the stopwatch only.

One model of a few blocks is exported, and quantized where that is asked for, as a bundle's would be. The weights of
blocks of different heads and neurons differ in size alone, so every other shape is that graph with its weights cut or
repeated, and its operators are those of the real export. What such a graph answers is of no use: its weights are
random.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from lilliput import encoder
from lilliput.errors import ModelError
from lilliput.export import onnx as exporting
from lilliput.export import quantize
from lilliput.types import BlockShape, Precision

DEPTH = 6
"""Blocks of the exported model at most. More tell nothing new of a block, and cost time and memory."""
VOCABULARY = 1024
"""Rows of its token table at most: a text reads one row a token, however many there are."""
_SAMPLES, _SAMPLE_TOKENS = 4, 8


@dataclass(frozen=True)
class _Half:
    """Attention or the feed-forward layers of a block in the float32 graph, by the names of tensors.

    ``columns`` are weights and biases whose last axis goes over heads' channels or neurons, ``weight`` the one whose
    rows do. That reads ``inner``, and ``added`` is its product with ``bias`` added: what the residual connection takes.
    """

    columns: tuple[str, ...]
    weight: str
    bias: str
    inner: str
    added: str


@dataclass(frozen=True)
class _Block:
    """One block in the float32 graph: it computes ``target`` from ``source``."""

    attention: _Half
    feed_forward: _Half
    source: str
    target: str


class BlockGraph:
    """A graph of up to `DEPTH` blocks that can be had in every shape. Made by `of`.

    ``depth`` is the number of its blocks, ``inputs`` the names of its inputs, and token ids are below ``vocabulary``.
    """

    def __init__(
        self, graph: onnx.ModelProto, blocks: Sequence[_Block], heads: Sequence[int], head_size: int, vocabulary: int
    ) -> None:
        self._graph = graph
        self._blocks = tuple(blocks)
        self._heads = tuple(heads)
        self._head_size = head_size
        self.depth = len(self._blocks)
        self.inputs = tuple(value.name for value in graph.graph.input)
        self.vocabulary = vocabulary

    @classmethod
    def of(cls, model: Any, inputs: tuple[str, ...], precision: Precision, *, random: bool = True) -> BlockGraph:
        """Export a small relative of ``model``: its embeddings' width, its head, and its last `DEPTH` blocks at most.

        Args:
            model: an encoder with transformer blocks; it is not changed.
            inputs: names of the model's inputs.
            random: replace the weights by random ones. Without, no two weights and biases may be equal.

        Raises:
            ModelError: no block of the model has both heads and neurons, or the exported graph is not understood.
        """
        small = _small(model, random)
        blocks = encoder.blocks_of(small)
        heads = [shape.heads for shape in encoder.block_shapes_of(small)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            with torch.no_grad():
                exporting.export_onnx(small, inputs, path)
            exported = onnx.load(str(path))
            if precision == "int8":
                quantize.quantize_int8(path, path.with_name("int8.onnx"), _feeds(inputs, small))
                graph = onnx.load(str(path.with_name("int8.onnx")))
            else:
                graph = exported
        names = _Names(exported)
        found = [_Block(*_halves(block, names), *_ends(block, names)) for block in blocks]
        return cls(graph, found, heads, encoder.head_size_of(small), _rows(small))

    def resized(self, shapes: Sequence[BlockShape | None]) -> bytes:
        """The graph with a block of each shape, serialized; None leaves the block out, norms and all.

        A half of no heads or no neurons adds its bias. Where a shape is larger than the model's own, weights repeat.
        """
        result = onnx.ModelProto()
        result.CopyFrom(self._graph)
        edit = _Edit(result.graph)
        for block, heads, shape in zip(self._blocks, self._heads, shapes, strict=True):
            if shape is None:
                edit.replace(block.target, block.source)
                continue
            edit.resize(block.attention, shape.heads * self._head_size)
            edit.resize(block.feed_forward, shape.ffn)
            edit.reshape(block.attention, heads, shape.heads, self._head_size)
        edit.finish()
        return result.SerializeToString()


def _small(model: Any, random: bool) -> Any:
    """A copy of a model with its last blocks only, few tokens, and weights no two of which are equal."""
    whole = [i for i, shape in enumerate(encoder.block_shapes_of(model)) if shape.heads and shape.ffn]
    if not whole:
        raise ModelError(f"{type(model).__name__}: no block has both heads and neurons, so there is none to measure")
    kept = whole[-DEPTH:] if len(whole) > 1 or not random else whole * 2  # a middle block and a last one
    small = encoder.keep_layers(model, kept).float().to("cpu").eval()
    if not random:
        return small
    table = encoder.word_embeddings_of(small)
    if sum(weight is table.weight for module in small.modules() for weight in module.parameters(recurse=False)) == 1:
        table.weight = nn.Parameter(table.weight[:VOCABULARY].clone())
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in small.parameters():
            weight.normal_(0, 0.02, generator=draw)
        for module in small.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.add_(1)
    return small


def _feeds(inputs: tuple[str, ...], model: Any) -> list[dict[str, NDArray[np.int64]]]:
    draw = np.random.default_rng(0)
    return [feed(inputs, _SAMPLE_TOKENS, _rows(model), draw) for _ in range(_SAMPLES)]


def _rows(model: Any) -> int:
    return int(encoder.word_embeddings_of(model).weight.shape[0])


def feed(
    inputs: Iterable[str], tokens: int, vocabulary: int, draw: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """The graph's inputs for a text of random tokens, ``[1, tokens]`` each."""
    values = {
        "input_ids": draw.integers(0, vocabulary, (1, tokens)),
        "attention_mask": np.ones((1, tokens), dtype=np.int64),
        "token_type_ids": np.zeros((1, tokens), dtype=np.int64),
    }
    return {name: values[name] for name in inputs}


class _Names:
    """Finds a model's weights in its exported graph by what they hold, and the nodes that read them."""

    def __init__(self, exported: onnx.ModelProto) -> None:
        self._by_content = {
            (tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes()): tensor.name
            for tensor in exported.graph.initializer
            if tensor.data_type == onnx.TensorProto.FLOAT
        }
        self._nodes = exported.graph.node

    def of(self, weight: torch.Tensor) -> str:
        """The name of the initializer that holds ``weight``."""
        array = weight.detach().numpy()
        name = self._by_content.get((array.shape, array.tobytes()))
        if name is None:
            raise ModelError(f"a weight of shape {array.shape} is not in the exported graph; export changed it")
        return name

    def matrix(self, layer: nn.Linear) -> str:
        """The initializer of a layer's weight as MatMul takes it, ``[in, out]``."""
        return self.of(layer.weight.T.contiguous())

    def reader(self, initializer: str, operator: str) -> onnx.NodeProto:
        """The node of a type that reads an initializer."""
        return next(node for node in self._nodes if node.op_type == operator and initializer in node.input)


def _halves(block: encoder.Block, names: _Names) -> tuple[_Half, _Half]:
    return (
        _half((block.query, block.key, block.value), block.output, names),
        _half((block.ffn_in,), block.ffn_out, names),
    )


def _half(readers: Iterable[nn.Linear], writer: nn.Linear, names: _Names) -> _Half:
    columns = [name for layer in readers for name in (names.matrix(layer), names.of(layer.bias))]
    weight, bias = names.matrix(writer), names.of(writer.bias)
    inner = names.reader(weight, "MatMul").input[0]
    return _Half(tuple(columns), weight, bias, inner, names.reader(bias, "Add").output[0])


def _ends(block: encoder.Block, names: _Names) -> tuple[str, str]:
    """What a block reads and what it writes."""
    source = names.reader(names.matrix(block.key), "MatMul").input[0]
    return source, names.reader(names.of(block.ffn_norm.weight), "LayerNormalization").output[0]


class _Edit:
    """Changes of a graph's weights and edges."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._renamed: dict[str, str] = {}

    def replace(self, tensor: str, by: str) -> None:
        """Whatever reads ``tensor`` shall read ``by``."""
        self._renamed[tensor] = by

    def resize(self, half: _Half, size: int) -> None:
        """Give a half ``size`` inner channels; with none of them its bias takes its place."""
        if size == 0:
            self.replace(half.added, half.bias)
            return
        for name in half.columns:
            self._resize_all(name, -1, size)
        self._resize_all(half.weight, 0, size)
        if f"{half.inner}.smooth" in self._weights:
            self._cut(f"{half.inner}.smooth", 0, size)

    def _resize_all(self, name: str, axis: int, size: int) -> None:
        """Resize an initializer, and what smoothing and quantization made of it: scales go with columns."""
        for found in [other for other in self._weights if other == name or other.startswith(f"{name}.smoothed.")]:
            if len(self._weights[found].dims) == 2 or (axis == -1 and len(self._weights[found].dims) == 1):
                self._cut(found, axis, size)

    def _cut(self, name: str, axis: int, size: int) -> None:
        tensor = self._weights[name]
        values = numpy_helper.to_array(tensor)
        repeated = np.take(values, np.arange(size) % values.shape[axis], axis=axis)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(repeated), name))

    def reshape(self, half: _Half, before: int, after: int, head_size: int) -> None:
        """Rewrite the constants that tell heads apart, where the exporter wrote down how many there are."""
        if not after or not before:
            return
        for node in self._attention(half):
            self._rewrite(node, {before: after, before * head_size: after * head_size})

    def _attention(self, half: _Half) -> list[onnx.NodeProto]:
        """The Reshape nodes between a block's queries, keys and values and its output layer."""
        seen: set[str] = set()
        todo, found = [half.inner], []
        while todo:
            name = todo.pop()
            node = self._makers.get(name)
            if node is None or name in seen:
                continue
            seen.add(name)
            if node.op_type == "Reshape":
                found.append(node)
            if not any(source in half.columns for source in node.input):
                todo.extend(node.input)
        return found

    def _rewrite(self, node: onnx.NodeProto, sizes: Mapping[int, int]) -> None:
        """Rewrite the third size of a Reshape's shape, a constant or a Concat of constants and computed sizes.

        Blocks share shapes, so a changed one is a copy, which nodes that change it alike share in turn.
        """
        shape = node.input[1]
        maker = self._makers.get(shape)
        if maker is None:
            node.input[1] = self._rewritten(shape, 2, sizes)
        elif maker.op_type == "Concat" and len(maker.input) > 2 and maker.input[2] in self._weights:
            size = self._rewritten(maker.input[2], 0, sizes)
            if size != maker.input[2]:
                copied = onnx.NodeProto()
                copied.CopyFrom(maker)
                copied.name, copied.output[0], copied.input[2] = f"{maker.name}.{size}", f"{shape}.{size}", size
                node.input[1] = copied.output[0]
                self._makers.setdefault(copied.output[0], copied)

    def _rewritten(self, name: str, position: int, sizes: Mapping[int, int]) -> str:
        """The name of an initializer of integers in which the one at ``position`` is replaced as ``sizes`` says."""
        values = numpy_helper.to_array(self._weights[name]).copy()
        if position >= len(values) or sizes.get(int(values[position]), values[position]) == values[position]:
            return name
        values[position] = sizes[int(values[position])]
        tensor = numpy_helper.from_array(values, f"{name}.{values[position]}")
        self._weights[tensor.name] = tensor
        return tensor.name

    def finish(self) -> None:
        """Apply the replacements, and drop nodes and initializers that no output needs any more."""
        nodes: list[onnx.NodeProto] = []
        used: set[str] = set()
        done: set[str] = set()
        todo = [(output.name, False) for output in self._graph.output]
        while todo:  # depth first, each node after what it reads
            name, ready = todo.pop()
            node = self._makers.get(name)
            if node is None:
                used.add(name)
            elif ready:
                nodes.append(node)
            elif node.output[0] not in done:
                done.add(node.output[0])
                node.input[:] = [self._final(source) for source in node.input]
                todo.append((name, True))
                todo.extend((source, False) for source in node.input if source)
        weights = [self._weights[name] for name in sorted(used) if name in self._weights]
        del self._graph.node[:], self._graph.initializer[:], self._graph.value_info[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(weights)

    def _final(self, name: str) -> str:
        while name in self._renamed:
            name = self._renamed[name]
        return name
