"""Quantize ONNX graphs."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Collection, Iterator
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.onnx_model import ONNXModel

from lilliput import machine
from lilliput.export.smooth import Feeds, smooth

SMALL = 1 << 16
"""Weights of a layer that stays in float32 where it reads one row a text: quantizing that row would take longer."""


def overflows(cpu: machine.Cpu) -> bool:
    """Whether a processor's int8 products overflow with weights of 8 bits, so that they must have 7.

    x86 without VNNI adds two products of an unsigned and a signed byte in 16 bits, and 2 * 255 * 127 is more than
    32,767; larger sums are cut off there.
    """
    x86 = cpu.architecture.lower() in ("x86_64", "amd64", "i686")
    return x86 and cpu.features is not None and not {"VNNI", "AMX-INT8"} & set(cpu.features)


def layers(source: Path) -> dict[str, int]:
    """The operators of a graph whose weights can be quantized, and how many weights each has.

    They are products with a matrix of weights, and rows looked up in a table; in the order of the graph.
    """
    graph = onnx.load(str(source)).graph
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer if len(tensor.dims) == 2}
    weights = {"MatMul": 1, "Gemm": 1, "Gather": 0}
    small = set(small_heads(source))
    return {
        node.name: sizes[node.input[weights[node.op_type]]]
        for node in graph.node
        if node.op_type in weights and node.input[weights[node.op_type]] in sizes and f"{node.name}_MatMul" not in small
    }


def excluded(kept: Collection[str]) -> list[str]:
    """The names that the quantizers give to the operators ``kept``: Gemm is split into a product and a sum before."""
    return [name for one in kept for name in (one, f"{one}_MatMul")]


def quantize_int8(
    source: Path, target: Path, feeds: Feeds, *, reduce_range: bool | None = None, kept: Collection[str] = ()
) -> None:
    """Dynamic int8: weights are stored in int8 with a scale per output channel, activations quantized as they come.

    Equation:
        W ~ s_c Q_c with Q in [-127, 127] (reduced: [-64, 64]) for each output channel c; X ~ s_x (A - z_x) with A in
        [0, 255] from the minimum and maximum of each tensor X, so that X W ~ s_x s_c (A - z_x) Q in integer arithmetic.

    Rows of tables (Gather) are looked up in int8 and dequantized then. Layers of a head with at most `SMALL` weights
    stay in float32.

    Outliers of the activations are moved into the weights first (see :mod:`lilliput.export.smooth`).

    Signed weights: ONNX Runtime's kernels for unsigned ones are half as fast on x86.

    Args:
        feeds: inputs of the graph for sample texts, which show where the outliers are.
        reduce_range: weights of 7 bits, for processors on which those of 8 overflow; by default as this one needs it.
        kept: names of operators that stay in float32.

    Reference: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018, sections 2.1 and 2.2.
    """
    smoothed = target.with_suffix(".smoothed.onnx")
    try:
        smooth(source, smoothed, feeds)
        quantize_smoothed(smoothed, target, reduce_range=reduce_range, kept=kept)
    finally:
        smoothed.unlink(missing_ok=True)


def quantize_smoothed(
    source: Path, target: Path, *, reduce_range: bool | None = None, kept: Collection[str] = ()
) -> None:
    """`quantize_int8` of a graph that is smoothed already."""
    with quiet():
        quantize_dynamic(
            str(source),
            str(target),
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=overflows(machine.cpu()) if reduce_range is None else reduce_range,
            nodes_to_exclude=[*small_heads(source), *excluded(kept)],
        )


def with_products(source: Path) -> onnx.ModelProto:
    """A graph whose Gemms are products and sums, under the names that `excluded` and `small_heads` know: the static and
    the weight-only quantizers leave Gemm alone, the dynamic one splits it by itself.
    """
    split = ONNXModel(onnx.load(str(source)))
    split.replace_gemm_with_matmul()
    return split.model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the quantizers' advice off the terminal: it is about a preprocessing step for other kinds of graphs."""
    root = logging.getLogger()
    level, handlers, disabled = root.level, list(root.handlers), root.manager.disable
    root.setLevel(logging.ERROR)
    logging.disable(max(disabled, logging.WARNING))  # loggers with a level of their own don't ask the root's
    try:
        yield
    finally:
        root.setLevel(level)
        logging.disable(disabled)
        for added in set(root.handlers) - set(handlers):
            root.removeHandler(added)


def small_heads(source: Path) -> list[str]:
    """The small layers that read one row a text, under the names that the quantizer gives them."""
    graph = onnx.load(str(source)).graph
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    # torch exports a layer of a matrix as Gemm, which the quantizer first splits into NAME_MatMul and NAME_Add.
    return [
        f"{node.name}_MatMul"
        for node in graph.node
        if node.op_type == "Gemm" and sizes.get(node.input[1], SMALL + 1) <= SMALL
    ]
