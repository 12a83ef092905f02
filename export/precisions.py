"""Graphs of every precision, from the fp32 graph of a bundle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from lilliput import machine
from lilliput.export import half, quantize, static_int8, weight_only
from lilliput.export.calibration import Feed, Method
from lilliput.export.smooth import smooth
from lilliput.types import Precision

TARGET_CPUS = {"x86": True, "x86-vnni": False, "arm": False}
"""Processors that a graph is made for, and whether int8 weights must have 7 bits there (see `quantize.overflows`)."""

Write = Callable[[Path, Collection[str]], None]
"""Writes a graph to a path; the operators named stay in float32."""


@dataclass(frozen=True)
class QuantSpec:
    """How a graph is quantized.

    Attributes:
        target_cpu: a key of `TARGET_CPUS`, or "auto" for this machine.
        calibration: how the range of an activation is found, for int8-static.
        block_size: weights that share a scale, for int8-weights and int4.
    """

    precision: Precision
    target_cpu: str = "auto"
    calibration: Method = "minmax"
    block_size: int = 32

    @property
    def reduce_range(self) -> bool:
        """Whether int8 weights get 7 bits."""
        known = TARGET_CPUS.get(self.target_cpu)
        return quantize.overflows(machine.cpu()) if known is None else known

    @property
    def batchable(self) -> bool:
        """Whether an answer does not depend on the texts that are read with it."""
        return self.precision != "int8"


def writer(spec: QuantSpec, source: Path, feeds: Iterable[Feed], scratch: Path) -> Write:
    """What writes graphs of a precision from the fp32 graph ``source``, again and again.

    What all of them share is done once: smoothing (see `smooth`), and the calibration of static scales.

    Args:
        feeds: inputs of the graph for sample texts, which may be read several times.
        scratch: folder for what is shared; it must live as long as the writer.
    """
    if spec.precision == "int8-weights" or spec.precision == "int4":
        bits = 4 if spec.precision == "int4" else 8
        return lambda target, kept: weight_only.quantize_weights(
            source, target, bits=bits, block_size=spec.block_size, kept=kept
        )
    if spec.precision == "fp16":
        return lambda target, kept: half.to_fp16(source, target, kept=kept)
    if spec.precision == "bf16":
        return lambda target, kept: half.to_bf16(source, target, kept=kept)
    smoothed = scratch / "smoothed.onnx"
    smooth(source, smoothed, feeds)
    if spec.precision == "int8":
        return lambda target, kept: quantize.quantize_smoothed(
            smoothed, target, reduce_range=spec.reduce_range, kept=kept
        )
    found = static_int8.ranges(smoothed, feeds, spec.calibration)
    return lambda target, kept: static_int8.quantize_static_int8(
        smoothed, target, found, reduce_range=spec.reduce_range, kept=kept
    )
