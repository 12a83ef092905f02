"""optimum's graph optimization at level O2, in fp32: the peer ``optimum-o2``. Options as of ``ort_int8``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilliput.benchmarks.peers import option
from lilliput.benchmarks.peers.ort_int8 import GRAPH, load

__all__ = ["build", "load", "optimise"]


def build(options: Mapping[str, Any], folder: Path) -> None:
    """Export, and fuse what level O2 fuses: basic and extended optimizations, and those of transformers."""
    optimise(options, folder, "O2")


def optimise(options: Mapping[str, Any], folder: Path, level: str) -> None:
    """Export with optimum and optimize at a level of its `AutoOptimizationConfig`."""
    from optimum.onnxruntime import ORTModelForSequenceClassification, ORTOptimizer
    from optimum.onnxruntime.configuration import AutoOptimizationConfig

    with tempfile.TemporaryDirectory() as name:
        model = ORTModelForSequenceClassification.from_pretrained(option(options, "optimum_o2", "model"), export=True)
        config = AutoOptimizationConfig.with_optimization_level(level)
        ORTOptimizer.from_pretrained(model).optimize(save_dir=name, optimization_config=config)
        (made,) = Path(name).glob("*.onnx")
        shutil.move(made, folder / GRAPH)
