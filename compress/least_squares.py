"""Least squares for a linear layer from sums over rows, so that no row has to be kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Strengths of the pull towards the weights that there are, of which the best is chosen on held-out texts."""

HELD_OUT = 5
"""Every fifth text is held out to choose the strength."""


class Sums:
    """The sums that the correction of a linear layer ``W x + b`` by least squares needs.

    Equation:
        (D, d) = argmin  sum_t w_t |r_t - D x_t - d|^2 + lambda |D|^2,     lambda = ridge * tr(C) / n,

    with x the layer's inputs, ``r_t = y_t - W x_t - b`` what its outputs lack of the targets y, and C the covariance
    matrix of x times the sum of weights. The bias is free. A layer that lacks nothing is not changed at all.

    Args:
        inputs: n.
        outputs: of the layer.
    """

    def __init__(self, inputs: int, outputs: int, device: torch.device | str = "cpu") -> None:
        self.gram = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64, device=device)
        self.cross = torch.zeros(inputs + 1, outputs, dtype=torch.float64, device=device)
        self.energy = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, features: Tensor, residuals: Tensor, weights: Tensor) -> None:
        """Add rows: features ``[N, n]``, residuals ``[N, outputs]``, weights ``[N]``."""
        augmented = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
        weighted = augmented * weights[:, None]
        self.gram += weighted.T @ augmented
        self.cross += weighted.T @ residuals
        self.energy += (residuals.square() * weights[:, None]).sum()

    def __add__(self, other: Sums) -> Sums:
        both = Sums(0, 0, self.gram.device)
        both.gram, both.cross, both.energy = (
            self.gram + other.gram,
            self.cross + other.cross,
            self.energy + other.energy,
        )
        return both

    def correction(self, ridge: float) -> Tensor:
        """``[n + 1, outputs]`` in float64: D transposed, and d in the last row.

        Rows in single precision leave rounding errors in the sums. A ridge that does not stand out from those is raised
        tenfold until it does.
        """
        count = self.gram[-1, -1]
        if not count > 0:
            return torch.zeros_like(self.cross)
        mean, residual = self.gram[-1, :-1] / count, self.cross[-1] / count
        covariance = self.gram[:-1, :-1] - count * torch.outer(mean, mean)
        spread = covariance.trace()
        ridge = max(ridge, 1e-14)
        if not spread > 0 or math.isinf(ridge):  # no input varies, there is none, or none may be used
            return torch.cat([torch.zeros_like(self.cross[:-1]), residual[None]])
        penalty = ridge * spread / len(mean)
        factor, failed = torch.linalg.cholesky_ex(covariance + penalty * torch.eye(len(mean)).to(covariance))
        if failed:
            return self.correction(10 * ridge)
        weight = torch.cholesky_solve(self.cross[:-1] - count * torch.outer(mean, residual), factor)
        return torch.cat([weight, (residual - mean @ weight)[None]])

    def error(self, correction: Tensor) -> float:
        """``sum_t w_t |r_t - D x_t - d|^2`` of these rows."""
        squares = (correction * (self.gram @ correction)).sum() - 2 * (correction * self.cross).sum()
        return float(self.energy + squares)


class HeldOutSums:
    """:class:`Sums` of two parts of the texts, so that the strength of the pull can be chosen."""

    def __init__(self, inputs: int, outputs: int, device: torch.device | str = "cpu") -> None:
        self.fitted, self.held = Sums(inputs, outputs, device), Sums(inputs, outputs, device)
        self.texts = 0

    def add(self, features: Tensor, residuals: Tensor, weights: Tensor) -> None:
        """Add texts: features ``[B, T, n]``, residuals ``[B, T, outputs]``, weights ``[B, T]``; 0 leaves a row out."""
        number = torch.arange(self.texts, self.texts + len(features), device=features.device)[:, None]
        held = (number % HELD_OUT == HELD_OUT - 1).expand_as(weights)
        self.texts += len(features)
        for sums, chosen in ((self.fitted, ~held), (self.held, held)):
            rows = chosen & (weights > 0)
            sums.add(features[rows], residuals[rows], weights[rows])

    def correction(self, ridges: Sequence[float]) -> Tensor:
        """That of all texts with the strength that is best on held-out ones, ``[n + 1, outputs]``.

        Of several strengths each is tried on the texts that are not held out; none at all, with only the bias
        corrected, is one more. The strongest pull wins among equals. A single strength is taken as it is, and
        with fewer than five texts the strongest one.
        """
        everything = self.fitted + self.held
        if len(ridges) == 1 or self.texts < HELD_OUT:
            return everything.correction(max(ridges))
        tried = {ridge: self.held.error(self.fitted.correction(ridge)) for ridge in (*ridges, float("inf"))}
        return everything.correction(min(sorted(tried, reverse=True), key=lambda ridge: tried[ridge]))
