"""Peak memory of this process and its children."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from types import TracebackType

import psutil

INTERVAL = 0.5


class PeakMemory:
    """Samples resident memory of the process tree every half second while it is entered.

    ``bytes`` is the largest sum seen. Pages that processes share count once for each; a peak between two samples is
    missed.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while True:
            self.bytes = max(self.bytes, sum(map(_resident, [me, *me.children(recursive=True)])))
            if self._stop.wait(INTERVAL):
                return


def release() -> None:
    """Give memory that was freed back to the system; glibc keeps it for the process otherwise."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended meanwhile
        return 0
