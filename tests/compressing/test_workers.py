"""Cores for workers, and what is said without Ray."""

import sys

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
