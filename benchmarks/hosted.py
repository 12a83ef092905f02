"""What a worker does for scenarios, beside single texts: texts together, arrivals of a server, its memory.

Imported inside the worker when the first such request comes, so that it weighs on no other figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lilliput import timing
from lilliput.manifest import Manifest

if TYPE_CHECKING:
    from lilliput.benchmarks.peers import Peer

Many = Callable[[list[str]], NDArray[np.float64]]
SPIN_NS = 300_000
"""The last part of a wait is spent looking at the clock: sleeping is only as exact as the system's timer."""


class Hosted:
    """A worker's model, asked as scenarios ask."""

    def __init__(self, peer: Peer, spec: Mapping[str, Any]) -> None:
        self._peer, self._spec = peer, spec
        self._together: Many | None = None
        self._opened = False
        self.actions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "batching": self.batching,
            "sized": self.sized,
            "serve": self.serve,
            "memory": self.memory,
        }

    def batching(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Whether texts may go through the graph together, and why not."""
        return {"together": self._many() is not None, "why": self._why}

    def sized(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer texts, the short ones first, ``size`` at a time; nanoseconds of all and of each call.

        A size of 1 is a single text after the other, and null the list call, in which the model does as it likes.
        """
        texts, size = request["texts"], request["size"]
        start = timing.clock()
        order = list(range(len(texts))) if size in (None, 1) else sorted(range(len(texts)), key=lambda i: len(texts[i]))
        pieces = [order[at : at + (size or len(order))] for at in range(0, len(order), size or len(order) or 1)]
        answers, calls = [0] * len(texts), []
        for piece in pieces:
            begun = timing.clock()
            found = self._answer([texts[index] for index in piece], size).argmax(axis=1)
            calls.append(timing.clock() - begun)
            for index, label in zip(piece, found.tolist(), strict=True):
                answers[index] = label
        return {"ns": timing.clock() - start, "calls": calls, "answers": answers}

    def serve(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer texts that come at given times, in the order in which they come; nanoseconds from when each was due.

        Of those that have come, up to ``most`` are answered together. ``busy_ns`` is the time spent answering.
        """
        texts, due, most = request["texts"], request["due_ns"], request["most"]
        latencies, calls, busy, done = [], 0, 0, 0
        start = timing.clock()
        while done < len(texts):
            _wait_until(start + due[done])
            begun, end = timing.clock(), done + 1
            while end < len(texts) and end - done < most and start + due[end] <= begun:
                end += 1
            self._answer(texts[done:end], most if end - done > 1 else 1)
            finished = timing.clock()
            latencies += [finished - start - at for at in due[done:end]]
            busy, calls, done = busy + finished - begun, calls + 1, end
        return {"ns": latencies, "calls": calls, "busy_ns": busy, "total_ns": timing.clock() - start}

    def memory(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Bytes that the process holds resident now, and held at most; null where the system does not say."""
        from lilliput.benchmarks.worker import peak_memory

        return {"rss_bytes": resident(), "peak_bytes": peak_memory()}

    def _answer(self, texts: list[str], size: int | None) -> NDArray[np.float64]:
        """Probabilities [n, labels]."""
        if len(texts) == 1 and size == 1:
            return np.asarray(self._peer.one(texts[0]))[None]
        together = self._many() if size is not None else None
        return together(texts) if together else np.asarray(self._peer.batch(texts))

    def _many(self) -> Many | None:
        """How texts go through the graph together; None where they may not, or the model only knows its list call."""
        if not self._opened:
            self._opened = True
            self._together, self._why = _together(self._peer, self._spec)
        return self._together


def _together(peer: Peer, spec: Mapping[str, Any]) -> tuple[Many | None, str | None]:
    options = spec["options"]
    if "bundle" not in options:
        return (lambda texts: np.asarray(peer.batch(texts))), None
    from lilliput import runtime

    model = runtime.load(
        options["bundle"],
        precision=options.get("precision"),
        threads=spec["threads"],
        workers=1,
        providers=options.get("provider", "cpu"),
    )
    if is_dynamic(model.manifest, model.precision):
        return None, "dynamic int8: a text's answer would depend on the others, so each is run alone"

    def answer(texts: list[str]) -> NDArray[np.float64]:
        logits = np.stack(model.together([windows[0] for windows in model.windows(texts)]))  # [n, labels]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
        probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    return answer, None


def is_dynamic(manifest: Manifest, precision: str) -> bool:
    """Whether a bundle's graph takes scales of activations from the texts that it is given."""
    return any(name.startswith("DynamicQuantize") for name in manifest.graphs[precision]["operators"])


def resident() -> int | None:
    """Bytes that this process holds resident; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    import resource

    return pages * resource.getpagesize()


def _wait_until(moment: int) -> None:
    while (left := moment - timing.clock()) > 0:
        if left > SPIN_NS:
            time.sleep((left - SPIN_NS) / timing.NS_PER_S)
