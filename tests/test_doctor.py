"""The doctor names what is missing or wrong, with the line that mends it."""

import io
import json
import types

import pytest
from rich.console import Console

from lilliput import doctor
from lilliput.machine import Cpu

BASE = {"numpy": "2.0", "tokenizers": "0.22", "huggingface-hub": "1.0", "typer": "0.20", "rich": "14.0"}


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A machine with the base install only; a test adds to the packages and modules that it finds."""
    packages = dict(BASE) | {"onnxruntime": "1.22"}
    modules = {"onnxruntime": types.SimpleNamespace(get_available_providers=lambda: ["CPUExecutionProvider"])}

    def import_module(name):
        if name not in modules:
            raise ImportError(f"no {name}")
        return modules[name]

    monkeypatch.setenv("LILLIPUT_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "versions", lambda names: {name: packages.get(name) for name in names})
    monkeypatch.setattr(doctor.importlib, "import_module", import_module)
    monkeypatch.setattr(doctor, "cpu", lambda: Cpu("a processor", "x86_64", ("AVX2", "VNNI")))
    return types.SimpleNamespace(packages=packages, modules=modules)


def test_groups_come_from_the_metadata():
    groups = doctor._required()
    assert set(groups["base"]) == {"numpy", "tokenizers", "huggingface-hub", "typer", "rich"}
    assert groups["runtime"] == ["onnxruntime", "onnxruntime-gpu"]
    assert "torch" in groups["toolkit"]
    assert "pytest" in groups["dev"]


def test_the_base_install_is_fine(installed, tmp_path):
    found = doctor.facts()
    assert found["problems"] == []
    assert found["providers"] == ["CPUExecutionProvider"]
    assert found["cuda"] is None
    assert found["machine"]["features"] == ["AVX2", "VNNI"]
    assert found["machine"]["usable_cores"] >= 1
    assert found["cache"]["folder"] == str(tmp_path)
    assert found["cache"]["free_bytes"] > 0
    assert any(line.startswith("toolkit") and '.[toolkit]"' in line for line in found["advice"])
    assert json.loads(json.dumps(found)) == found


def test_no_onnxruntime(installed):
    del installed.packages["onnxruntime"]
    (problem,) = doctor.facts()["problems"]
    assert 'pip install ".[cpu]"' in problem
    assert 'pip install ".[gpu]"' in problem


def test_both_onnxruntimes(installed):
    installed.packages["onnxruntime-gpu"] = "1.22"
    (problem,) = doctor.facts()["problems"]
    assert "both installed" in problem
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in problem


def test_a_broken_onnxruntime(installed):
    del installed.modules["onnxruntime"]
    (problem,) = doctor.facts()["problems"]
    assert "does not import (no onnxruntime)" in problem
    assert "--force-reinstall" in problem


def test_an_emptied_onnxruntime(installed):
    """What uninstalling one of the two leaves of the other: a module without functions."""
    installed.modules["onnxruntime"] = types.SimpleNamespace()
    (problem,) = doctor.facts()["problems"]
    assert "onnxruntime is installed but does not import" in problem


def test_the_gpu_package_without_cuda_is_advice(installed):
    installed.packages["onnxruntime-gpu"] = installed.packages.pop("onnxruntime")
    found = doctor.facts()
    assert found["problems"] == []
    assert any("finds no CUDA" in line for line in found["advice"])


def test_a_missing_base_package(installed):
    del installed.packages["tokenizers"]
    assert doctor.facts()["problems"] == ["missing: tokenizers. Run `pip install tokenizers`"]


def test_torch_and_its_devices(installed):
    installed.packages["torch"] = "2.13"
    cuda = types.SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_name=lambda index: f"GPU {index}"
    )
    installed.modules["torch"] = types.SimpleNamespace(cuda=cuda)
    assert doctor.facts()["cuda"] == {"available": True, "devices": ["GPU 0", "GPU 1"]}


def test_a_torch_that_does_not_import(installed):
    installed.packages["torch"] = "2.13"
    found = doctor.facts()
    assert found["problems"] == []
    assert any("torch is installed but does not work (no torch)" in line for line in found["advice"])


@pytest.mark.parametrize(("features", "warned"), [((), True), (("AVX2",), True), (("I8MM",), False), (None, False)])
def test_a_cpu_without_int8_instructions(installed, monkeypatch, features, warned):
    monkeypatch.setattr(doctor, "cpu", lambda: Cpu("old", "x86_64", features))
    assert any("int8 is slower here" in line for line in doctor.facts()["advice"]) is warned


def test_render_shows_versions_features_cache_and_problems(installed, tmp_path):
    (tmp_path / "embedded" / "tiny").mkdir(parents=True)
    (tmp_path / "embedded" / "tiny" / "weights").write_bytes(bytes(1_500_000))
    installed.packages["onnxruntime-gpu"] = "1.22"
    console = Console(file=io.StringIO(), width=200)
    console.print(doctor.render(doctor.facts()))
    shown = console.file.getvalue()
    for part in ("a processor", "VNNI yes", "BF16 no", "numpy 2.0", "torch missing", "tiny 1.5 MB", str(tmp_path)):
        assert part in shown
    assert "problem: onnxruntime and onnxruntime-gpu are both installed" in shown
    assert "Ready" not in shown


def test_this_installation_has_no_problems():
    found = doctor.facts()
    assert found["problems"] == []
    console = Console(file=io.StringIO(), width=120)
    console.print(doctor.render(found))
    assert "Ready to use bundles." in console.file.getvalue()
