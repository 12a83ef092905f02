from pathlib import Path

import pytest

from lilliput import machine

X86 = """processor\t: 0
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
flags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni

processor\t: 1
model name\t: another
flags\t\t: amx_int8
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16\n"


def test_x86_features_come_from_the_first_processor(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(X86)
    cpu = machine.cpu(tmp_path / "cpuinfo")
    assert cpu.name == "AMD EPYC (family 25, model 17)"
    assert cpu.features == ("AVX2", "AVX-512", "VNNI", "BF16")
    assert cpu.has("VNNI") is True
    assert cpu.has("AMX-INT8") is False


def test_arm_features(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(ARM)
    assert machine.cpu(tmp_path / "cpuinfo").features == ("BF16", "DOTPROD", "I8MM")


def test_unknown_system_says_unknown_rather_than_no(tmp_path: Path) -> None:
    cpu = machine.cpu(tmp_path / "absent")
    assert cpu.features is None
    assert cpu.has("VNNI") is None
    assert cpu.name


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", None), ("200000 100000", 2), ("150000 100000", 2), ("junk", None)]
)
def test_container_quota_rounds_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cores: int | None
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert machine.usable_cores() == (cores or 8)


def test_memory_is_cut_to_the_containers_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  1000 kB\nMemFree: 5 kB\n")
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.memory_bytes(tmp_path / "meminfo") == 1_024_000
    (tmp_path / "memory.max").write_text("512000\n")
    assert machine.memory_bytes(tmp_path / "meminfo") == 512_000
    assert machine.memory_bytes(tmp_path / "absent") is None


def test_versions_of_absent_packages_are_none() -> None:
    found = machine.versions(["numpy", "no-such-package-at-all"])
    assert found["numpy"]
    assert found["no-such-package-at-all"] is None
