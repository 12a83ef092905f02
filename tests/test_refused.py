"""A refused command leaves nothing behind; a run with work in it, or one that was there before, stays."""

import contextlib
import json
import shutil

import pytest
import torch

from lilliput import cli
from lilliput.errors import LilliputError
from lilliput.runs import Run

pytestmark = pytest.mark.usefixtures("quick_training")


class Refused(LilliputError):
    """Ends a run as a wrong flag does."""


def refuse(folder):
    raise Refused


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def whole(folder):
    return {"value": 1}


def saving(name):
    """Work that is refused after it saved a file."""

    def work(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("work")
        raise Refused

    return work


def test_a_refused_run_leaves_nothing(tmp_path):
    for kind in ("finetune", "benchmark"):  # the second one shows that the folder and its lock are free
        with pytest.raises(Refused), Run(tmp_path / "new" / "run", kind):
            raise Refused
        assert names(tmp_path) == []
        with pytest.raises(Refused), Run(tmp_path / "new" / "run", kind) as run:
            run.stage("one", {}, refuse)
        assert names(tmp_path) == []


def test_what_was_there_before_stays(tmp_path):
    (tmp_path / "above").mkdir()
    with pytest.raises(Refused), Run(tmp_path / "above" / "run", "test") as run:
        run.stage("one", {}, refuse)
    assert names(tmp_path / "above") == []
    (tmp_path / ".lock").touch()
    with pytest.raises(RuntimeError), Run(tmp_path / "above", "test"):  # no message for a user: the run stays
        raise RuntimeError
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".run.json.1.tmp").write_text("of a run that was killed")
    with pytest.raises(Refused), Run(tmp_path / "empty", "test") as run:
        run.stage("one", {}, refuse)
    assert names(tmp_path) == [".lock", "above", "empty"]
    assert names(tmp_path / "above") == [".lock", "run.json"]
    assert names(tmp_path / "empty") == [".run.json.1.tmp"]


@pytest.mark.parametrize("name", ["checkpoints/weights", "made.txt", "log.jsonl"])
def test_work_that_was_begun_stays(tmp_path, name):
    with pytest.raises(Refused), Run(tmp_path / "run", "test") as run:
        run.stage("one", {}, saving(name))
    assert (tmp_path / "run" / ".one.partial" / name).read_text() == "work"


def test_finished_stages_stay(tmp_path):
    with contextlib.suppress(Refused), Run(tmp_path, "test") as run:
        run.stage("one", {}, whole)
        run.stage("two", {}, refuse)
    with Run(tmp_path, "test") as run:
        assert run.stage("one", {}, whole).reused


def test_an_interrupted_run_and_one_that_is_gone_on_with_stay(tmp_path):
    with pytest.raises(KeyboardInterrupt), Run(tmp_path, "test"):
        raise KeyboardInterrupt
    with pytest.raises(Refused), Run(tmp_path, "test") as run:
        run.stage("one", {}, refuse)
    assert names(tmp_path) == [".lock", ".one.partial", "log.jsonl", "run.json"]


def test_a_run_in_a_run(tmp_path):
    def nested(work):
        with Run(tmp_path / "run" / "trials", "search") as run:
            run.stage("000", {}, work)

    with pytest.raises(Refused), Run(tmp_path / "run", "test"):
        nested(refuse)
    assert names(tmp_path) == []
    with contextlib.suppress(Refused), Run(tmp_path / "run", "test"):
        nested(whole)
        raise Refused
    assert json.loads((tmp_path / "run" / "trials" / "000" / "result.json").read_text()) == {"value": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        "finetune --data DATA --model MODEL --max-length 16 --metric acc",
        "finetune --data DATA --model MODEL --max-length 41",
        "finetune --data DATA --model MODEL --max-length 41 --trials 2",
        "finetune --data DATA --model MODEL --max-length 41 --seeds 1,2",
        "finetune --data DATA --model MODEL --max-length 16 --device cuda",
        "distill --data DATA --teacher MODEL --max-length 16 --student layers=9",
        "distill --data DATA --teacher BUNDLE --max-length 16",
        "prune --data DATA --model MODEL --max-length 41 --parameters 0.5",
        "benchmark nosuch --data DATA",
        "tokenizer train --corpus EMPTY",
        "pretrain --model MODEL --corpus EMPTY --max-length 16",
        "compress --data DATA --teacher MODEL --max-length 41",
        "demo --data EMPTY",
    ],
)
def test_a_refused_command_leaves_no_run(checkpoint, encoders, tiny_bundle, tmp_path, monkeypatch, capfd, arguments):
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    data = encoders.data_set(tmp_path / "data")
    (tmp_path / "empty.txt").touch()
    places = {"DATA": data, "MODEL": checkpoint("bert"), "BUNDLE": tiny_bundle, "EMPTY": tmp_path / "empty.txt"}
    words = [str(places.get(word, word)) for word in arguments.split()]
    monkeypatch.setattr("sys.argv", ["lilliput", *words, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code == 2
    assert capfd.readouterr().err.splitlines()[-1].startswith("error: ")
    assert names(tmp_path) == ["data", "empty.txt"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [([], "--max-length 128, the default: "), (["--max-length", "128"], "--max-length 128: ")],
)
def test_a_default_that_is_too_long_is_told_as_such(checkpoint, encoders, tmp_path, monkeypatch, capfd, flags, said):
    source = shutil.copytree(checkpoint("bert"), tmp_path / "model")
    settings = json.loads((source / "tokenizer_config.json").read_text()) | {"model_max_length": 40}
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    words = ["data", "check", encoders.data_set(tmp_path / "data"), "--model", source, *flags]
    monkeypatch.setattr("sys.argv", ["lilliput", *map(str, words)])
    with pytest.raises(SystemExit):
        cli.main()
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == f"error: {said}this model reads at most 40 tokens; give --max-length 40"
