"""The benchmark of GPUs: what it does without one, and its binding on the CPU, which has the same calls."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lilliput import runtime
from lilliput.benchmarks import gpu, providers

TEXTS = ["good", "a joy from start to finish", "bad bad bad"] * 12


def command():
    app = typer.Typer()
    app.command()(gpu.main)
    return app


def test_without_a_gpu_nothing_is_run_and_it_says_so(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(providers, "missing", lambda provider: "this onnxruntime has cpu only")
    done = CliRunner().invoke(command(), [str(tiny_bundle), "--out", str(tmp_path / "gpu.json")])
    assert done.exit_code == 0
    assert done.output == "".join(
        f"{name}: not measured: this onnxruntime has cpu only\n" for name in ("cuda", "tensorrt")
    )
    assert not (tmp_path / "gpu.json").exists()


def test_bound_batches_are_padded_and_answered(tiny_bundle):
    model = runtime.load(tiny_bundle, precision="fp32")
    feed = gpu.padded(model, TEXTS[:3])
    assert feed["input_ids"].shape[0] == 3
    assert feed["attention_mask"].sum(axis=1).tolist() == [len(window[0].ids) for window in model.windows(TEXTS[:3])]
    rows = gpu.measure(tiny_bundle, "cpu", TEXTS, device="cpu")
    assert {row["batch"] for row in rows} == set(gpu.BATCHES)
    assert all(row["agreement"] == 1 for row in rows if row["precision"] == "fp32")
    assert all(row["ms"] > 0 and np.isfinite(row["texts_per_s"]) for row in rows)


def test_what_a_gpu_did_is_written(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(providers, "missing", lambda provider: None if provider == "cuda" else "absent")
    row = {"precision": "fp32", "provider": "cuda", "batch": 1, "ms": 1.0, "texts_per_s": 1000.0, "agreement": 1.0}
    monkeypatch.setattr(gpu, "measure", lambda bundle, provider, texts: [row])
    done = CliRunner().invoke(command(), [str(tiny_bundle), "--out", str(tmp_path / "gpu.json")])
    assert done.exit_code == 0, done.output
    piece = json.loads((tmp_path / "gpu.json").read_text())
    assert piece["models"] == {tiny_bundle.name: [row]}
    assert piece["absent"] == {"tensorrt": "absent"}


@pytest.mark.gpu
def test_a_gpu_answers_as_the_cpu_does(tiny_bundle):
    if why := providers.missing("cuda"):
        pytest.skip(why)
    assert all(row["agreement"] == 1 for row in gpu.measure(tiny_bundle, "cuda", TEXTS) if row["precision"] == "fp32")
