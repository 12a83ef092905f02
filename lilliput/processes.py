"""The processes of one command: which of them this is, and how they agree.

``torchrun`` and ``accelerate launch`` start the same command several times and number its processes through the
environment. All of them do the same work on other rows; the main one alone writes files and speaks. Of a command
started once everything here is true at no cost, and torch is not even loaded.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from lilliput.errors import PeerError

T = TypeVar("T")

PATIENCE = timedelta(hours=6)
"""How long processes wait for each other: the main one may have a corpus to read."""

_FIRST = "lilliput/failed"
"""Key of the store that all processes share: the one that failed first."""


def count() -> int:
    """How many processes work on this command, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def local_rank() -> int:
    """The number of this process among those of its machine: also that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if count() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return rank() == 0


def on_main(function: Callable[[], T]) -> T:
    """What ``function`` returns in the main process, in every process; the others wait for it.

    Raises:
        PeerError: in the other processes, when it fails in the main one.
    """
    if count() == 1:
        return function()
    distributed = _group()
    value: Any = None
    failure: Exception | None = None
    if is_main():
        try:
            value = function()
        except Exception as error:
            failure = error
    outcome = [value, None if failure is None else f"the main process failed: {failure}"]
    distributed.broadcast_object_list(outcome, src=0, device=_cpu())
    if failure is not None:
        raise failure
    if outcome[1] is not None:
        raise PeerError(outcome[1])
    return outcome[0]


def gather(value: T) -> list[T]:
    """The values of all processes, by rank; returns once all of them have come here."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    _group().all_gather_object(values, value)
    return values


def in_any(flag: bool) -> bool:
    """Whether ``flag`` is set in any process; cheap enough for every step."""
    if count() == 1:
        return flag
    import torch

    distributed = _group()
    flags = torch.tensor([flag], dtype=torch.int32)
    distributed.all_reduce(flags, op=distributed.ReduceOp.MAX)
    return bool(flags)


def tells(error: Exception) -> bool:
    """Whether this process is the one to tell of ``error``: the first that failed is.

    What fails after it fails for want of its answers, or for the very same reason.
    """
    if count() == 1:
        return True
    if isinstance(error, PeerError):
        return False
    try:
        return _store().compare_set(_FIRST, "", str(rank())) == str(rank()).encode()
    except RuntimeError:  # the store is gone, with the process that kept it
        return is_main()


@functools.cache
def _store() -> Any:
    """The key-value store that the launcher, or else the main process, keeps for all."""
    from torch.distributed.rendezvous import rendezvous

    return next(iter(rendezvous("env://")))[0]


def _group() -> Any:
    """``torch.distributed``, its group of processes made: gloo between CPUs, NCCL between GPUs.

    Trainer and accelerate would make one too, but only when training begins.
    """
    import torch
    import torch.distributed as distributed

    if not distributed.is_initialized():
        has_gpu = torch.cuda.device_count() > local_rank()
        if has_gpu:
            torch.cuda.set_device(local_rank())
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if has_gpu else "gloo",
            store=_store(),
            rank=rank(),
            world_size=count(),
            timeout=PATIENCE,
        )
        atexit.register(distributed.destroy_process_group)  # its threads must not outlive the interpreter
    return distributed


def _cpu() -> Any:
    import torch

    return torch.device("cpu")
