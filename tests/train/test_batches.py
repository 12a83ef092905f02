"""The batches of each process: every row once an epoch, in an order that seed and epoch decide."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput.errors import DataError
from lilliput.train.batches import LengthGroupedBatches, RepeatableCollate


def batches_of(lengths, batch_size, seed=0, epoch=0, rank=0, count=1):
    batches = LengthGroupedBatches(lengths, batch_size, seed, rank, count)
    batches.set_epoch(epoch)
    found = list(batches)
    assert len(batches) == len(found)
    return found


def test_the_order_depends_on_seed_and_epoch_alone():
    lengths = [(7 * i) % 50 + 1 for i in range(103)]
    torch.manual_seed(0)
    first = batches_of(lengths, 8, seed=3, epoch=1)
    state = torch.get_rng_state()
    torch.manual_seed(99)
    assert batches_of(lengths, 8, seed=3, epoch=1) == first
    torch.set_rng_state(state)
    assert batches_of(lengths, 8, seed=3, epoch=2) != first
    assert batches_of(lengths, 8, seed=4, epoch=1) != first
    # The generator of dropout is not touched.
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 64, 103])
def test_every_row_comes_once_and_the_last_batch_is_the_short_one(rows):
    lengths = [(7 * i) % 50 + 1 for i in range(rows)]
    found = batches_of(lengths, 8)
    assert sorted(row for batch in found for row in batch) == list(range(rows))
    assert [len(batch) for batch in found] == [8] * (rows // 8) + [rows % 8] * (rows % 8 > 0)


@pytest.mark.parametrize("count", [1, 2])
def test_texts_of_like_length_are_together(count):
    lengths = [(7 * i) % 50 + 1 for i in range(103)]

    def padded(batches):
        return sum(max(lengths[row] for row in batch) * len(batch) for batch in batches)

    grouped = sum(padded(batches_of(lengths, 8, rank=rank, count=count)) for rank in range(count))
    assert grouped < 0.8 * padded([range(103)[start : start + 8] for start in range(0, 103, 8)])


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(1, 7))
def test_processes_share_the_rows_of_every_step(data, count, batch_size):
    rows = data.draw(st.integers(count, 150))
    lengths = data.draw(st.lists(st.integers(1, 60), min_size=rows, max_size=rows))
    shares = [batches_of(lengths, batch_size, 1, 2, rank, count) for rank in range(count)]
    steps = len(shares[0])
    assert all(len(share) == steps for share in shares)
    assert sorted(row for share in shares for batch in share for row in batch) == list(range(rows))
    sizes = [[len(share[step]) for share in shares] for step in range(steps)]
    assert all(min(step) >= 1 and max(step) - min(step) <= 1 for step in sizes)
    assert all(step == [batch_size] * count for step in sizes[:-1])
    # What is left over is shared out, or joins the step before where there are fewer rows than processes.
    left = rows % (batch_size * count)
    assert sum(sizes[-1]) == (left if left >= count else batch_size * count + left)


def test_the_seed_is_the_same_for_all_processes_and_the_steps_are_those_of_one_with_larger_batches():
    lengths = [(7 * i) % 50 + 1 for i in range(64)]
    shares = [batches_of(lengths, 4, 5, 1, rank, 2) for rank in (0, 1)]
    assert [one + other for one, other in zip(*shares, strict=True)] == batches_of(lengths, 8, 5, 1)


def test_fewer_rows_than_processes_are_an_error():
    with pytest.raises(DataError, match="2 training rows can't be shared by 3 processes; start fewer"):
        LengthGroupedBatches([1, 2], 8, 0, 0, 3)


# --- collating -------------------------------------------------------------------------------------------------------


def collate(rows):
    return {"drawn": torch.rand(len(rows))}


def test_what_collating_draws_depends_on_seed_epoch_and_rows_alone():
    def draw(rows, seed=0, epoch=0):
        batches = LengthGroupedBatches([1] * 9, 2, seed)
        batches.set_epoch(epoch)
        return RepeatableCollate(collate, batches)([{"row": row} for row in rows])["drawn"].tolist()

    torch.manual_seed(0)
    first = draw([3, 4])
    state = torch.get_rng_state()
    torch.manual_seed(1)
    assert draw([3, 4]) == first
    torch.set_rng_state(state)
    assert draw([5, 4]) != first
    assert draw([3, 4], seed=1) != first
    assert draw([3, 4], epoch=1) != first
    assert draw([3, 4], seed=2**31 - 1, epoch=999) != first
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_keeps_the_numbers_of_its_rows():
    batch = RepeatableCollate(collate, LengthGroupedBatches([1] * 9, 2, 0))([{"row": 7}, {"row": 2}])
    assert batch["row"].tolist() == [7, 2]
