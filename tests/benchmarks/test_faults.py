"""The planted faults: every one of them is found where it lies, and none where there is none."""

import json
from random import Random

import pytest

from lilliput.benchmarks.training import faults


@pytest.mark.parametrize("name", faults.CASES)
def test_a_planted_fault_is_named_at_its_line(name, tmp_path):
    there, findings = faults.named(faults.CASES[name], tmp_path / "data", Random(3))
    assert there, findings


@pytest.mark.parametrize("task", faults.CLEAN)
def test_a_clean_data_set_gives_no_alarm(task, tmp_path):
    assert faults.alarms(task, tmp_path / "data", Random(3)) == 0


def test_what_is_not_spoilt_is_not_named(tmp_path):
    there, findings = faults.named(faults.Case("classification", "csv"), tmp_path / "data", Random(3))
    assert (there, findings) == (False, [])


def test_the_command_counts(tmp_path):
    faults.main(tmp_path / "faults.json", seed=5)
    written = json.loads((tmp_path / "faults.json").read_text())
    assert [(figure["id"], figure["value"]) for figure in written["figures"]] == [
        ("train.faults_named", 20),
        ("train.false_alarms", 0),
    ]
    assert all(case["named"] for case in written["cases"].values())
