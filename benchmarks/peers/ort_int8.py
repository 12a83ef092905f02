"""optimum's export and dynamic quantization, with the settings of its documentation: the peer ``ort-int8``.

Options of ``build``: ``model`` (folder of config.json, model.safetensors and tokenizer files). Of ``load``:
``built``, ``model``, ``facts``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilliput import machine
from lilliput.benchmarks.peers import onnx_graph, option
from lilliput.benchmarks.tokenized import TokenizedPeer

GRAPH = "model.onnx"


def load(options: Mapping[str, Any], threads: int) -> TokenizedPeer:
    """Open what ``build`` wrote, in a plain session: optimum's own wrapper would only cost time."""
    built, model = (Path(option(options, "ort_int8", key)) for key in ("built", "model"))
    found = {"graph": str(built / GRAPH), "tokenizer": str(model / "tokenizer.json")}
    return onnx_graph.load({**found, "facts": option(options, "ort_int8", "facts")}, threads)


def build(options: Mapping[str, Any], folder: Path) -> None:
    """Export and quantize for this processor: of `AutoQuantizationConfig`, the configuration that its documentation
    names for it, dynamic and per tensor.
    """
    from optimum.onnxruntime import ORTModelForSequenceClassification, ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    cpu = machine.cpu()
    if cpu.architecture.lower() in ("arm64", "aarch64"):
        config = AutoQuantizationConfig.arm64(is_static=False, per_channel=False)
    elif cpu.has("VNNI"):
        config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=False)
    else:
        config = AutoQuantizationConfig.avx2(is_static=False, per_channel=False)
    with tempfile.TemporaryDirectory() as name:
        exported, quantized = Path(name) / "fp32", Path(name) / "int8"
        model = option(options, "ort_int8", "model")
        ORTModelForSequenceClassification.from_pretrained(model, export=True).save_pretrained(exported)
        ORTQuantizer.from_pretrained(exported).quantize(save_dir=quantized, quantization_config=config)
        (made,) = quantized.glob("*.onnx")
        shutil.move(made, folder / GRAPH)
