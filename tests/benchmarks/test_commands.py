"""Commands in fresh processes: what they are given, their result, and their one message."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from lilliput.benchmarks import commands
from lilliput.config import ExportConfig
from lilliput.errors import LilliputError


@pytest.fixture
def process(monkeypatch):
    """The process does nothing but end as it is told to."""
    seen = {}

    def run(command, *, env, **options):
        assert env["HF_HUB_OFFLINE"] == "1"
        paths = dict(part.split("=", 1) for part in command[-2:])
        seen["command"] = command[1:-2]
        seen["settings"] = yaml.safe_load(Path(paths["--config"]).read_text())
        if seen.get("code") is None:
            Path(paths["--json"]).write_text(json.dumps({"folder": "x"}))
        return subprocess.CompletedProcess(command, seen.get("code", 0), None, seen.get("stderr", ""))

    monkeypatch.setattr(commands.subprocess, "run", run)
    return seen


def test_a_command_gets_its_configuration_and_gives_its_result(process, tmp_path):
    config = ExportConfig(model="m", out=tmp_path, precisions=("fp32",), seed=2)
    assert commands.run(config) == {"folder": "x"}
    assert process["command"] == ["-m", "lilliput", "export"]
    assert ExportConfig(**process["settings"]) == config


@pytest.mark.parametrize(
    ("stderr", "message"),
    [("teacher reads\nerror: m: no such folder\n", "m: no such folder"), ("", "lilliput export ended with 2")],
)
def test_a_command_that_fails_says_why(process, stderr, message, tmp_path):
    process.update(code=2, stderr=stderr)
    with pytest.raises(LilliputError) as error:
        commands.run(ExportConfig(model="m", out=tmp_path))
    assert str(error.value) == message
