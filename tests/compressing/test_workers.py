"""Cores for workers, jobs whose process dies, and what is said without Ray."""

import multiprocessing
import os
import signal
import sys
import time

import pytest

from lilliput.compressing import workers
from lilliput.errors import MissingDependencyError
from lilliput.reporter import Reporter


@pytest.mark.parametrize(
    ("cores", "count", "expected"),
    [
        ([0, 1, 2, 3], 2, [[0, 1], [2, 3]]),
        ([0, 1, 2, 3, 4], 2, [[0, 1], [2, 3, 4]]),
        ([4, 6], 2, [[4], [6]]),
        ([0, 1], 3, [[0], [1], [0]]),
        ([7], 1, [[7]]),
    ],
)
def test_each_worker_has_cores_of_its_own(cores, count, expected):
    assert workers.share(cores, count) == expected


def test_the_kind_of_workers_follows_from_the_configuration(monkeypatch):
    assert isinstance(workers.of(1, None, Reporter()), workers.Alone)
    assert isinstance(workers.of(2, None, Reporter()), workers.Processes)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match="--ray: needs Ray"):
        workers.of(1, "auto", Reporter())


def work(job, parent):
    """Stands for a job; one that is deadly kills its process once its neighbours are at work."""
    time.sleep(0.2)
    if job["deadly"]:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return {"state": "finished", "name": job["name"]}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_only_the_job_that_kills_its_process_is_blamed(monkeypatch, count):
    fork = multiprocessing.get_context("fork")  # so that the stub is there in the processes too
    monkeypatch.setattr(workers.multiprocessing, "get_context", lambda kind: fork)
    monkeypatch.setattr(workers, "_in_process", work)
    monkeypatch.setattr(workers, "_settle", lambda groups: None)
    todo = [{"name": name, "deadly": name == "b"} for name in "abcde"]
    outcomes, working = {}, 0
    with workers.Processes(count) as crew:
        while todo or working:
            while todo and working < count:
                crew.submit(todo.pop(0))
                working += 1
            job, outcome = crew.next()
            working -= 1
            assert job["name"] not in outcomes
            outcomes[job["name"]] = outcome["state"]
    assert outcomes == {"a": "finished", "b": "died", "c": "finished", "d": "finished", "e": "finished"}
