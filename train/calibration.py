"""How far a model's confidence is from how often it is right, and the one temperature that mends most of it.

Reference: Guo, Pleiss, Sun & Weinberger 2017, On Calibration of Modern Neural Networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from lilliput import statistics

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
"""Between them a temperature is looked for: where every answer is right the best one would be 0."""
TINY = np.finfo(np.float64).tiny

Probabilities = NDArray[np.float64]


def figures(
    probabilities: Probabilities, gold: NDArray[np.int64], fitted_on: tuple[Probabilities, NDArray[np.int64]]
) -> dict[str, Any]:
    """Expected calibration error and reliability diagram, as the model is and after temperature scaling.

    Args:
        probabilities: [n, labels], rows sum to 1.
        gold: [n] label indices.
        fitted_on: the same of the validation split, which chooses the temperature.
    """
    heat = temperature(*fitted_on)
    after = scaled(probabilities, heat)
    return {
        "ece": statistics.calibration_error(probabilities, gold, BINS),
        "temperature": heat,
        "ece_scaled": statistics.calibration_error(after, gold, BINS),
        "bins": reliability(probabilities, gold),
        "bins_scaled": reliability(after, gold),
    }


def temperature(probabilities: Probabilities, gold: NDArray[np.int64]) -> float:
    """The temperature of least negative log-likelihood, ``-Σ_i log scaled(p_i, T)[y_i]``; it has one minimum in T."""
    rows = np.arange(len(gold))

    def loss(log_temperature: float) -> float:
        chosen = scaled(probabilities, float(np.exp(log_temperature)))[rows, gold]
        return float(-np.log(np.maximum(chosen, TINY)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log([COLDEST, HOTTEST]), method="bounded").x))


def scaled(probabilities: Probabilities, temperature: float) -> Probabilities:
    """``softmax(z / T)`` for ``p = softmax(z)``: ``p^(1/T)``, each row divided by its sum."""
    powers = np.log(np.maximum(probabilities, TINY)) / temperature  # [n, labels]
    powers = np.exp(powers - powers.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def reliability(probabilities: Probabilities, gold: NDArray[np.int64]) -> list[dict[str, float]]:
    """Of each bin of the highest probability, (b/15, (b+1)/15], that has items: their number, mean and accuracy."""
    confidence = probabilities.max(axis=1)  # [n]
    hits = probabilities.argmax(axis=1) == gold  # [n]
    which = np.searchsorted(np.arange(1, BINS) / BINS, confidence, side="left")  # [n]
    return [
        {
            "n": int((which == number).sum()),
            "confidence": float(confidence[which == number].mean()),
            "accuracy": float(hits[which == number].mean()),
        }
        for number in np.unique(which).tolist()
    ]
