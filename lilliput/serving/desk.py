"""Who waits, who is answered, who is sent away: admission in front of a model.

Answers come from a crew (see `lilliput.serving.crew`), each of which has one request's texts at a time. A request is
admitted when its texts fit the queue, and when at the pace of late the queue will have come to it before its deadline;
else it is refused at once, which costs nothing, where a request that is given up later has cost others their time.
Requests are answered in the order in which they came.

A queue is there for bursts. Where texts have waited without a break for `STANDING` seconds, more come than can be
answered, and waiting only makes everybody late: until there is a break as long, no more texts are admitted than at the
pace of late are worked on within ``delay`` seconds. So those that are answered under overload are answered almost as
fast as ever.

Reference: Nichols & Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012, on good and standing queues.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from lilliput.serving.crew import Crew, Done, Late

STANDING = 0.1
"""Seconds after which a queue is no burst any more, or its end no accident."""

DELAY = 0.005

AHEAD = 1
"""Texts a worker that may wait in a standing queue, however slow they are: a worker must not be idle."""

PACE = 0.05
"""Weight of the latest text in the running mean of how long one takes."""


class Refused(Exception):
    """The queue is full, or the deadline can't be met; ``retry_after`` is a guess in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many requests")
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """What a reply says of it."""
        return {"Retry-After": str(math.ceil(self.retry_after))}


class Closed(Exception):
    """The server is about to stop."""


class Desk:
    """Admits requests, and has them answered.

    Args:
        crew: those who answer.
        queue: texts that may wait or be worked on.
        timeout: seconds from arrival to answer.
        delay: seconds that a text may wait in a queue that has been standing.
    """

    def __init__(
        self,
        crew: Crew,
        *,
        queue: int,
        timeout: float,
        delay: float = DELAY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._crew, self._workers = crew, crew.workers
        self._queue, self._timeout, self._delay, self._clock = queue, timeout, delay, clock
        self.waiting = 0  # texts admitted and not answered
        self.requests = 0  # the same of requests
        self.inside = 0  # requests that were let in and have no reply
        self.seconds_a_text = 0.0  # a running mean
        self.standing = False  # whether the queue is no burst
        self._since = clock()  # when texts began to wait, or the last time ceased to
        self._busy = False  # whether texts wait for a worker
        self.closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def ask(self, inputs: Sequence[Any], options: dict[str, Any]) -> list[Any]:
        """The answers to a request's inputs.

        Raises:
            Refused, Closed, Late: there is no answer.
            Exception: what the crew raises.
        """
        if self.closed:
            raise Closed
        self._admit(len(inputs), self.waiting)
        deadline = self._clock() + self._timeout
        self.waiting += len(inputs)
        self.requests += 1
        self._look()
        self._idle.clear()
        job = asyncio.wrap_future(self._crew.submit(inputs, options, deadline))
        job.add_done_callback(lambda done: self._finished(len(inputs), done))
        try:
            # The work goes on where the deadline passes: it can't be stopped, and its texts still count as waiting.
            found, _ = await asyncio.wait_for(asyncio.shield(job), self._timeout)
            return found
        except TimeoutError:
            raise Late from None

    def enter(self) -> None:
        """Let a request in whose texts are not read yet, or refuse it; `leave` must follow when it is answered.

        A server that is slower at reading requests than the model is at answering them has its queue here.

        Raises:
            Refused: the queue is full, has been standing, or would not come to it in time.
        """
        self._admit(1, max(self.waiting, self.inside))
        self.inside += 1
        self._look()

    def leave(self) -> None:
        """A request that was let in has its reply."""
        self._look()
        self.inside -= 1
        self._look()

    def _admit(self, count: int, there: int) -> None:
        """Refuse ``count`` texts where ``there`` are before them; whoever is alone is always admitted."""
        self._look()
        wait = there * self.seconds_a_text / self._workers
        own = count * self.seconds_a_text
        room = min(self._queue, self._short()) if self.standing else self._queue
        if there and (there + count > room or wait + own > self._timeout):
            raise Refused(max(0.1, wait))

    def _short(self) -> float:
        """Texts that may be there where the queue has been standing."""
        soon = self._delay / self.seconds_a_text if self.seconds_a_text else 0.0
        return self._workers * (1 + max(AHEAD, soon))

    def _look(self) -> None:
        """Note whether texts wait, and whether they have for long."""
        now, busy = self._clock(), max(self.waiting, self.inside) > self._workers
        if busy == self._busy:
            if now - self._since > STANDING:
                self.standing = busy
        else:
            self._busy, self._since = busy, now

    def _finished(self, count: int, done: asyncio.Future[Done]) -> None:
        if not done.cancelled() and not done.exception():  # that was given to the caller, if there still is one
            taken, mean = done.result()[1] / max(1, count), self.seconds_a_text
            self.seconds_a_text = taken if not mean else (1 - PACE) * mean + PACE * taken
        self._look()
        self.waiting -= count
        self.requests -= 1
        self._look()
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
            self._crew.stop()
        return True
