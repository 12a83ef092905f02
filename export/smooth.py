"""Move outliers from activations into weights before quantization.

Dynamic int8 gives each activation tensor one scale, so a few channels of large size leave the others few of the 256
levels. Dividing channel j of the activations by s_j, and multiplying row j of the weights by it, changes nothing in
float32 and evens the channels out:

    X W = (X diag(s)^-1) (diag(s) W),    s_j = max|X_j|^a / max|W_j|^(1 - a)

The maxima over X are taken on sample texts. Products that read the same tensor (queries, keys and values) share one s.

Reference: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models",
ICML 2023, equations 3 and 4. They fold the division into the layer before; here it stays an operator of its own, since
in post-norm encoders the residual connection reads the same tensor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

MIGRATION = 0.8
"""The exponent a: how much of the difficulty moves into the weights, whose scales are one per column."""

Feeds = Iterable[Mapping[str, NDArray[np.int64]]]


def smooth(source: Path, target: Path, feeds: Feeds) -> None:
    """Write the graph ``source`` to ``target`` with smoothed matrix products; both compute the same function.

    Args:
        feeds: inputs of the graph for each sample text.
    """
    model = onnx.load(str(source))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    products: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights and len(weights[node.input[1]].dims) == 2:
            products[node.input[0]].append(node)
    largest = _largest(model, list(products), feeds)
    nodes = list(model.graph.node)
    for name, readers in products.items():
        rows = np.max([np.abs(numpy_helper.to_array(weights[node.input[1]])).max(axis=1) for node in readers], axis=0)
        scale = _scale(largest[name], rows)
        inverse = numpy_helper.from_array(1 / scale, f"{name}.smooth")
        division = onnx.helper.make_node("Mul", [name, inverse.name], [f"{name}.smoothed"], name=f"{name}.smooth_mul")
        model.graph.initializer.append(inverse)
        nodes.insert(min(nodes.index(node) for node in readers), division)
        for node in readers:
            scaled = numpy_helper.to_array(weights[node.input[1]]) * scale[:, None]  # [in, out]
            tensor = numpy_helper.from_array(scaled, f"{node.input[1]}.smoothed.{node.name}")
            model.graph.initializer.append(tensor)
            node.input[0], node.input[1] = division.output[0], tensor.name
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.save(model, str(target))


def _scale(activations: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """s of the module's text, up to a constant factor: its geometric mean is 1."""
    logarithm = MIGRATION * np.log(np.maximum(activations, 1e-5)) - (1 - MIGRATION) * np.log(np.maximum(rows, 1e-5))
    return np.exp(logarithm - logarithm.mean()).astype(np.float32)


def _largest(model: onnx.ModelProto, names: list[str], feeds: Feeds) -> dict[str, NDArray[np.float32]]:
    """Largest absolute value of each channel (last axis) of the named tensors, over all sample texts."""
    if not names:
        return {}  # a run without names would compute every output
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    largest: dict[str, NDArray[np.float32]] = {}
    for feed in feeds:
        for name, value in zip(names, session.run(names, dict(feed)), strict=True):
            channels = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, channels), channels)
    return largest
