"""Which rows each process reads at each step: all of them once an epoch, in an order that seed and epoch decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.trainer_pt_utils import get_length_grouped_indices

from lilliput.errors import DataError

Collate = Callable[[list[dict[str, Any]]], dict[str, Tensor]]
"""Makes a batch of rows."""


class LengthGroupedBatches(torch.utils.data.Sampler[list[int]]):
    """The batches of one process: rows shuffled, then grouped by like length.

    Transformers' own sampler draws from the global generator, so that a resumed epoch would see another order than the
    one it was interrupted in; and accelerate would give some rows to two processes to make all batches equal. Here all
    processes share each step's rows between them and nobody reads a row twice: the last step's rows are fewer for
    each, and where fewer rows are left than processes, the step before takes them in.

    Args:
        lengths: of all rows, in tokens.
        batch_size: rows that one process reads in a step.
        rank, count: this process, and how many there are.

    Raises:
        DataError: there are fewer rows than processes.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, rank: int = 0, count: int = 1) -> None:
        if len(lengths) < count:
            raise DataError(f"{len(lengths)} training rows can't be shared by {count} processes; start fewer")
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.count = count
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        full, left = divmod(len(self.lengths), self.batch_size * self.count)
        return full + (left >= self.count)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        together = self.batch_size * self.count
        grouped = get_length_grouped_indices(self.lengths, together, generator=generator)
        # Grouping leaves the longest texts in the first steps of every block; the steps are shuffled once more.
        steps = [grouped[i : i + together] for i in range(0, len(grouped), together)]
        rest = steps.pop() if len(steps[-1]) < together else []
        steps = [steps[i] for i in torch.randperm(len(steps), generator=generator).tolist()]
        shares = [self._share(step) for step in steps]
        if len(rest) >= self.count:
            shares.append(self._share(rest))
        elif self.rank < len(rest):
            shares[-1].append(rest[self.rank])
        return iter(shares)

    def _share(self, step: list[int]) -> list[int]:
        """This process's rows of a step, as even as can be: the first processes take one more."""
        each, more = divmod(len(step), self.count)
        start = self.rank * each + min(self.rank, more)
        return step[start : start + each + (self.rank < more)]


class RepeatableCollate:
    """Collates as ``collate`` does, and keeps the rows' numbers as ``row``.

    What ``collate`` draws from torch's generator (masks, for example) depends on the seed, the epoch and the rows
    alone: batches are made ahead of the step that reads them, so that a resumed run could not draw the same otherwise.
    """

    def __init__(self, collate: Collate, batches: LengthGroupedBatches) -> None:
        self.collate = collate
        self.batches = batches

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """A batch, with ``row`` ``[B]``."""
        numbers = torch.tensor([row["row"] for row in rows])
        state = torch.get_rng_state()
        seed = (self.batches.seed * 1_000_003 + self.batches.epoch) * 1_000_003 + int(numbers[0])
        # Not torch.manual_seed, which would seed the GPUs' generators as well.
        torch.default_generator.manual_seed(seed % 2**63)
        try:
            return {**self.collate(rows), "row": numbers}
        finally:
            torch.set_rng_state(state)
