"""The packages of examples/browser: installed once from its package-lock.json, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

import lilliput.benchmarks
from lilliput.cache import cache_folder
from lilliput.errors import FetchError
from lilliput.runs import write_json

LIMIT_S = 1800
COMPLETE = "complete.json"
"""Written last: an installation without it was interrupted, and is made anew."""

_PINS = ("package.json", "package-lock.json")


def example() -> Path:
    """The folder examples/browser.

    Raises:
        FetchError: it is not there, since Lilliput was installed without its repository.
    """
    folder = Path(lilliput.benchmarks.__path__[0]).resolve().parent / "examples" / "browser"
    if not (folder / _PINS[1]).is_file():
        raise FetchError(f"{folder / _PINS[1]}: not there; examples come with the repository, not with the package")
    return folder


def modules(source: Path | None = None, cache: Path | None = None) -> Path:
    """The folder ``node_modules`` of what ``source`` pins, examples/browser by default; it is made if it is not there.

    Raises:
        FetchError: there is no npm, or it fails; the message is npm's reason.
    """
    source = source or example()
    digest = hashlib.sha256(b"".join((source / name).read_bytes() for name in _PINS)).hexdigest()[:12]
    folder = (cache or cache_folder()) / "loaders" / f"npm-{digest}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{folder.name}.lock"):
            if not (folder / COMPLETE).exists():
                _install(source, folder)
    except OSError as error:
        raise FetchError(f"{folder}: npm's packages can't be written there: {error}") from error
    return folder / "node_modules"


def _install(source: Path, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError("npm is not installed, which transformers.js comes from: install Node.js 20 or newer")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in _PINS:
        shutil.copyfile(source / name, folder / name)
    # The scripts of onnxruntime-node and sharp would download builds for GPUs and images.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise FetchError(f"npm's packages were not installed in {LIMIT_S // 60} minutes") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("npm error")] or ["it said nothing"]
        raise FetchError(
            f"npm can't install what {source / _PINS[1]} pins: {lines[0].removeprefix('npm error').strip()}"
        )
    lock = json.loads((source / _PINS[1]).read_text(encoding="utf-8"))
    write_json(folder / COMPLETE, {"packages": len(lock["packages"]) - 1})
