"""Work on several items at a time, in threads, as a plain loop would do it."""

from __future__ import annotations

import threading
from collections.abc import Callable


def for_each(count: int, workers: int, work: Callable[[int], None]) -> None:
    """Call ``work(0) ... work(count - 1)`` in up to ``workers`` threads, the caller's among them.

    Indices are handed out in order and a failure stops the handing out, so the error raised is that of the lowest
    failing index, as in a plain loop. No queue of tasks: memory does not grow with ``count``.
    """
    if workers == 1 or count < 2:
        for index in range(count):
            work(index)
        return
    indices = iter(range(count))
    failures: list[tuple[int, BaseException]] = []
    hand_out = threading.Lock()
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            with hand_out:
                index = next(indices, None)
            if index is None:
                return
            try:
                work(index)
            except KeyboardInterrupt:  # reaches the caller's thread only
                raise
            except BaseException as error:
                failures.append((index, error))
                stop.set()

    helpers = [threading.Thread(target=loop, name="lilliput", daemon=True) for _ in range(min(workers, count) - 1)]
    try:
        for helper in helpers:
            helper.start()
        loop()
    finally:
        stop.set()  # also when Ctrl-C lands here: helpers end with the text at hand
        for helper in helpers:
            if helper.ident is not None:
                helper.join()
    if failures:
        raise min(failures, key=lambda failure: failure[0])[1]
