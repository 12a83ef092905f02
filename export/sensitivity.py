"""How much each layer's quantization changes what a model says: measured, layer by layer.

For each layer a graph is made in which it alone is quantized, and answers the same texts as the fp32 graph.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lilliput import sessions
from lilliput.export.calibration import Feed
from lilliput.export.precisions import Write

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing one layer alone does to the outputs.

    Attributes:
        layer: the operator's name.
        weights: how many it has.
        sqnr_db: signal to quantization noise, ``10 log10(sum y^2 / sum (y - y')^2)`` over all outputs; infinite where
            nothing changes, minus infinity where an output is not finite.
        flips: share of texts (of tokens, where each has a label) whose largest output is another one.
    """

    layer: str
    weights: int
    sqnr_db: float
    flips: float


def measure(
    source: Path,
    write: Write,
    layers: dict[str, int],
    feeds: Sequence[Feed],
    outputs: Sequence[str],
    disabled_optimizers: Sequence[str] = (),
    progress: Progress | None = None,
) -> list[Sensitivity]:
    """The sensitivity of every layer, the most sensitive first.

    Args:
        source: the fp32 graph.
        write: see `precisions.writer`.
        layers: see `quantize.layers`.
        feeds: of real texts.
        outputs: names of the graph's outputs.
    """
    reference = _answers(source.read_bytes(), feeds, outputs, ())
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (layer, weights) in enumerate(layers.items()):
            path = Path(folder) / "one.onnx"
            write(path, [other for other in layers if other != layer])
            answers = _answers(path.read_bytes(), feeds, outputs, disabled_optimizers)
            found.append(Sensitivity(layer, weights, *compare(reference, answers)))
            if progress:
                progress(number + 1, len(layers), "how much each layer matters")
    return sorted(found, key=lambda one: (one.sqnr_db, one.layer))


def compare(reference: Sequence[NDArray[np.float32]], answers: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """Signal to noise in decibels, and the share of rows (along the last axis) whose largest output moved: all of them
    where an answer is not finite."""
    if not all(np.isfinite(array).all() for array in answers):
        return -float("inf"), 1.0
    signal = noise = 0.0
    moved = rows = 0
    for one, other in zip(reference, answers, strict=True):
        signal += float(np.square(one, dtype=np.float64).sum())
        noise += float(np.square(np.subtract(one, other, dtype=np.float64)).sum())
        moved += int((one.argmax(axis=-1) != other.argmax(axis=-1)).sum())
        rows += one[..., 0].size
    return (10 * float(np.log10(signal / noise)) if noise and signal else float("inf")), moved / rows


def _answers(
    graph: bytes, feeds: Sequence[Feed], outputs: Sequence[str], disabled_optimizers: Sequence[str]
) -> list[NDArray[np.float32]]:
    session = sessions.open_session(graph, disabled_optimizers=disabled_optimizers)
    return [array for feed in feeds for array in session.run(list(outputs), dict(feed))]
