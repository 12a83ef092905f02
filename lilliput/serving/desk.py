"""Who waits, who is answered, who is sent away: admission in front of a model.

Answers come from a few threads, each with one request's texts at a time. A request is admitted when its texts fit the
queue, and when at the pace of late the queue will have come to it before its deadline; else it is refused at once,
which costs nothing, where a request that is given up later has cost others their time. Requests are answered in the
order in which they came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PACE = 0.05
"""Weight of the latest text in the running mean of how long one takes."""


class Refused(Exception):
    """The queue is full, or the deadline can't be met; ``retry_after`` is a guess in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many requests")
        self.retry_after = retry_after


class Closed(Exception):
    """The server is about to stop."""


class Late(Exception):
    """The deadline came before the answer."""


class Desk:
    """Admits requests, and has them answered in threads.

    Args:
        answer: answers some inputs of one request, all with the same options; it is given a function that says whether
            to go on, for between two of them.
        workers: requests that are answered at a time.
        queue: texts that may wait or be worked on.
        timeout: seconds from arrival to answer.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Any], dict[str, Any], Callable[[], bool]], list[Any]],
        *,
        workers: int,
        queue: int,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answer = answer
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="lilliput-serve")
        self._workers, self._queue, self._timeout, self._clock = workers, queue, timeout, clock
        self.waiting = 0  # texts admitted and not answered
        self.requests = 0  # the same of requests
        self.seconds_a_text = 0.0  # a running mean
        self.closed = False
        self._over = False  # nobody waits for anything any more
        self._idle = asyncio.Event()
        self._idle.set()

    async def ask(self, inputs: Sequence[Any], options: dict[str, Any]) -> list[Any]:
        """The answers to a request's inputs.

        Raises:
            Refused, Closed, Late: there is no answer.
            Exception: what ``answer`` raises.
        """
        if self.closed:
            raise Closed
        wait = self.waiting * self.seconds_a_text / self._workers
        own = len(inputs) * self.seconds_a_text
        full = self.waiting + len(inputs) > self._queue and self.waiting > 0
        if full or (self.waiting and wait + own > self._timeout):
            raise Refused(max(0.1, wait))
        deadline = self._clock() + self._timeout
        self.waiting += len(inputs)
        self.requests += 1
        self._idle.clear()
        job = asyncio.get_running_loop().run_in_executor(self._pool, self._work, inputs, options, deadline)
        job.add_done_callback(lambda done: self._finished(len(inputs), done))
        try:
            # The thread goes on where the deadline passes: it can't be stopped, and its texts still count as waiting.
            return await asyncio.wait_for(asyncio.shield(job), self._timeout)
        except TimeoutError:
            raise Late from None

    def _work(self, inputs: Sequence[Any], options: dict[str, Any], deadline: float) -> list[Any]:
        start = self._clock()
        if start > deadline:  # nobody waits for it any more
            raise Late
        answers = self._answer(inputs, options, lambda: self._clock() <= deadline and not self._over)
        taken = (self._clock() - start) / max(1, len(inputs))
        mean = self.seconds_a_text
        self.seconds_a_text = taken if not mean else (1 - PACE) * mean + PACE * taken
        return answers

    def _finished(self, count: int, done: asyncio.Future[list[Any]]) -> None:
        if not done.cancelled():
            done.exception()  # it was given to the caller, if there still is one
        self.waiting -= count
        self.requests -= 1
        if not self.requests:
            self._idle.set()

    async def drain(self, seconds: float) -> bool:
        """Admit nobody any more, and wait for those that were; whether all were answered in time."""
        self.closed = True
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        finally:
            self._over = True
            self._pool.shutdown(wait=False, cancel_futures=True)
        return True
