"""The model card: what the Hub parses, what a reader sees, and that its examples run."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import lilliput
from lilliput.bundle import verify
from lilliput.errors import BundleError
from lilliput.export.card import write_card


def row(precision: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"tiny {precision}",
        "model": "tiny",
        "role": "student",
        "engine": "onnxruntime",
        "precision": precision,
        "metric": "accuracy",
        "score": 0.87654,
        "score_ci": [0.861, 0.891],
        "retained": 0.985,
        "retained_ci": [0.975, 0.996],
        "ece": 0.0423,
        "bytes": 12_345_678,
        "latency_ms": {"p50": 1.2345, "p90": 2.0, "p99": 3.5},
        "speedup_vs_teacher_int8": 3.21,
        "speedup_vs_teacher_eager": None,
        **changes,
    }


def report(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "generated": "2026-01-02T03:04:05+00:00",
        "command": "lilliput demo",
        "commit": "0123456789ab",
        "smoke": False,
        "threads": 1,
        "machine": {"cpu": "Test CPU"},
        "data": {"name": "films", "split": "test", "n_test": 3000},
        "models": [row("fp32"), row("int8")] if not rows else list(rows),
        **changes,
    }


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))


def card(folder: Path) -> tuple[dict[str, Any], str]:
    _, front, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def test_front_matter_has_what_the_hub_searches(folder: Path) -> None:
    write_card(folder, report())
    front, _ = card(folder)
    assert front["pipeline_tag"] == "text-classification"
    assert front["license"] == "other"  # "none" is no licence of the Hub
    assert front["metrics"] == ["accuracy"]
    (result,) = front["model-index"][0]["results"]
    assert [metric["value"] for metric in result["metrics"]] == [0.8765, 0.8765]
    assert "base_model" not in front  # "random" is no repository


def test_body_states_figures_with_intervals_and_machine(folder: Path) -> None:
    write_card(folder, report())
    _, body = card(folder)
    assert "| int8 | 87.7% (86.1 to 89.1) | 98.5% (97.5 to 99.6) | 1.23 | 3.5 | 12.3 | 0.042 |" in body
    assert "3,000 test texts of films (test), one at a time on 1 thread of Test CPU" in body
    assert "In int8 it has 3.2 times the speed of its teacher on plain ONNX Runtime int8." in body
    assert "eager PyTorch" not in body  # was not measured
    assert "cut after 24 tokens" in body


def test_measurements_hold_the_rows_of_this_bundle_only(folder: Path) -> None:
    write_card(folder, report(row("fp32"), row("int8", model="another")))
    kept = json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
    assert [entry["precision"] for entry in kept["models"]] == ["fp32"]
    assert kept["commit"] == "0123456789ab"


def test_a_bundle_with_a_card_still_verifies(folder: Path) -> None:
    write_card(folder, report())
    assert verify(folder)


def test_a_report_without_the_bundle_is_refused(folder: Path) -> None:
    with pytest.raises(BundleError, match="no figures of a model 'tiny'"):
        write_card(folder, report(row("int8", model="another")))


def test_a_smoke_run_says_so_and_claims_no_result(folder: Path) -> None:
    write_card(folder, report(smoke=True))
    front, body = card(folder)
    assert "model-index" not in front
    assert "smoke run" in body


def test_hostile_names_stay_text(folder: Path) -> None:
    write_card(folder, report(data={"name": "<script>x</script>\n# title", "split": "test", "n_test": 3}))
    _, body = card(folder)
    assert "<script>" not in body
    assert "\n# title" not in body


def test_the_examples_in_python_run_and_agree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_card(folder, report())
    _, body = card(folder)
    first, second = re.findall(r"```python\n(.*?)```", body, re.DOTALL)[:2]
    monkeypatch.chdir(folder.parent)
    with_lilliput: dict[str, Any] = {}
    exec(first, with_lilliput)
    with_onnxruntime: dict[str, Any] = {}
    exec(second, with_onnxruntime)
    expected = lilliput.load(folder, precision="int8").logits(["a joy from start to finish"])
    # Not bit-equal: the runtime switches one graph optimization off.
    np.testing.assert_allclose(with_onnxruntime["logits"], expected, atol=1e-4)
    assert set(with_lilliput["model"].labels) == {"negative", "neutral", "positive"}
