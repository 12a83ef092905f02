"""Questions to a loader, in its own environment, and what it answers."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput.benchmarks.loaders import browsing, npm
from lilliput.benchmarks.loaders.roster import Loader
from lilliput.benchmarks.peers.measure import environments
from lilliput.benchmarks.worker import environment
from lilliput.errors import FetchError, LilliputError

LIMIT_S = 900

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Answers:
    """What a loader makes of texts.

    Attributes:
        tokens: ids of each text, special tokens included.
        values: scores of the labels, ``[texts, labels]``, or the vectors, ``[texts, hidden]``.
        labels: in the order of ``values``; empty for vectors.
        versions: of what answered, by package.
    """

    tokens: tuple[tuple[int, ...], ...]
    values: NDArray[np.float64]
    labels: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


def ask(
    loader: Loader, bundle: Path, texts: Sequence[str], python: Callable[[str], Path] = environments.interpreter
) -> Answers:
    """What ``loader`` answers with a bundle, text by text.

    Args:
        python: the interpreter of an environment, by the name of its requirements.

    Raises:
        FetchError: its environment can't be made.
        LilliputError: it failed; the message is its own last line.
    """
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "bundle").symlink_to(bundle.resolve(), target_is_directory=True)
        if loader.kind == "browser":
            found = _ask_browser(loader, bundle, texts)
        elif loader.kind == "node":
            found = _ask_node(loader, place, texts)
        else:
            found = _ask_python(loader, place, texts, python)
    return read(found)


def read(found: Mapping[str, Any]) -> Answers:
    """What a loader wrote, or a page sent.

    Raises:
        LilliputError: it is not an answer to each text, with a score for each label or a vector.
    """
    try:
        tokens = tuple(tuple(int(one) for one in ids) for ids in found["tokens"])
        versions = dict(found.get("versions", {}))
        if "vectors" in found:
            return Answers(tokens, np.array(found["vectors"], dtype=np.float64), (), versions)
        scores = found["scores"]
        labels = tuple(sorted(scores[0]))
        if any(row.keys() != scores[0].keys() for row in scores):
            raise LilliputError("not every text got a score for each label")
        values = np.array([[row[label] for label in labels] for row in scores], dtype=np.float64)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise LilliputError(f"its answers can't be read: {type(error).__name__}: {error}") from error
    return Answers(tokens, values, labels, versions)


def part(answers: Answers, which: slice) -> Answers:
    """The answers to some of the texts."""
    return replace(answers, tokens=answers.tokens[which], values=answers.values[which])


def _ask_python(loader: Loader, place: Path, texts: Sequence[str], python: Callable[[str], Path]) -> dict[str, Any]:
    interpreter = python(loader.requirements)
    _write(place, loader, texts, lines=loader.lines, kind=loader.kind)
    return _run([str(interpreter), "-I", str(_HERE / "ask.py"), "spec.json"], place)


def _ask_node(loader: Loader, place: Path, texts: Sequence[str]) -> dict[str, Any]:
    (place / "node_modules").symlink_to(npm.modules(), target_is_directory=True)
    script = loader.lines + (_HERE / "ask.mjs").read_text(encoding="utf-8")
    (place / "ask.mjs").write_text(script, encoding="utf-8")
    _write(place, loader, texts)
    return _run(["node", "ask.mjs"], place)


def _ask_browser(loader: Loader, bundle: Path, texts: Sequence[str]) -> dict[str, Any]:
    modules = npm.modules()
    found = browsing.ask(npm.example(), modules, bundle.resolve(), texts)
    packages = {name: modules / name / "package.json" for name in loader.packages}
    versions = {name: json.loads(path.read_text(encoding="utf-8"))["version"] for name, path in packages.items()}
    return {**found, "versions": {"browser": found.get("browser", "unknown"), **versions}}


def _write(place: Path, loader: Loader, texts: Sequence[str], **more: Any) -> None:
    spec = {"texts": list(texts), "packages": loader.packages, "out": "found.json", **more}
    (place / "spec.json").write_text(json.dumps(spec), encoding="utf-8")


def _run(command: list[str], place: Path) -> dict[str, Any]:
    try:
        done = subprocess.run(
            command,
            cwd=place,
            env={**os.environ, **environment(1)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise FetchError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise LilliputError(f"no answer in {LIMIT_S // 60} minutes") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        said = [line for line in lines if "Error" in line] or lines or [f"ended with {done.returncode}"]
        raise LilliputError(said[-1][:500])
    try:
        return dict(json.loads((place / "found.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise LilliputError(f"it wrote no answers: {error}") from error
