"""Who works on the jobs: this process, several on this machine, or a Ray cluster. Loads no torch by itself."""

from __future__ import annotations

import functools
import importlib
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Protocol

from lilliput.errors import ConfigError, MissingDependencyError
from lilliput.machine import usable_cores
from lilliput.reporter import Reporter

Job = Mapping[str, Any]
Outcome = dict[str, Any]


class Workers(Protocol):
    """Takes jobs and gives outcomes. A context manager, which leaves no process behind."""

    count: int

    def __enter__(self) -> Workers:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        ...

    def submit(self, job: Job) -> None:
        """Take a job; at most ``count`` are in work at a time."""
        ...

    def next(self) -> tuple[Job, Outcome]:
        """Wait for a job to end; at least one must be in work."""
        ...


class Alone:
    """This process, one job after the other."""

    count = 1

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self._job: Job | None = None

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def submit(self, job: Job) -> None:
        """Keep the job until it is asked for."""
        self._job = job

    def next(self) -> tuple[Job, Outcome]:
        """Do the job."""
        from lilliput.compressing.jobs import run_job

        job, self._job = self._job, None
        assert job is not None  # submitted before
        return job, run_job(job, self.reporter)


class Processes:
    """Several processes on this machine, each with cores of its own.

    Where one dies, none of its neighbours can go on either, and nobody can tell which it was. Their jobs are begun
    again one at a time, so that one that kills its process is known for it; what is submitted meanwhile waits.

    Args:
        count: of the processes.
        cores: that may be used; those of this process by default.
    """

    def __init__(self, count: int, cores: list[int] | None = None) -> None:
        self.count = count
        self._groups = share(_cores() if cores is None else cores, count)
        self._jobs: dict[Future[Outcome], Job] = {}
        self._waiting: list[Job] = []
        self._suspects: list[Job] = []
        self._examining = False
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Processes:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()) if self._jobs else []:
                process.terminate()  # a stage that is cut short goes on from its last checkpoint
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=_settle, initargs=(self._groups,))

    def submit(self, job: Job) -> None:
        """Hand the job to a process that has none."""
        self._waiting.append(job)
        self._hand_out()

    def next(self) -> tuple[Job, Outcome]:
        """Wait for the first that ends."""
        while True:
            assert self._jobs  # at least one was submitted, and one that waits is begun when another ends
            done, _ = wait(self._jobs, return_when=FIRST_COMPLETED)
            for future in done:
                if not isinstance(future.exception(), BrokenProcessPool):
                    job = self._jobs.pop(future)
                    self._hand_out()
                    return job, future.result()
            broken = list(self._jobs.values())
            self._jobs.clear()
            self._start()
            self._suspects += broken if len(broken) > 1 else []
            self._hand_out()
            if len(broken) == 1:
                return broken[0], {"state": "died"}

    def _hand_out(self) -> None:
        """Begin what may be begun now: all that waits, or one suspect alone."""
        if self._examining and self._jobs:
            return
        self._examining = bool(self._suspects)
        if self._examining:
            ready = [self._suspects.pop(0)]
        else:
            ready, self._waiting = self._waiting, []
        assert self._pool is not None  # entered
        for job in ready:
            self._jobs[self._pool.submit(_in_process, job, os.getpid())] = job


class RayCluster:
    """An existing Ray cluster, all of whose nodes see the folders of the run and have Lilliput installed.

    Args:
        address: as ``ray.init`` takes it.
        count: jobs at a time; as many as the cluster has CPUs, where it is 1.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: there is no cluster at the address.
    """

    def __init__(self, address: str, count: int) -> None:
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError:
            raise MissingDependencyError(
                "--ray: needs Ray; install it, in Lilliput's folder: pip install '.[cpu,toolkit,ray]'"
            ) from None
        self._address, self.count = address, count
        self._jobs: dict[Any, Job] = {}

    def __enter__(self) -> RayCluster:
        try:
            self._ray.init(address=self._address, log_to_driver=False, logging_level="error")
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(f"--ray {self._address}: no Ray cluster there: {first}") from None
        if self.count == 1:
            self.count = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._work = self._ray.remote(num_cpus=1, max_retries=0)(_on_cluster)
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._jobs:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()

    def submit(self, job: Job) -> None:
        """Hand the job to the cluster."""
        self._jobs[self._work.remote(dict(job))] = job

    def next(self) -> tuple[Job, Outcome]:
        """Wait for the first that ends."""
        (done, *_), _ = self._ray.wait(list(self._jobs), num_returns=1)
        job = self._jobs.pop(done)
        try:
            return job, self._ray.get(done)
        except self._ray.exceptions.RayTaskError as error:  # what the job itself raised
            raise error.as_instanceof_cause() from None
        except self._ray.exceptions.RayError as error:  # the process or its node is gone
            return job, {"state": "died", "why": str(error).splitlines()[0]}


def of(count: int, address: str | None, reporter: Reporter) -> Workers:
    """The workers that a configuration asks for."""
    if address is not None:
        return RayCluster(address, count)
    return Processes(count) if count > 1 else Alone(reporter)


def share(cores: list[int], count: int) -> list[list[int]]:
    """Cores for each of ``count`` workers: as equal shares as there can be, none without a core."""
    if count >= len(cores):
        return [[cores[number % len(cores)]] for number in range(count)]
    return [cores[number * len(cores) // count : (number + 1) * len(cores) // count] for number in range(count)]


@functools.cache
def _cores() -> list[int]:
    affinity = getattr(os, "sched_getaffinity", None)
    own = sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))
    return own[: usable_cores()]


def _settle(groups: list[list[int]]) -> None:
    """Take a share of the cores, by the number that processes get as they are started; libraries that are loaded later
    start as many threads."""
    number = multiprocessing.current_process().name.rpartition("-")[2]
    cores = groups[int(number) % len(groups) if number.isdecimal() else 0]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    os.environ["OMP_NUM_THREADS"] = str(len(cores))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import torch

    torch.set_num_threads(len(cores))


def _in_process(job: Job, parent: int) -> Outcome:
    from lilliput.compressing.jobs import run_job

    _be_quiet()
    return run_job(job, parent=parent)


def _on_cluster(job: Job) -> Outcome:
    from lilliput.compressing.jobs import run_job

    _be_quiet()
    return run_job(job)


def _be_quiet() -> None:
    """Keep what libraries say off the terminal that the search is followed on."""
    from rich.console import Console

    from lilliput.terminal import quiet_libraries

    quiet_libraries(Console(stderr=True, quiet=True))
