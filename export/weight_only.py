"""Weights alone in 4 or 8 bits, activations in float32: small files where speed on the CPU is not the aim.

Equation:
    W ~ s_b (Q - z_b) for each block b of ``block_size`` weights along a column, Q of 4 or 8 bits.

Products become MatMulNBits, which ONNX Runtime's CPU, CUDA, WebGPU and DirectML kernels have; tables become
GatherBlockQuantized.

Reference: Dettmers & Zettlemoyer 2023, "The case for 4-bit precision: k-bit Inference Scaling Laws", section 3.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
from onnxruntime.quantization import QuantType, quantize_dynamic

from lilliput.export.quantize import excluded, quiet, small_heads, with_products


def quantize_weights(source: Path, target: Path, *, bits: int, block_size: int, kept: Collection[str] = ()) -> None:
    """Write ``source`` with its matrices and tables in ``bits`` bits.

    Args:
        bits: 4 or 8.
        block_size: weights that share a scale, one of :data:`lilliput.config.base.BlockSize`.
        kept: names of operators that stay in float32.
    """
    left = [*excluded(kept), *small_heads(source)]
    with quiet(), tempfile.TemporaryDirectory() as folder:
        # Being imported, it would send everybody's log to the terminal.
        from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

        if bits == 8:  # tables of 8 bits, which the quantizer below does not make
            tables = Path(folder) / "tables.onnx"
            quantize_dynamic(
                str(source),
                str(tables),
                op_types_to_quantize=["Gather"],
                weight_type=QuantType.QInt8,
                per_channel=True,
                nodes_to_exclude=left,
            )
            source = tables
        config = DefaultWeightOnlyQuantConfig(
            block_size=block_size,
            is_symmetric=False,
            accuracy_level=4,  # products in int8, which is the fastest way of the CPU's kernels
            op_types_to_quantize=("MatMul",) if bits == 8 else ("MatMul", "Gather"),
            bits=bits,
        )
        quantizer = MatMulNBitsQuantizer(with_products(source), nodes_to_exclude=left, algo_config=config)
        with np.errstate(
            divide="ignore", invalid="ignore"
        ):  # blocks of zeros, such as the padding token's, have no scale
            quantizer.process()
        quantizer.model.save_model_to_file(str(target))
