"""What this machine and this installation can do, and what is missing. Needs the base install only."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lilliput import __version__
from lilliput.cache import cache_folder
from lilliput.machine import FEATURES, cpu, memory_bytes, usable_cores, versions

_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_PURPOSES = {
    "toolkit": "training, compression and export",
    "serve": "'lilliput serve'",
    "sign": "signed bundles",
    "dev": "the tests",
}
"""What each extra beside the base and one of the two runtimes is for."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+).*?(?:extra\s*==\s*['\"]([\w-]+)['\"])?$")
_INT8_INSTRUCTIONS = ("VNNI", "AMX-INT8", "DOTPROD", "I8MM")


def facts() -> dict[str, Any]:
    """Everything that ``lilliput doctor`` says, as values that JSON can hold.

    ``problems`` keep an app from using a bundle; ``advice`` is what else is worth knowing. Both say what to do.
    """
    required = _required()
    found: dict[str, Any] = {
        "lilliput": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": _machine(),
        "packages": {group: versions(names) for group, names in required.items()},
        "providers": None,
        "cuda": None,
        "cache": _cache(),
        "problems": [],
        "advice": [],
    }
    _check_base(found)
    _check_runtime(found)
    _check_toolkit(found)
    _check_machine(found)
    return found


def render(found: dict[str, Any]) -> RenderableType:
    """The facts as tables for a terminal, problems last."""
    parts: list[RenderableType] = [_machine_table(found), _package_table(found), _cache_table(found["cache"])]
    parts += [Text(f"problem: {line}", style="bold red") for line in found["problems"]]
    parts += [Text(f"note: {line}", style="yellow") for line in found["advice"]]
    if not found["problems"]:
        parts.append(Text("Ready to use bundles.", style="green"))
    return Group(*parts)


def _required() -> dict[str, list[str]]:
    """Distributions by group, as Lilliput's own metadata names them: base, runtime, toolkit, dev."""
    groups: dict[str, list[str]] = {"base": [], "runtime": list(_RUNTIMES), **{extra: [] for extra in _PURPOSES}}
    try:
        requirements = importlib.metadata.requires("lilliput") or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
    for requirement in requirements:
        if match := _REQUIREMENT.match(requirement):
            name, extra = match.groups()
            if (group := extra or "base") in groups:
                groups[group].append(name)
    return groups


def _machine() -> dict[str, Any]:
    processor = cpu()
    return {
        "cpu": processor.name,
        "architecture": processor.architecture,
        "features": None if processor.features is None else list(processor.features),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_bytes": memory_bytes(),
    }


def _cache() -> dict[str, Any]:
    folder = cache_folder()
    hub = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    embedded = folder / "embedded"
    return {
        "folder": str(folder),
        "free_bytes": None if there is None else shutil.disk_usage(there).free,
        "writable": there is not None and os.access(there, os.W_OK),
        "embedded": {path.name: _size(path) for path in sorted(embedded.glob("[!.]*")) if path.is_dir()},
        "hub_folder": str(hub),
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _check_base(found: dict[str, Any]) -> None:
    base = found["packages"]["base"]
    if not base:
        found["problems"].append('Lilliput is not installed as a package: run `pip install ".[cpu]"` in its folder')
    missing = [name for name, version in base.items() if version is None]
    if missing:
        found["problems"].append(f"missing: {', '.join(missing)}. Run `pip install {' '.join(missing)}`")


def _check_runtime(found: dict[str, Any]) -> None:
    """ONNX Runtime: exactly one of its two distributions, and it must import."""
    installed = [name for name, version in found["packages"]["runtime"].items() if version is not None]
    if not installed:
        found["problems"].append(
            "ONNX Runtime is missing: in Lilliput's folder run "
            '`pip install ".[cpu]"`, or for CUDA `pip install ".[gpu]"`'
        )
        return
    if len(installed) > 1:
        found["problems"].append(
            "onnxruntime and onnxruntime-gpu are both installed, and each overwrites files of the other: run "
            "`pip uninstall -y onnxruntime onnxruntime-gpu`, then install one of them"
        )
    try:
        found["providers"] = importlib.import_module("onnxruntime").get_available_providers()
    except (ImportError, OSError, AttributeError) as error:
        again = f"pip install --force-reinstall --no-deps {installed[0]}"
        found["problems"].append(f"{installed[0]} is installed but does not import ({error}): run `{again}`")
        return
    if installed == ["onnxruntime-gpu"] and "CUDAExecutionProvider" not in found["providers"]:
        found["advice"].append("onnxruntime-gpu finds no CUDA here, so it runs on the CPU: check the driver and CUDA")


def _check_toolkit(found: dict[str, Any]) -> None:
    """Training and export: what is missing, and whether torch sees a GPU."""
    for extra in _PURPOSES:
        group = found["packages"][extra]
        missing = [name for name, version in group.items() if version is None]
        if missing:
            what = _PURPOSES[extra]
            count = "not installed" if len(missing) == len(group) else f"lacks {', '.join(missing)}"
            found["advice"].append(f'{extra} ({what}): {count}; run `pip install ".[{extra}]"` in Lilliput\'s folder')
    if found["packages"]["toolkit"].get("torch") is None:
        return
    try:
        cuda = importlib.import_module("torch").cuda
        devices = [cuda.get_device_name(index) for index in range(cuda.device_count())] if cuda.is_available() else []
        found["cuda"] = {"available": bool(devices), "devices": devices}
    except (ImportError, OSError, RuntimeError) as error:
        found["advice"].append(f"torch is installed but does not work ({error}): install it again")


def _check_machine(found: dict[str, Any]) -> None:
    features = found["machine"]["features"]
    if features is not None and not set(features) & set(_INT8_INSTRUCTIONS):
        found["advice"].append(
            f"this CPU has none of {', '.join(_INT8_INSTRUCTIONS)}: int8 is slower here and can give other answers "
            "than where it was measured; compare `lilliput benchmark` for int8 and fp32"
        )
    if not found["cache"]["writable"]:
        found["advice"].append(f"{found['cache']['folder']} can't be written: set LILLIPUT_CACHE to another folder")


def _machine_table(found: dict[str, Any]) -> Table:
    machine, features = found["machine"], found["machine"]["features"]
    table = _table(f"Lilliput {found['lilliput']}, Python {found['python']}, {found['system']}")
    table.add_row("processor", Text(f"{machine['cpu']} ({machine['architecture']})"))
    shown = (
        "unknown"
        if features is None
        else ", ".join(f"{name} {'yes' if name in features else 'no'}" for name in FEATURES)
    )
    table.add_row("instructions", shown)
    table.add_row("threads", f"{machine['usable_cores']} usable of {machine['cores']} (affinity and container quota)")
    table.add_row("memory", _bytes(machine["memory_bytes"]))
    table.add_row("execution providers", "none" if not found["providers"] else ", ".join(found["providers"]))
    cuda = found["cuda"]
    table.add_row("CUDA in torch", "unknown" if cuda is None else Text(", ".join(cuda["devices"]) or "none"))
    return table


def _package_table(found: dict[str, Any]) -> Table:
    table = _table("Packages")
    for group, installed in found["packages"].items():
        line = Text()
        for name, version in installed.items():
            optional = group == "runtime" and any(installed.values())  # one of the two is enough
            if version is not None or not optional:
                line.append(
                    f"{name} {version or 'missing'}  ", style="" if version else "red" if group == "base" else "dim"
                )
        table.add_row(group, line)
    return table


def _cache_table(cache: dict[str, Any]) -> Table:
    table = _table("Files")
    table.add_row("cache", Text(f"{cache['folder']} ({_bytes(cache['free_bytes'])} free)"))
    held = ", ".join(f"{name} {_bytes(size)}" for name, size in cache["embedded"].items())
    table.add_row("embedded default", Text(held or "not fetched yet: run `lilliput data fetch`"))
    table.add_row("Hub cache", Text(cache["hub_folder"]))
    return table


def _table(title: str) -> Table:
    table = Table(title=Text(title), title_justify="left", show_header=False, expand=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _bytes(count: int | None) -> str:
    if count is None:
        return "unknown"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
