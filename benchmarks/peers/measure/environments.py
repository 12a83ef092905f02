"""Virtual environments of the peers: made once, from requirements that pin every package, and kept in the cache.

``CACHE/peers/NAME-DIGEST`` is one, where the digest is that of the requirements and the version of Python; so a changed
pin makes a new environment, and several versions can lie beside each other.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

from filelock import FileLock

from lilliput.cache import cache_folder
from lilliput.errors import FetchError
from lilliput.runs import write_json

COMPLETE = "complete.json"
"""Written last: an environment without it was interrupted, and is made anew."""

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own: on the package index, its build for Linux is the five times larger one for CUDA."""

LIMIT_S = 1800


def requirements_of(name: str) -> str:
    """The text of ``requirements/NAME.txt``."""
    folder = resources.files("lilliput.benchmarks.peers") / "requirements"
    return (folder / f"{name}.txt").read_text(encoding="utf-8")


def pins_of(requirements: str) -> dict[str, str]:
    """Versions by package, of lines ``package==version``; comments and empty lines are left out.

    Raises:
        ValueError: a line pins nothing.
    """
    lines = [line.split("#")[0].strip() for line in requirements.splitlines()]
    found = {}
    for line in filter(None, lines):
        pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;]+)", line)
        if pin is None:
            raise ValueError(f"{line!r} is no pin such as package==1.0")
        found[pin[1].lower().replace("_", "-")] = pin[2]
    return found


def folder_of(name: str, cache: Path | None = None) -> Path:
    """Where the environment of these requirements is, or will be."""
    text = f"{requirements_of(name)}\n{'.'.join(platform.python_version_tuple()[:2])}"
    return (cache or cache_folder()) / "peers" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def interpreter(name: str, cache: Path | None = None) -> Path:
    """Python of an environment, which is made if it is not there.

    Raises:
        FetchError: it can't be made; the message is pip's reason.
    """
    folder = folder_of(name, cache)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{folder.name}.lock"):
            if not (folder / COMPLETE).exists():
                _make(name, folder, python)
    except OSError as error:
        raise FetchError(f"the environment {folder} of the peers can't be written: {error}") from error
    return python


def versions_of(name: str, cache: Path | None = None) -> dict[str, str]:
    """What is installed in a finished environment: versions by package."""
    return dict(json.loads((folder_of(name, cache) / COMPLETE).read_text(encoding="utf-8"))["packages"])


def _make(name: str, folder: Path, python: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)], name)
    requirements = folder / "requirements.txt"
    requirements.write_text(requirements_of(name), encoding="utf-8")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    torch = pins_of(requirements_of(name)).get("torch")
    if torch and sys.platform == "linux":
        # Where this index can't be reached, the package index's build does as well.
        index = ["--retries", "0", "--extra-index-url", TORCH_INDEX]
        small = [*pip, "install", "--no-deps", *index, f"torch=={torch}+cpu"]
        subprocess.run(small, capture_output=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL)
    _run([*pip, "install", "-q", "-r", str(requirements)], name)
    listed = json.loads(_run([*pip, "list", "--format=json"], name))
    write_json(folder / COMPLETE, {"packages": {one["name"].lower(): one["version"] for one in listed}})


def _run(command: list[str], name: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise FetchError(f"the environment {name!r} was not made in {LIMIT_S // 60} minutes") from None
    if done.returncode:
        raise FetchError(f"the environment {name!r} can't be made: {_reason(done.stdout + done.stderr)}")
    return done.stdout


def _reason(output: str) -> str:
    """The line of pip's output that tells most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip said nothing"])[-1].removeprefix("ERROR:").strip()
