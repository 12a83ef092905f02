"""Environments of peers: pins, where they lie, and failures that are told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lilliput
from lilliput import benchmarks
from lilliput.benchmarks.peers.measure import environments, launch
from lilliput.benchmarks.peers.measure.roster import PEERS
from lilliput.errors import FetchError

NAMES = sorted({peer.requirements for peer in PEERS} | {"onnxruntime", "onnxruntime-openvino"})


@pytest.mark.parametrize("name", NAMES)
def test_every_package_of_every_environment_is_pinned(name):
    pins = environments.pins_of(environments.requirements_of(name))
    assert pins["numpy"]  # the worker's protocol needs it


def test_environments_hold_what_the_peers_are_named_after():
    named = {peer.name: environments.pins_of(environments.requirements_of(peer.requirements)) for peer in PEERS}
    assert named["vader"]["vadersentiment"] == "3.3.2"
    assert named["optimum-o3"]["transformers"].startswith("4.57.")
    assert {"openvino", "nncf"} <= named["openvino-int8"].keys()
    assert {"sentence-transformers", "scikit-learn"} <= named["minilm-lr"].keys()


def test_a_line_that_pins_nothing_is_refused():
    assert environments.pins_of("# why\nNum_Py==2.0  # because\n\ntorch==2.1.0+cpu\n") == {
        "num-py": "2.0",
        "torch": "2.1.0+cpu",
    }
    with pytest.raises(ValueError, match="'numpy>=2' is no pin"):
        environments.pins_of("numpy>=2")


def test_another_pin_is_another_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "requirements_of", lambda name: "numpy==1.0")
    first = environments.folder_of("vader", tmp_path)
    assert first == environments.folder_of("vader", tmp_path)
    monkeypatch.setattr(environments, "requirements_of", lambda name: "numpy==1.1")
    second = environments.folder_of("vader", tmp_path)
    assert first != second
    assert first.parent == second.parent == tmp_path / "peers"


def test_what_cannot_be_installed_is_told_and_tried_again(monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "requirements_of", lambda name: "no-such-package==9.9")
    asked = []

    def run(command, **settings):
        asked.append(command)
        if command[1:3] == ["-m", "venv"]:
            Path(command[3]).mkdir()
            return subprocess.CompletedProcess(command, 0, "", "")
        text = "Looking\nERROR: No matching distribution found for no-such-package==9.9\n"
        return subprocess.CompletedProcess(command, 1, "", text)

    monkeypatch.setattr(environments.subprocess, "run", run)
    for _ in range(2):
        with pytest.raises(
            FetchError, match="'vader' can't be made: No matching distribution found for no-such-package"
        ):
            environments.interpreter("vader", tmp_path)
    assert len(asked) == 4  # a failure is not kept


def test_a_finished_environment_is_taken_as_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "_make", lambda *_: pytest.fail("made again"))
    folder = environments.folder_of("vader", tmp_path)
    folder.mkdir(parents=True)
    (folder / "complete.json").write_text(json.dumps({"packages": {"numpy": "2.4.6"}}))
    assert environments.interpreter("vader", tmp_path).is_relative_to(folder)
    assert environments.versions_of("vader", tmp_path) == {"numpy": "2.4.6"}


PEER = """
class Peer:
    labels, parameters, bytes = ["no", "yes"], 2, None
    def one(self, text):
        return [0.25, 0.75] if "y" in text else [0.75, 0.25]
    def batch(self, texts):
        return [self.one(text) for text in texts]

def load(options, threads):
    return Peer()

def build(options, folder):
    (folder / "made.txt").write_text(options["word"])
"""


@pytest.fixture
def launched(tmp_path):
    """Runs the launcher with a benchmarks package that has one more peer, where Lilliput's own folders are not looked
    at: no site-packages, no current folder."""
    folder, source = tmp_path / "benchmarks", Path(benchmarks.__file__).parent
    (folder / "peers").mkdir(parents=True)
    for name in ("worker.py", "peers/__init__.py"):
        (folder / name).write_text((source / name).read_text())
    (folder / "peers" / "word.py").write_text(PEER)

    def run(do, spec, text=""):
        path = tmp_path / "spec.json"
        path.write_text(json.dumps({"peer": "word", "threads": 1, "options": {"word": "here"}, **spec}))
        package = str(Path(lilliput.__file__).parent)
        command = [sys.executable, "-I", launch.__file__, package, str(folder), do, str(path)]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path)

    return run


def test_a_worker_is_launched_without_what_lilliput_imports(launched):
    done = launched("work", {}, json.dumps({"do": "one", "texts": ["yes", "no"]}) + "\n")
    ready, one = map(json.loads, done.stdout.splitlines())
    assert ready["labels"] == ["no", "yes"]
    assert one["answers"] == [1, 0]
    assert len(one["ns"]) == 2


def test_a_build_gets_its_options_and_folder(launched, tmp_path):
    (tmp_path / "out").mkdir()
    launched("build", {"folder": str(tmp_path / "out")})
    assert (tmp_path / "out" / "made.txt").read_text() == "here"


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("name", NAMES)
def test_environments_can_be_made(name, tmp_path):
    python = environments.interpreter(name, tmp_path)
    code = "import importlib.metadata as m, sys; print([m.version(p) for p in sys.argv[1:]])"
    pins = environments.pins_of(environments.requirements_of(name))
    done = subprocess.run([str(python), "-I", "-c", code, *pins], capture_output=True, text=True, check=True)
    found = [version.split("+")[0] for version in json.loads(done.stdout.replace("'", '"'))]
    assert found == list(pins.values())
