"""What this machine is: processor, its number formats, cores and memory that this process may use.

Torch-free. The benchmark writes these facts beside every figure; ``lilliput doctor`` prints them.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")

FEATURES: dict[str, frozenset[str]] = {
    "AVX2": frozenset({"avx2"}),
    "AVX-512": frozenset({"avx512f"}),
    "VNNI": frozenset({"avx512_vnni", "avx_vnni"}),
    "AMX-INT8": frozenset({"amx_int8"}),
    "AMX-BF16": frozenset({"amx_bf16"}),
    "BF16": frozenset({"avx512_bf16", "bf16"}),
    "DOTPROD": frozenset({"asimddp"}),
    "I8MM": frozenset({"i8mm"}),
}
"""Features that decide the speed of int8 and bf16, and the kernel's names for each (x86 and Arm)."""


@dataclass(frozen=True)
class Cpu:
    """A processor as the operating system describes it.

    ``features`` are those of ``FEATURES`` that it has, or None where the system does not say.
    """

    name: str
    architecture: str
    features: tuple[str, ...] | None

    def has(self, feature: str) -> bool | None:
        """Whether it has one of ``FEATURES``; None where the system does not say."""
        return None if self.features is None else feature in self.features


def cpu(cpuinfo: Path = CPUINFO) -> Cpu:
    """Read the processor's name and features (from /proc/cpuinfo where there is one)."""
    architecture = platform.machine()
    try:
        fields = _first_processor(cpuinfo.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return Cpu(platform.processor() or architecture, architecture, None)
    name = fields.get("model name") or fields.get("Model") or platform.processor() or architecture
    if "cpu family" in fields and "model" in fields:
        # Hypervisors shorten names ("AMD EPYC"); family and model still tell the generations apart.
        name = f"{name} (family {fields['cpu family']}, model {fields['model']})"
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    return Cpu(name, architecture, features_of(flags) if flags else None)


def features_of(flags: Iterable[str]) -> tuple[str, ...]:
    """The entries of ``FEATURES`` that a list of kernel flags implies, in the table's order."""
    present = frozenset(flags)
    return tuple(name for name, any_of in FEATURES.items() if any_of & present)


def usable_cores() -> int:
    """Cores that this process may use: its affinity mask, cut to the container's CPU quota; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # only some systems have masks
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _cgroup_quota(CGROUP / "cpu.max")
    return max(1, cores if quota is None else min(cores, quota))


def memory_bytes(meminfo: Path = MEMINFO) -> int | None:
    """Memory that this process may use: the machine's, cut to the container's limit; None if unknown."""
    limits = []
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemTotal:"):
                limits.append(int(line.split()[1]) * 1024)
        limit = (CGROUP / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            limits.append(int(limit))
    except (OSError, ValueError, IndexError):
        pass
    return min(limits) if limits else None


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """The installed version of each distribution, None where it is not installed. Imports none of them."""
    return {name: _version(name) for name in packages}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _first_processor(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in text.split("\n\n", 1)[0].splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    return fields


def _cgroup_quota(path: Path) -> int | None:
    """Whole cores of a cgroup v2 ``cpu.max`` ("200000 100000" is 2), rounded up; None without a quota."""
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return None if quota == "max" else -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None
