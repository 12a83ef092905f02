"""What ``lilliput predict`` has in common with the shell: pipes, links, encodings, closed streams, odd arguments."""

import io
import json
import os
import subprocess
import sys
import threading

import pytest
from typer.testing import CliRunner

from lilliput import cli, shell
from lilliput.errors import ConfigError, InputError, LilliputError


def drained(pipe):
    """Reads a named pipe to its end in a thread; gives the thread and the list that the text comes into."""
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text(encoding="utf-8")), daemon=True)
    reader.start()
    return reader, found


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_pipe_is_written_to_and_stays(tmp_path, mode):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader, found = drained(pipe)
    with shell.written("--out", pipe, mode) as file:
        file.write("good\n" if mode == "w" else b"good\n")
    reader.join(timeout=10)
    assert found == ["good\n"]
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    target, link, dangling = tmp_path / "real" / "a.json", tmp_path / "link.json", tmp_path / "dangling.json"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to("real/a.json")
    dangling.symlink_to("real/b.json")
    for path in (link, dangling):
        shell.write_result(path, {"a": 1})
        assert path.is_symlink()
        assert json.loads(path.read_text()) == {"a": 1}
    assert sorted(path.name for path in target.parent.iterdir()) == ["a.json", "b.json"]


def test_a_device_and_a_stream_that_goes_to_a_file(tmp_path):
    shell.write_result(type(tmp_path)("/dev/null"), 1)
    code = "from pathlib import Path; from lilliput.shell import write_result; print('first', flush=True);"
    code += "write_result(Path('/dev/stdout'), 2)"
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
        subprocess.run(["echo", "last"], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "first\n2\nlast\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_fails_on_the_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")

    def fail():
        with shell.written("--out", path) as file:
            file.write("new")
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(ConfigError, match=r"--out .*a.csv: Broken pipe"):
        fail()
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "standard input: there is nothing to read; give texts"),
        (b"", "standard input: there is nothing to read; give texts"),
        (b"good\n\xe9t\xe9\n", "standard input:2: not UTF-8 text"),
    ],
)
def test_standard_input_that_holds_no_texts(monkeypatch, given, message):
    stdin = None if given is None else io.TextIOWrapper(io.BytesIO(given), encoding="ascii", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(InputError, match=message):
        shell.lines_of_standard_input()


def test_standard_input_is_utf_8_in_any_locale(monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO("漢字\r\n\n😀".encode()), encoding="ascii", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdin", stdin)
    assert shell.lines_of_standard_input() == ["漢字", "", "😀"]


def test_an_output_of_another_encoding(tiny_bundle):
    found = subprocess.run(
        [sys.executable, "-m", "lilliput", "predict", str(tiny_bundle), "漢字"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.rstrip().endswith(rb"\u6f22\u5b57")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ok.csv", "hi"], r"^ok.csv: not a folder; a bundle is the folder that holds lilliput.json"),
        (["./ok.csv", "hi"], r"^ok.csv: not a folder; a bundle is the folder that holds lilliput.json"),
        (["", "hi"], r"^MODEL: the name is empty; give the folder of a bundle"),
        (["BUNDLE", "hi", "--threads", "1025"], r"^--threads: expected a whole number from 1 to 1024, got 1025"),
        (["BUNDLE", "hi", "--threads", "0"], r"^--threads: expected a whole number from 1 to 1024, got 0"),
        (
            ["BUNDLE", "--in", "ok.csv", "--out", "o.csv", "--question", "?"],
            r"^--question: classification reads text and",
        ),
    ],
)
def test_arguments_that_name_nothing(tiny_bundle, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ok.csv").write_text("text\ngood\n")
    result = CliRunner().invoke(
        cli.app, ["predict", *(str(tiny_bundle) if word == "BUNDLE" else word for word in words)]
    )
    with pytest.raises(LilliputError, match=message):
        raise result.exception


def test_a_text_that_begins_with_a_dash(tiny_bundle):
    result = CliRunner().invoke(cli.app, ["predict", str(tiny_bundle), "--", "-1 good"])
    assert (result.exit_code, result.stdout.rstrip().split("\t")[-1]) == (0, "-1 good")
