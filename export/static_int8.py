"""Static int8: activations get their scales from calibration texts, once, so that an answer does not depend on the
batch that a text is read in.

Equation:
    X ~ s_x (A - z_x) with A in [0, 255], s_x and z_x fixed for each tensor X; weights as in dynamic int8.

Reference: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", section 2.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from lilliput import machine
from lilliput.export import calibration
from lilliput.export.calibration import Feed, Method, Range
from lilliput.export.quantize import excluded, layers, overflows, quiet, with_products

OPERATORS = ["MatMul", "Gather"]
"""That are quantized: products with weights, and tables."""


def ranges(source: Path, feeds: Iterable[Feed], method: Method) -> dict[str, Range]:
    """The range of every tensor that goes into or comes out of a layer (see `calibration.ranges`)."""
    model = onnx.load(str(source))
    chosen, constants = set(layers(source)), {tensor.name for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.name in chosen]
    names = [node.input[0] for node in nodes if node.op_type != "Gather"] + [name for n in nodes for name in n.output]
    return calibration.ranges(source, [name for name in dict.fromkeys(names) if name not in constants], feeds, method)


def quantize_static_int8(
    source: Path,
    target: Path,
    found: Mapping[str, Range],
    *,
    reduce_range: bool | None = None,
    kept: Collection[str] = (),
) -> None:
    """Write ``source`` with int8 weights and activations whose scales are fixed (operators between a pair of
    QuantizeLinear and DequantizeLinear).

    Products of two activations, in attention, stay in float32: they have no weights to save, and lose most.

    Args:
        found: what `ranges` gives for ``source``.
        kept: names of operators that stay in float32.
    """
    scales = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in found.items()}
    quantizable = [name for name in excluded(layers(source)) if name not in set(excluded(kept))]
    with quiet():
        quantizer = QDQQuantizer(
            with_products(source),
            per_channel=True,
            reduce_range=overflows(machine.cpu()) if reduce_range is None else reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, scales),
            nodes_to_quantize=quantizable or ["none"],  # an empty list would mean all
            nodes_to_exclude=[],
            op_types_to_quantize=OPERATORS,
            extra_options={"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )
        quantizer.quantize_model()
        quantizer.model.save_model_to_file(str(target))
