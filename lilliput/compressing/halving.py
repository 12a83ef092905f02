"""Successive halving: of the candidates on a rung, which go on to the next, dearer one.

There are two objectives, accuracy and latency, and what is looked for is their whole frontier. So candidates compete
with those about as fast as they are: in each band of latency the better half goes on, unless a faster candidate is
better by more than chance explains, for then it can't come to lie on the frontier.

References: Jamieson & Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016; Li et
al., "Hyperband", 2018, section 3; Schmucker et al., "Multi-objective Asynchronous Successive Halving", 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

KEEP = 0.5
"""Share of the candidates of a band that go on, rounded up."""

WIDTH = 1.5
"""Factor of speed that a band spans."""


@dataclass(frozen=True)
class Scored:
    """A candidate on a rung: ``score`` is None where this rung says nothing of it, and it goes on then."""

    trial: int
    speedup: float
    score: float | None


def band(speedup: float, width: float = WIDTH) -> int:
    """The band of a speedup: 0 from 1 up to ``width``, 1 up to its square, and so on; below 1 it is negative."""
    return math.floor(math.log(speedup) / math.log(width) + 1e-9)  # rounding must not move a power of the width


def survivors(candidates: Sequence[Scored], *, keep: float = KEEP, noise: float = 0.0) -> list[int]:
    """The trials that go on, by number.

    Args:
        candidates: all that reached the rung, of earlier rounds too.
        noise: difference of scores that chance explains.
    """
    scored = [one for one in candidates if one.score is not None]
    bands: dict[int, list[Scored]] = {}
    for one in scored:
        bands.setdefault(band(one.speedup), []).append(one)
    kept = [one.trial for one in candidates if one.score is None]
    for some in bands.values():
        some.sort(key=lambda one: (-_score(one), -one.speedup, one.trial))
        for one in some[: math.ceil(keep * len(some))]:
            if not any(_score(other) > _score(one) + noise and other.speedup >= one.speedup for other in scored):
                kept.append(one.trial)
    return sorted(kept)


def noise_of(score: float, items: int) -> float:
    """Standard error of the difference of two accuracies of about ``score`` on ``items`` texts each."""
    share = min(max(score, 0.0), 1.0)
    return math.sqrt(2 * share * (1 - share) / max(1, items))


def _score(one: Scored) -> float:
    return -math.inf if one.score is None else one.score
