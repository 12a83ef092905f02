"""What becomes of a job that can't be done, or was begun before."""

import pytest
from safetensors import SafetensorError

from lilliput.compressing import jobs
from lilliput.runs import Run


@pytest.fixture
def do(tmp_path, monkeypatch):
    """Does a job whose work is a given function."""

    def do(work):
        monkeypatch.setattr(jobs, "_work", lambda job, run, reporter: work())
        return jobs.run_job({"folder": str(tmp_path / "trial"), "deadline": None, "trial": {"number": 0}})

    return do


def raising(error):
    def work():
        raise error

    return work


class Fail(Exception):
    """As ONNX Runtime has them: of no common kind."""


@pytest.mark.parametrize("error", [Fail("node 7\nno kernel"), ValueError("node 7"), RuntimeError("node 7")])
def test_one_trial_that_fails_does_not_end_the_search(do, error):
    assert do(raising(error)) == {"state": "failed", "why": "node 7"}


def test_an_error_without_words_is_named(do):
    assert do(raising(MemoryError())) == {"state": "failed", "why": "MemoryError"}


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
    ],
)
def test_a_full_disk_is_no_trial_s_fault(do, error):
    with pytest.raises(OSError, match="No space left"):
        do(raising(error))


def test_a_trial_that_another_process_holds_can_be_done_later(do, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE", 0.0)
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    with Run(tmp_path / "trial", "trial"):
        outcome = do(lambda: {})
    assert outcome["state"] == "stopped"
    assert "trial" in outcome["why"]
    assert do(lambda: {"stage_seconds": 0.0, "score": 0.8})["state"] == "finished"


def test_a_training_that_went_on_has_taken_what_all_its_processes_took(do):
    found = do(lambda: {"stage_seconds": 600.0})
    assert found == {"state": "finished", "seconds": 600.0}
    assert do(lambda: {"stage_seconds": 0.0})["seconds"] > 0
