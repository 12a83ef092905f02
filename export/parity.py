"""Parity gates: an exported graph must answer as the torch model does, on real texts, on the path that an app runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from lilliput import runtime
from lilliput.errors import GateError
from lilliput.types import Precision

PIECE = 64
"""Inputs answered between two progress reports."""

LARGEST_BATCH = 32
"""Windows that are read together at most: batches of 1, 2, ... 32 take turns."""

Outputs = Sequence[Sequence[NDArray[np.float32]]]
"""Of each input the outputs on each of its windows, ``[labels]`` or ``[tokens, labels]``."""


@dataclass(frozen=True)
class Parity:
    """How an exported graph compares with the torch model on ``texts`` inputs.

    ``max_difference`` is the largest absolute difference of two outputs, ``batched_difference`` the same where windows
    are read in padded batches (None where answers may depend on the batch), and ``agreement`` how alike predictions are
    (see `Task.agreement`): for labels the share of inputs that get the same one. ``largest`` is the largest absolute
    output of the torch model: float32 rounds in proportion to it.
    """

    precision: Precision
    texts: int
    max_difference: float
    batched_difference: float | None
    agreement: float
    largest: float


def measure(
    bundle: Path,
    precision: Precision,
    items: Sequence[Any],
    reference: Outputs,
    progress: Callable[[int, int, str], None] | None = None,
) -> Parity:
    """Compare what the runtime finds for ``items`` with ``reference``, the torch model's outputs on them."""
    model = runtime.load(bundle, precision=precision)
    windows, outputs = [], []
    for start in range(0, len(items), PIECE):
        windows += model.windows(items[start : start + PIECE])
        outputs += model.outputs(windows[start:], first=start)
        if progress:
            progress(min(start + PIECE, len(items)), len(items), f"checking {precision}")
    ours, theirs = (
        [model.task.predict(*three, model.settings) for three in zip(items, windows, found, strict=True)]
        for found in (outputs, reference)
    )
    flat = [array for some in reference for array in some]
    return Parity(
        precision=precision,
        texts=len(items),
        max_difference=_largest([array for some in outputs for array in some], flat),
        batched_difference=_largest(_batched(model, [w for some in windows for w in some]), flat)
        if precision == "fp32"
        else None,
        agreement=model.task.agreement(ours, theirs, model.labels, model.settings),
        largest=float(max(np.abs(array).max() for array in flat)),
    )


def _batched(model: runtime.Model, windows: Sequence[Encoding]) -> Iterator[NDArray[np.float32]]:
    rest, sizes = iter(windows), itertools.cycle(range(1, LARGEST_BATCH + 1))
    while some := list(itertools.islice(rest, next(sizes))):
        yield from model.together(some)


def _largest(ours: Any, theirs: Sequence[NDArray[np.float32]]) -> float:
    """The largest distance of two outputs; NaN where one is no number."""
    return float(np.max([np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)]))


def check(parity: Parity, max_difference: float, min_agreement: float, name: str) -> None:
    """Apply the gate: ``max_difference`` for fp32, ``min_agreement`` for what is quantized.

    Outputs ``y`` of the graph and ``t`` of torch must have ``max |y - t| <= max_difference * max(1, max |t|)``.

    Raises:
        GateError: says what was measured, what is allowed, and on how many texts.
    """
    if parity.precision == "fp32":
        assert parity.batched_difference is not None  # measured for this precision
        allowed = max_difference * max(1.0, parity.largest)
        for difference, how in ((parity.max_difference, ""), (parity.batched_difference, " in padded batches")):
            # Written so that NaN fails, and infinity, which is within any limit that is in proportion to it.
            if not (difference <= allowed and math.isfinite(difference)):
                raise GateError(
                    f"{name}: the fp32 graph's outputs differ from torch by up to {difference:.2e}{how} on "
                    f"{parity.texts} texts; at most {allowed:.1e} is allowed. No bundle was written"
                )
    elif not parity.agreement >= min_agreement:
        raise GateError(
            f"{name}: the {parity.precision} graph agrees with the torch model on {parity.agreement:.2%} of "
            f"{parity.texts} texts; at least {min_agreement:.2%} is asked for. No bundle was written"
        )
