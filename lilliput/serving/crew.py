"""Who answers: threads of this process, or processes of their own.

Threads share a model, and share Python's one interpreter lock with the event loop: each of its system calls then waits
for whoever computes. A server of its own has processes, so that requests are read, and refused, while models compute.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Protocol

from lilliput import runtime
from lilliput.errors import ConfigError, InputError, LilliputError
from lilliput.runtime import RESERVED, Model

Clock = Callable[[], float]
Answer = Callable[[Sequence[Any], dict[str, Any], Callable[[], bool]], list[Any]]
Done = tuple[list[Any], float]
"""The answers to a request, and the seconds that they took."""


class Late(Exception):
    """The deadline came before the answer."""


class Crew(Protocol):
    """Those who answer requests, ``workers`` at a time, in the order in which they are submitted."""

    workers: int

    def submit(self, inputs: Sequence[Any], options: dict[str, Any], deadline: float) -> Future[Done]:
        """Have a request answered; what is not answered at ``deadline``, by the monotonic clock, is `Late`."""

    def stop(self) -> None:
        """Answer nothing more: nobody waits for it."""


class Threads:
    """A crew of threads.

    Args:
        answer: answers some inputs of one request, all with the same options; it is given a function that says whether
            to go on, for between two of them.
    """

    def __init__(self, answer: Answer, workers: int, clock: Clock = time.monotonic) -> None:
        self.workers, self._answer, self._clock = workers, answer, clock
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="lilliput-serve")
        self._over = False

    def submit(self, inputs: Sequence[Any], options: dict[str, Any], deadline: float) -> Future[Done]:
        """As of `Crew`."""
        return self._pool.submit(self._work, inputs, options, deadline)

    def stop(self) -> None:
        """As of `Crew`."""
        self._over = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, inputs: Sequence[Any], options: dict[str, Any], deadline: float) -> Done:
        def go_on() -> bool:
            return self._clock() <= deadline and not self._over

        return timed(self._answer, inputs, options, go_on, self._clock)


class Processes:
    """A crew of processes, each with a model of its own; they end with this one, however that ends.

    Args:
        settings: of :func:`lilliput.runtime.load`; each process answers one request at a time.
    """

    def __init__(self, settings: Mapping[str, Any], workers: int) -> None:
        self.workers = workers
        # Spawned, not forked: a copy of a process that has threads may hold locks that nobody releases.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, context, _begin, ({**settings, "workers": 1},))
        self._ending: threading.Thread | None = None

    def start(self) -> None:
        """Wait until all have their model.

        Raises:
            LilliputError: one ended.
        """
        # Each process takes one of these, since the others are asleep.
        try:
            for ready in [self._pool.submit(time.sleep, 0.2) for _ in range(self.workers)]:
                ready.result()
        except BrokenExecutor:
            raise LilliputError(
                f"a process of the server ended as it began: is there memory for {self.workers} models? Give fewer "
                "--workers"
            ) from None

    def submit(self, inputs: Sequence[Any], options: dict[str, Any], deadline: float) -> Future[Done]:
        """As of `Crew`."""
        return self._pool.submit(_work, inputs, options, deadline)

    def stop(self) -> None:
        """As of `Crew`."""
        if self._ending is None:
            # A pool that was told to end without waiting can't be waited for afterwards, and where Python itself ends
            # meanwhile the two meet at a pipe that is closed already.
            end = functools.partial(self._pool.shutdown, wait=True, cancel_futures=True)
            self._ending = threading.Thread(target=end, name="lilliput-serve-end")
            self._ending.start()

    def close(self) -> None:
        """Stop, and wait until the processes have ended."""
        self.stop()
        assert self._ending is not None
        self._ending.join()


_model: Model
"""Of a process of the crew."""


def _begin(settings: Mapping[str, Any]) -> None:
    global _model
    for one in (signal.SIGINT, signal.SIGTERM):  # a terminal sends them to all: the server says when it is over
        signal.signal(one, signal.SIG_IGN)
    threading.Thread(target=_end_with_server, daemon=True).start()
    _model = runtime.load(**settings)


def _end_with_server() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(inputs: Sequence[Any], options: dict[str, Any], deadline: float) -> Done:
    def answer(inputs: Sequence[Any], options: dict[str, Any], go_on: Callable[[], bool]) -> list[Any]:
        return answers(_model, inputs, options, go_on)

    return timed(answer, inputs, options, lambda: time.monotonic() <= deadline, time.monotonic)


def timed(
    answer: Answer, inputs: Sequence[Any], options: dict[str, Any], go_on: Callable[[], bool], clock: Clock
) -> Done:
    """The answers, and how long they took.

    Raises:
        Late: nobody waits for them any more.
    """
    if not go_on():
        raise Late
    start = clock()
    return answer(inputs, options, go_on), clock() - start


def answers(model: Model, inputs: Sequence[Any], options: dict[str, Any], go_on: Callable[[], bool]) -> list[Any]:
    """The answers to a request's inputs, one by one: others work on other requests.

    Raises:
        InputError, ConfigError: an input can't be read, or an option is none of the task.
        Late: ``go_on`` says no.
    """
    if wrong := sorted(options.keys() & RESERVED):
        raise ConfigError(f"{wrong[0]}: not an option of {model.task.name}")
    items, _ = model.task.asked(list(inputs))
    found = []
    for number, item in enumerate(items):
        if not go_on():
            raise Late
        try:
            found += model.answers([item], model.predictions([item]), **options)
        except InputError as error:
            raise InputError(str(error).replace("item 0", f"item {number}", 1)) from None
    return found
