"""The page of an evaluation: one HTML file without scripts that opens offline."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from lilliput import __version__
from lilliput.train.data import Dataset

TEMPLATE = Path(__file__).with_name("evaluation.html")
MOST_POINTS = 400
"""Of the loss's curve; more can't be told apart."""


@dataclass(frozen=True)
class Scale:
    """A linear scale: values from ``low`` to ``high`` lie at ``start`` to ``end`` of a drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value lies."""
        span = self.high - self.low or 1.0
        return round(self.start + (value - self.low) / span * (self.end - self.start), 2)

    @property
    def ticks(self) -> list[float]:
        """Three to six round values between ``low`` and ``high``: steps of 1, 2 or 5 times a power of ten."""
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        power = 10.0 ** math.floor(math.log10(span / 3))
        step = power * max(factor for factor in (1, 2, 5) if factor * power <= span / 3 * (1 + 1e-9))
        return [round(i * step, 12) for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def render(figures: Mapping[str, Any], dataset: Dataset, log: Path) -> str:
    """The whole page. Labels and slices are untrusted text and are escaped.

    Args:
        figures: what :func:`lilliput.train.evaluation.write` returns.
        log: ``log.jsonl`` of the training, which the curves are drawn from.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(figure=_figure, whole=lambda count: f"{count:,}")
    losses, validations = _curves(log, figures["metric"])
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        version=__version__,
        figures=figures,
        dataset=dataset,
        matrix=_matrix(figures, dataset.label_names),
        worst=_bars(figures),
        reliability=_reliability(figures),
        losses=_curve(losses),
        validations=_curve(validations),
    )


def _figure(value: float) -> str:
    """Three decimals, with a minus sign that is one; without decimals from a thousand on."""
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}").replace("-", "−")


def _curves(log: Path, metric: str) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Loss by step, and the validation metric by epoch, as logged."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    losses = [(line["step"], line["loss"]) for line in lines if line["event"] == "train"]
    validations = [(line["epoch"], line[metric]) for line in lines if line["event"] == "validation" and metric in line]
    return losses[:: math.ceil(len(losses) / MOST_POINTS) or 1], validations


def _curve(points: Sequence[tuple[float, float]]) -> dict[str, Any] | None:
    """Points and scales of a curve; None where it has fewer than two points."""
    if len(points) < 2:
        return None
    xs, ys = zip(*points, strict=True)
    margin = (max(ys) - min(ys)) * 0.08 or 0.1
    x, y = Scale(min(xs), max(xs), 52, 508), Scale(min(ys) - margin, max(ys) + margin, 204, 8)
    return {"x": x, "y": y, "points": [(x(a), y(b), a, b) for a, b in points]}


def _matrix(figures: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]] | None:
    """The confusion matrix, each cell with its share of the row."""
    counts = figures.get("confusion", {}).get("matrix")
    if counts is None:
        return None
    return [
        {"label": name, "cells": [{"n": n, "share": n / max(sum(row), 1), "right": i == j} for j, n in enumerate(row)]}
        for i, (name, row) in enumerate(zip(names, counts, strict=True))
    ]


def _bars(figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """The worst slices with the scale that their intervals are drawn on."""
    worst = figures["worst"]
    if not worst:
        return None
    ends = [end for one in worst for end in [one["score"], *(one["ci"] or [])]] + [figures["score"]]
    return {"x": Scale(min(ends), max(ends), 6, 214), "rows": worst}


def _reliability(figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """Points of the reliability diagram: their area grows with the number of answers."""
    calibration = figures.get("calibration")
    if calibration is None:
        return None
    x, y = Scale(0, 1, 52, 348), Scale(0, 1, 304, 8)
    series = {}
    for name in ("bins", "bins_scaled"):
        series[name] = [
            {**one, "x": x(one["confidence"]), "y": y(one["accuracy"]), "r": round(2 + 12 * math.sqrt(share), 2)}
            for one in calibration[name]
            for share in [one["n"] / figures["n"]]
        ]
    return {"x": x, "y": y, **series}
