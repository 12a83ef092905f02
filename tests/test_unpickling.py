"""Nothing unpickles: not loading, answering, verifying or exporting, and not a whole demo with its workers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WATCHING = Path(__file__).with_name("watching")
UNPICKLING = (
    "pickle.find_class",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler.load",
    "marshal.load",
    "marshal.loads",
)


def watched(folder, *command):
    """The events of a command and of the processes that it starts."""
    log = folder / "events.jsonl"
    path = os.pathsep.join(filter(None, [str(WATCHING), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "WATCH_LOG": str(log)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    events = [json.loads(line) for line in log.read_text().splitlines()]
    log.unlink()
    return events


def starts(events):
    """Command lines of the processes that were watched."""
    return [detail for event, detail, _ in events if event == "start"]


def unpickled(events):
    return [event for event in events if event[0] in UNPICKLING]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import pickle; pickle.loads(pickle.dumps([1, 2]))", {"pickle.loads"}),
        (
            "import pickle, decimal; pickle.loads(pickle.dumps(decimal.Decimal(1)))",
            {"pickle.loads", "pickle.find_class"},
        ),
        ("import io, pickle; pickle.Unpickler(io.BytesIO(b'I1\\n.')).load()", {"pickle.Unpickler.load"}),
        ("import io, pickle; pickle._Unpickler(io.BytesIO(b'cos\\nsep\\n.')).load()", {"pickle.find_class"}),
        ("import marshal; marshal.loads(marshal.dumps(1))", {"marshal.loads"}),
        ("import json, xml.dom.minidom; json.loads('[1]')", set()),
    ],
)
def test_the_watcher_sees_what_it_should(code, expected, tmp_path):
    events = watched(tmp_path, "-c", code)
    assert {event for event, *_ in unpickled(events)} == expected
    assert len(starts(events)) == 1


def test_the_watcher_follows_into_other_processes(tmp_path):
    code = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import pickle; pickle.loads(b\"I1\\\\n.\")'])"
    )
    events = watched(tmp_path, "-c", code)
    assert len(starts(events)) == 2
    assert [event for event, *_ in unpickled(events)] == ["pickle.loads"]


def test_a_bundle_is_loaded_and_verified_without_unpickling(tiny_bundle, tmp_path):
    events = watched(tmp_path, "-m", "lilliput", "predict", str(tiny_bundle), "a joy", "--precision", "fp32")
    events += watched(tmp_path, "-m", "lilliput", "verify", str(tiny_bundle))
    assert len(starts(events)) == 2
    assert unpickled(events) == []
    assert [event for event, *_ in events if event in ("os.system", "subprocess.Popen", "socket.connect")] == []


def test_a_model_is_exported_without_unpickling(own_model, encoders, tmp_path):
    data = encoders.data_set(tmp_path / "data")
    given = ["--model", str(own_model), "--data", str(data), "--max-length", "24", "--out", "bundle"]
    events = watched(tmp_path, "-m", "lilliput", "export", *given, "--min-agreement", "0.5")
    assert (tmp_path / "bundle" / "lilliput.json").is_file()
    assert unpickled(events) == []


@pytest.mark.slow
def test_a_whole_demo_unpickles_nothing(tmp_path):
    from lilliput.cache import cache_folder
    from lilliput.train import embedded

    for archive in (embedded.CHECKPOINT, embedded.SENTIMENT):
        if embedded.damaged(archive, cache_folder() / "embedded" / archive.name) is not None:
            pytest.skip("the embedded checkpoint and data are not in the cache; run `lilliput data fetch` first")
    events = watched(tmp_path, "-m", "lilliput", "demo", "--fast", "--out", "demo")
    assert any("lilliput.benchmarks.worker" in line for line in starts(events))
    assert unpickled(events) == []
    assert [event for event in events if event[0] == "socket.connect"] == []
