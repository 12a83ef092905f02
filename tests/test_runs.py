"""Run folders: stages are done once, survive any interruption, and never hold something half made."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput import runs
from lilliput.errors import RunError
from lilliput.runs import Run


class Crash(BaseException):
    """Ends the work where it stands, past every ``except Exception``."""


def maker(calls, value=1):
    """Work that notes each call and leaves one file."""

    def work(folder):
        calls.append(value)
        (folder / "made.txt").write_text(str(value))
        return {"value": value}

    return work


def events(run):
    return [json.loads(line)["event"] for line in (run / "log.jsonl").read_text().splitlines()]


# --- files -----------------------------------------------------------------------------------------------------------


def test_write_json_is_readable_and_leaves_no_temporary_file(tmp_path):
    runs.write_json(tmp_path / "new" / "a.json", {"text": "漢字 😀", "n": [1, 2.5, None]})
    assert json.loads((tmp_path / "new/a.json").read_text(encoding="utf-8")) == {"text": "漢字 😀", "n": [1, 2.5, None]}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace"])
def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "a.json"
    runs.write_json(path, 1)

    def fail(*_):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(failing, fail)
    with pytest.raises(OSError, match="No space left"):
        runs.write_json(path, 2)
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert json.loads(path.read_text()) == 1


def test_a_value_that_is_no_json_is_refused_and_the_old_file_stays(tmp_path):
    runs.write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        runs.write_json(tmp_path / "a.json", float("nan"))
    assert (tmp_path / "a.json").read_text() == "1\n"


def test_digest_does_not_depend_on_the_order_of_keys():
    assert runs.digest({"a": 1, "b": [2, 3]}) == runs.digest({"b": [2, 3], "a": 1})
    assert runs.digest({"a": 1, "b": [2, 3]}) != runs.digest({"a": 1, "b": [3, 2]})
    # printf '{"a": 1}' | sha256sum
    assert runs.digest({"a": 1}) == "f9d86028c6e0d64e225186f96acb69338b2c59764df79162107f5c4bb34d1310"


def test_set_seed_repeats_every_generator():
    def draw():
        runs.set_seed(3)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert draw() == draw()


def test_log_lines_are_json_with_time_and_event(tmp_path):
    runs.append_log(tmp_path / "log.jsonl", "one", text="漢\n字", path=Path("x"))
    runs.append_log(tmp_path / "log.jsonl", "two")
    one, two = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines())
    assert (one["event"], one["text"], one["path"], two["event"]) == ("one", "漢\n字", "x", "two")
    assert one["time"] <= two["time"]


# --- stages ----------------------------------------------------------------------------------------------------------


def test_a_stage_is_done_once(tmp_path):
    calls = []
    with Run(tmp_path / "run", "test") as run:
        first = run.stage("teacher", {"epochs": 3}, maker(calls))
        again = run.stage("teacher", {"epochs": 3}, maker(calls))
    with Run(tmp_path / "run", "test") as run:
        later = run.stage("teacher", {"epochs": 3}, maker(calls))
    assert len(calls) == 1
    assert (first.reused, again.reused, later.reused) == (False, True, True)
    assert first.result == again.result == later.result == {"value": 1}
    assert first.key == later.key
    assert first.folder == tmp_path / "run" / "teacher"
    assert later.seconds == pytest.approx(first.seconds, abs=1e-3)
    assert sorted(path.name for path in first.folder.iterdir()) == [
        "config.yaml",
        "made.txt",
        "result.json",
        "stage.json",
    ]
    assert yaml.safe_load((first.folder / "config.yaml").read_text()) == {"epochs": 3}
    assert json.loads((first.folder / "result.json").read_text()) == {"value": 1}
    assert events(tmp_path / "run") == ["stage started", "stage finished", "stage reused", "stage reused"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "log.jsonl", "run.json", "teacher"]


def test_another_config_or_another_input_makes_the_stage_anew(tmp_path):
    calls = []
    with Run(tmp_path, "test") as run:
        data = run.stage("data", {"fold": 0}, maker(calls, "d0"))
        run.stage("teacher", {"epochs": 3}, maker(calls, "t0"), [data])
        assert not run.stage("teacher", {"epochs": 4}, maker(calls, "t1"), [data]).reused
        assert run.stage("teacher", {"epochs": 4}, maker(calls, "no"), [data]).reused
        other = run.stage("data", {"fold": 1}, maker(calls, "d1"))
        third = run.stage("teacher", {"epochs": 4}, maker(calls, "t2"), [other])
    assert calls == ["d0", "t0", "t1", "d1", "t2"]
    assert (tmp_path / "teacher" / "made.txt").read_text() == "t2"
    assert third.result == {"value": "t2"}


def test_two_stages_of_the_same_config_are_two_stages(tmp_path):
    calls = []
    with Run(tmp_path, "test") as run:
        one, two = run.stage("one", {}, maker(calls)), run.stage("two", {}, maker(calls))
    assert one.key != two.key
    assert len(calls) == 2


def test_an_interrupted_stage_goes_on_in_its_folder(tmp_path):
    def interrupted(folder):
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "half").write_text("half")
        raise KeyboardInterrupt

    def rest(folder):
        assert (folder / "checkpoints" / "half").read_text() == "half"
        return {"done": True}

    with pytest.raises(KeyboardInterrupt), Run(tmp_path, "test") as run:
        run.stage("teacher", {"epochs": 3}, interrupted)
    assert not (tmp_path / "teacher").exists()
    with Run(tmp_path, "test") as run:
        assert run.finished("teacher", "any") is None
        stage = run.stage("teacher", {"epochs": 3}, rest)
    assert stage.result == {"done": True}
    assert not (stage.folder / "checkpoints").exists()
    assert not (tmp_path / ".teacher.partial").exists()


def test_the_time_of_an_interrupted_stage_counts(tmp_path, monkeypatch):
    clock = iter([100.0, 107.0, 200.0, 205.0])
    monkeypatch.setattr(runs.time, "monotonic", lambda: next(clock))

    def interrupted(folder):
        raise KeyboardInterrupt

    with Run(tmp_path, "test") as run:
        with pytest.raises(KeyboardInterrupt):
            run.stage("teacher", {}, interrupted)
        assert run.stage("teacher", {}, maker([])).seconds == 12.0  # (107 - 100) + (205 - 200)
        assert run.stage("teacher", {}, maker([])).seconds == 12.0


def test_a_partial_stage_of_another_config_is_emptied(tmp_path):
    def interrupted(folder):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with Run(tmp_path, "test") as run:
        with pytest.raises(KeyboardInterrupt):
            run.stage("teacher", {"epochs": 3}, interrupted)
        stage = run.stage("teacher", {"epochs": 4}, lambda folder: {"found": (folder / "half").exists()})
    assert stage.result == {"found": False}
    assert not (stage.folder / "half").exists()


@pytest.mark.parametrize("name", ["stage.json", "result.json"])
@pytest.mark.parametrize("content", [None, "", "{", "[]", "7", "{}"])
def test_a_damaged_record_means_that_the_stage_is_made_again(tmp_path, name, content):
    calls = []
    with Run(tmp_path, "test") as run:
        path = run.stage("teacher", {}, maker(calls)).folder / name
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        stage = run.stage("teacher", {}, maker(calls))
    # A result that is JSON can't be told from a right one; only its being there can be checked.
    readable = name == "result.json" and content in ("[]", "7", "{}")
    assert stage.reused == readable
    assert len(calls) == (1 if readable else 2)


# --- crashes ---------------------------------------------------------------------------------------------------------

DISK = ["pathlib.Path.rename", "pathlib.Path.replace", "pathlib.Path.unlink", "pathlib.Path.mkdir", "os.fsync"]
DISK += ["shutil.rmtree"]


@contextlib.contextmanager
def crash_at(number):
    """Raise :class:`Crash` instead of doing the disk operation of that number; yields the list of those met."""
    met = []

    def guard(name, original):
        def call(*args, **options):
            met.append(name)
            if len(met) == number:
                raise Crash(name)
            # A dead process does nothing more, not even its clean-up.
            if len(met) > number:
                raise Crash("dead")
            return None if name == "os.fsync" else original(*args, **options)  # no test unplugs the machine

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in DISK:
            module, _, attribute = name.rpartition(".")
            owner = {"pathlib.Path": Path, "os": os, "shutil": shutil}[module]
            patch.setattr(owner, attribute, guard(name, getattr(owner, attribute)))
        yield met


@pytest.mark.parametrize("before", ["nothing", "another config"])
def test_a_crash_at_any_disk_operation_leaves_a_run_that_goes_on(tmp_path, before):
    number, redone = 0, []
    while True:
        number += 1
        folder, calls = tmp_path / str(number), []
        if before == "another config":
            with Run(folder, "test") as run:
                run.stage("teacher", {"epochs": 1}, maker([], "old"))
        # Leaving the block frees the lock, as the system does for a dead process.
        with crash_at(number) as met, contextlib.suppress(Crash), Run(folder, "test") as run:
            run.stage("teacher", {"epochs": 2}, maker(calls, "new"))
        crashed = len(met) >= number
        if crashed and (folder / "teacher").exists():  # whatever has the name is whole
            kept = (folder / "teacher" / "made.txt").read_text()
            assert json.loads((folder / "teacher" / "result.json").read_text()) == {"value": kept}
        with Run(folder, "test") as run:
            stage = run.stage("teacher", {"epochs": 2}, maker(calls, "new"))
        assert stage.result == {"value": "new"}
        assert (stage.folder / "made.txt").read_text() == "new"
        assert sorted(path.name for path in stage.folder.iterdir() if not path.name.endswith(".tmp")) == [
            "config.yaml",
            "made.txt",
            "result.json",
            "stage.json",
        ]
        assert [path.name for path in folder.iterdir() if path.name.endswith((".partial", ".old"))] == []
        redone.append(len(calls))
        if not crashed:
            break
    assert number > 15  # it did crash at many places
    # Once the stage is whole, a crash does not cost its work: the last operations are those of the renaming.
    assert redone[-6:] == [1] * 6
    assert redone[0] == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=8))
def test_any_history_of_configs_and_interruptions_does_what_the_last_call_asks(history):
    """Against a model of three lines: what is finished, what is partial, and how far it has come."""
    finished, partial, steps = None, None, 0
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name, Run(name, "test") as run:
        patch.setattr("os.fsync", lambda _: None)
        for config, interrupt in history:

            def work(folder, interrupt=interrupt, config=config):
                with (folder / "steps").open("a") as file:
                    file.write(config)
                if interrupt:
                    raise Crash
                return {"config": config, "steps": (folder / "steps").read_text()}

            if finished and finished["config"] == config:
                assert run.stage("s", {"c": config}, work).result == finished
                continue
            steps = steps + 1 if partial == config else 1
            if interrupt:
                partial = config
                with pytest.raises(Crash):
                    run.stage("s", {"c": config}, work)
            else:
                partial, finished = None, {"config": config, "steps": config * steps}
                stage = run.stage("s", {"c": config}, work)
                assert (stage.result, stage.reused) == (finished, False)


def test_a_killed_process_frees_the_run_and_its_stage_goes_on(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from lilliput.runs import Run

        def work(folder):
            steps = folder / "steps"
            with steps.open("a") as file:
                file.write("x")
            if len(steps.read_text()) < 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return {"steps": len(steps.read_text())}

        with Run(sys.argv[1], "test") as run:
            print(run.stage("s", {"c": 1}, work).result["steps"])
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    for _ in range(2):
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "3\n"
    with Run(tmp_path / "run", "test") as run:
        assert run.stage("s", {"c": 1}, maker([])).reused


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_run_is_held_by_one_at_a_time(tmp_path):
    with (
        Run(tmp_path, "test"),
        pytest.raises(RunError, match=r"is in use by another process; .* choose another --out"),
        Run(tmp_path, "test"),
    ):
        pass
    with Run(tmp_path, "test"):
        pass


def test_a_folder_that_is_no_run_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="exists and is not a Lilliput run"), Run(tmp_path, "test"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match=r"run is a file; --out must name a folder"), Run(tmp_path / "run", "test"):
        pass
    with pytest.raises(RunError, match=r"can't make the run folder .*run/below"), Run(tmp_path / "run/below", "test"):
        pass


def test_an_empty_folder_becomes_a_run(tmp_path):
    with Run(tmp_path, "test") as run:
        run.stage("s", {}, maker([]))
    assert json.loads((tmp_path / "run.json").read_text()) == {"format": 1, "kind": "test"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "other"}', "7", "{}", "\x00"])
def test_a_run_of_another_kind_or_a_damaged_one_is_refused_and_not_locked(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    for _ in range(2):  # the second time shows that the lock was released
        with pytest.raises(RunError, match=r"holds a run of kind .*, not 'test'; choose another --out"):
            Run(tmp_path, "test").__enter__()


def test_a_failure_at_the_start_does_not_keep_the_lock(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device", "run.json")

    run = Run(tmp_path / "run", "test")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_json", fail)
        with pytest.raises(OSError, match="No space"):
            run.__enter__()
    with Run(tmp_path / "run", "test"):
        pass


def test_config_yaml_shows_what_the_user_may_give_again(tmp_path):
    with Run(tmp_path, "test") as run:
        one = run.stage("s", {"epochs": 3, "fingerprint": "f"}, maker([]), config={"epochs": 3, "out": "x"})
        assert yaml.safe_load((one.folder / "config.yaml").read_text()) == {"epochs": 3, "out": "x"}
        # What is shown does not decide whether the stage is made again.
        assert run.stage("s", {"epochs": 3, "fingerprint": "f"}, maker([]), config={"epochs": 3, "out": "y"}).reused
