"""Quantize ONNX graphs."""

from __future__ import annotations

import logging
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

from lilliput.export.smooth import Feeds, smooth


def quantize_int8(source: Path, target: Path, feeds: Feeds) -> None:
    """Dynamic int8: weights are stored in int8 with a scale per output channel, activations quantized as they come.

    Equation:
        W ~ s_c Q_c with Q in [-127, 127] for each output channel c; X ~ s_x (A - z_x) with A in [0, 255] from the
        minimum and maximum of each tensor X, so that X W ~ s_x s_c (A - z_x) Q in integer arithmetic.

    Outliers of the activations are moved into the weights first (see :mod:`lilliput.export.smooth`).

    Signed weights: ONNX Runtime's kernels for unsigned ones are half as fast on x86.

    Args:
        feeds: inputs of the graph for sample texts, which show where the outliers are.

    Reference: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018, sections 2.1 and 2.2.
    """
    smoothed = target.with_suffix(".smoothed.onnx")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a preprocessing step that is for other kinds of graphs
    try:
        smooth(source, smoothed, feeds)
        quantize_dynamic(str(smoothed), str(target), weight_type=QuantType.QInt8, per_channel=True)
    finally:
        smoothed.unlink(missing_ok=True)
        root.setLevel(level)
