"""optimum's graph optimization at level O3, in fp32: the peer ``optimum-o3``. Options as of ``ort_int8``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilliput.benchmarks.peers.optimum_o2 import optimise
from lilliput.benchmarks.peers.ort_int8 import load

__all__ = ["build", "load"]


def build(options: Mapping[str, Any], folder: Path) -> None:
    """As O2, and GELU by its tanh approximation."""
    optimise(options, folder, "O3")
