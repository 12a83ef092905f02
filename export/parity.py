"""Parity gates: an exported graph must answer as the torch model does, on real texts, on the path that an app runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lilliput import runtime
from lilliput.errors import GateError
from lilliput.types import Precision

PIECE = 64
"""Texts answered between two progress reports."""


@dataclass(frozen=True)
class Parity:
    """How an exported graph compares with the torch model on ``texts`` texts.

    ``max_difference`` is the largest absolute difference of two logits, ``agreement`` the share of texts with the
    same label.
    """

    precision: Precision
    texts: int
    max_difference: float
    agreement: float


def measure(
    bundle: Path,
    precision: Precision,
    texts: Sequence[str],
    reference: np.ndarray,
    progress: Callable[[int, int, str], None] | None = None,
) -> Parity:
    """Compare the runtime's logits on ``texts`` with ``reference``, the torch model's, ``[texts, labels]``."""
    model = runtime.load(bundle, precision=precision)
    answers = []
    for start in range(0, len(texts), PIECE):
        answers.append(model.logits(list(texts[start : start + PIECE])))
        if progress:
            progress(min(start + PIECE, len(texts)), len(texts), f"checking {precision}")
    logits = np.concatenate(answers)
    return Parity(
        precision=precision,
        texts=len(texts),
        max_difference=float(np.abs(logits - reference).max()),
        agreement=float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean()),
    )


def check(parity: Parity, max_difference: float, min_agreement: float, name: str) -> None:
    """Apply the gate: ``max_difference`` for fp32, ``min_agreement`` for what is quantized.

    Raises:
        GateError: says what was measured, what is allowed, and on how many texts.
    """
    if parity.precision == "fp32":
        # Written so that NaN fails.
        if not parity.max_difference <= max_difference:
            raise GateError(
                f"{name}: the fp32 graph's logits differ from torch by up to {parity.max_difference:.2e} on "
                f"{parity.texts} texts; at most {max_difference:.0e} is allowed. No bundle was written"
            )
    elif not parity.agreement >= min_agreement:
        raise GateError(
            f"{name}: the {parity.precision} graph gives the torch model's label for {parity.agreement:.2%} of "
            f"{parity.texts} texts; at least {min_agreement:.2%} is asked for. No bundle was written"
        )
