"""Whether training computes matrix products in bfloat16: where this machine is faster at it, by measurement.

A processor that lists bfloat16 instructions need not be: without AMX some Intel ones take twice as long as in float32,
while AMD's Zen 4 takes half the time.
"""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from lilliput import processes
from lilliput.machine import cpu
from lilliput.runs import write_json

SHAPE = (512, 384, 1536)
"""Rows, inputs and outputs of the product that is timed: a feed-forward layer of a small encoder on a batch."""
REPEATS = 5
WORTHWHILE = 0.8
"""Share of float32's time that bfloat16 may take: the casts around every product cost some too."""


def bf16_is_fast(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32 on this machine.

    Of processors that have the instructions both are timed once a process, which takes some 50 ms.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return _cpu_is_faster()


def autocasts(device: torch.device, folder: Path) -> bool:
    """What `bf16_is_fast` said when the training in ``folder`` began: a resumed run must compute as before."""

    def decide() -> bool:
        record = folder / "precision.json"
        if record.exists():
            return bool(json.loads(record.read_text(encoding="utf-8"))["bf16"])
        fast = bf16_is_fast(device)
        write_json(record, {"bf16": fast})
        return fast

    return processes.on_main(decide)


@functools.cache
def _cpu_is_faster() -> bool:
    processor = cpu()
    if not (processor.has("BF16") or processor.has("AMX-BF16")):
        return False
    return _seconds(torch.bfloat16) < WORTHWHILE * _seconds(torch.float32)


def _seconds(kind: torch.dtype) -> float:
    """The shortest of a few products, so that a burst of other work counts for nothing."""
    rows, inputs, outputs = SHAPE
    left, weights = torch.ones(rows, inputs, dtype=kind), torch.ones(outputs, inputs, dtype=kind)
    taken = []
    for _ in range(REPEATS + 2):  # the first ones also set things up
        began = time.perf_counter()
        F.linear(left, weights)
        taken.append(time.perf_counter() - began)
    return min(taken[2:])
