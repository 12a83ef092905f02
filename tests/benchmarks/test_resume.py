"""The measurement of killed trainings, on a few of them."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_killed_trainings_are_counted(tmp_path):
    command = [
        sys.executable,
        "-m",
        "lilliput.benchmarks.training.resume",
        "--kills",
        "4",
        "--out",
        tmp_path / "a.json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    piece = json.loads((tmp_path / "a.json").read_text())
    (figure,) = piece["figures"]
    assert (figure["id"], figure["value"], figure["unit"], figure["n"]) == ("train.resume_identical", 4, "of 4", 4)
    assert len(piece["kills"]) == 4
    assert piece["killed_in_save"] == sum(kill["in_save"] for kill in piece["kills"]) >= 1
