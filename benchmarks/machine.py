"""Where and with what a report was measured."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

from lilliput import __version__, machine
from lilliput.benchmarks.measured import NOISY, Result

PACKAGES = ("torch", "transformers", "tokenizers", "onnxruntime", "onnx", "numpy", "scikit-learn")


def facts(result: Result) -> dict[str, Any]:
    """The machine, the versions, and how quiet it was: the ``machine`` of report.json."""
    cpu = machine.cpu()
    return {
        "cpu": cpu.name,
        "architecture": cpu.architecture,
        "features": None if cpu.features is None else list(cpu.features),
        "cores": machine.usable_cores(),
        "memory_bytes": machine.memory_bytes(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {"lilliput": __version__, **machine.versions(PACKAGES)},
        "noisy": result.noisy,
        "p50_spread": result.p50_spread,
        "noise_threshold": NOISY,
    }


def commit() -> str | None:
    """The commit of the source that runs, with "+" where files were changed since; None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        head = _git("rev-parse", "--short=12", "HEAD", folder=here)
        changed = _git("status", "--porcelain", "--untracked-files=no", folder=here)
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def _git(*arguments: str, folder: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
