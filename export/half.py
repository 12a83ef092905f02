"""Numbers of 16 bits: fp16 for GPUs, bf16 to halve a file at the range of float32."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import ml_dtypes
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from lilliput.export.quantize import layers


def to_fp16(source: Path, target: Path, *, kept: Collection[str] = ()) -> None:
    """Write ``source`` with weights and activations in float16; inputs and outputs keep their types.

    Weights beyond float16's range are cut off there. The CPU has few kernels for it and converts back and forth.

    Args:
        kept: names of operators that stay in float32.
    """
    model = convert_float_to_float16(
        onnx.load(str(source)), keep_io_types=True, node_block_list=list(kept) or None, disable_shape_infer=False
    )
    OnnxModel.graph_topological_sort(model.graph)  # casts around what is kept come after their readers
    onnx.save(model, str(target))


def to_bf16(source: Path, target: Path, *, kept: Collection[str] = ()) -> None:
    """Write ``source`` with its matrices and tables in bfloat16, which are converted to float32 when it is loaded.

    Products are in float32: every provider has those kernels, and the file is half as long.

    Args:
        kept: names of operators whose weights stay in float32.
    """
    model = onnx.load(str(source))
    graph = model.graph
    chosen = set(layers(source)) - set(kept)
    weights = {name for node in graph.node if node.name in chosen for name in node.input}
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in weights or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(
            helper.make_tensor(f"{name}.bf16", TensorProto.BFLOAT16, values.shape, values.tobytes(), raw=True)
        )
        casts.append(helper.make_node("Cast", [tensor.name], [name], name=f"{name}.to_fp32", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(target))
