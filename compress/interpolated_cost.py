"""Costs at a hidden size between two that are known."""

from __future__ import annotations

from dataclasses import dataclass

from lilliput.compress.cost import Cost


@dataclass(frozen=True)
class InterpolatedCost(Cost):
    """On the straight line between ``below``, at ``share`` 0, and ``above``, at 1, and beyond them.

    Parts are not below 0, but for `block`: it is what a measured block takes less its heads and its neurons, and where
    those share work it may be less than nothing.
    """

    below: Cost
    above: Cost
    share: float

    @property
    def unit(self) -> str:
        """That of both."""
        return self.below.unit

    def attention(self, heads: int, last: bool) -> float:
        """See `Cost`."""
        return self._between(self.below.attention(heads, last), self.above.attention(heads, last))

    def feed_forward(self, neurons: int, last: bool) -> float:
        """See `Cost`."""
        return self._between(self.below.feed_forward(neurons, last), self.above.feed_forward(neurons, last))

    def block(self, last: bool) -> float:
        """See `Cost`."""
        return (1 - self.share) * self.below.block(last) + self.share * self.above.block(last)

    def rest(self) -> float:
        """See `Cost`."""
        return self._between(self.below.rest(), self.above.rest())

    def _between(self, below: float, above: float) -> float:
        return max(0.0, (1 - self.share) * below + self.share * above)
