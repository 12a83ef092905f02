"""Figures measured in pieces: each command writes one file, and a merge makes ``benchmarks/results/NAME.json``.

A long measurement is cut into commands of at most an hour. Each writes a piece, with the command, the commit and the
machine it was measured on; pieces are kept beside the merged file, which says for every promised figure what was
measured and whether that is enough.
"""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lilliput import __version__, machine
from lilliput.benchmarks.figures import Seen, Target
from lilliput.benchmarks.machine import PACKAGES, commit
from lilliput.errors import ConfigError
from lilliput.runs import write_json


@dataclass(frozen=True)
class Figure:
    """A measured value: its unit, 95% interval, how many items or repetitions it rests on, and the seeds.

    ``value`` is None where it could not be measured here.
    """

    id: str
    value: float | None
    unit: str
    ci: Sequence[float] | None = None
    n: int | None = None
    seeds: Sequence[int] = field(default_factory=tuple)


def write(path: Path, figures: Sequence[Figure], **details: Any) -> None:
    """Write a piece: figures, whatever explains them, and where they were measured."""
    cpu = machine.cpu()
    write_json(
        path,
        {
            "figures": [_plain(figure) for figure in figures],
            **details,
            "command": _command(),
            "commit": commit(),
            "machine": {
                "cpu": cpu.name,
                "cores": machine.usable_cores(),
                "python": platform.python_version(),
                "versions": {"lilliput": __version__, **machine.versions(PACKAGES)},
            },
        },
    )


def _plain(figure: Figure) -> dict[str, Any]:
    ci = None if figure.ci is None else list(figure.ci)
    return {**asdict(figure), "ci": ci, "seeds": list(figure.seeds)}


def target(id: str, unit: str, value: float, **options: Any) -> Target:
    """A promised figure whose value comes from a piece, not from a report; ``options`` as of `Target`."""
    return Target(id, unit, value, lambda report: None, **options)


def merge(paths: Sequence[Path], targets: Sequence[Target]) -> dict[str, Any]:
    """What was promised and what was measured, from the pieces: one entry for every target, in their order.

    Raises:
        ConfigError: a file is no piece, two pieces have the same figure, or a figure was never promised.
    """
    measured: dict[str, dict[str, Any]] = {}
    pieces = {}
    for path in paths:
        piece = _read(path)
        pieces[path.stem] = {key: value for key, value in piece.items() if key != "figures"}
        for figure in piece["figures"]:
            if figure["id"] in measured:
                raise ConfigError(f"{path}: {figure['id']} is in another piece too; keep one of them")
            measured[figure["id"]] = {**figure, "command": piece["command"], "commit": piece["commit"]}
    if unknown := measured.keys() - {target.id for target in targets}:
        raise ConfigError(f"no target is known for {', '.join(sorted(unknown))}")
    return {"figures": [_judged(target, measured.get(target.id)) for target in targets], "pieces": pieces}


def table(figures: Sequence[Mapping[str, Any]]) -> str:
    """The figures as a Markdown table, with the command that measured each."""
    lines = ["| figure | measured | target | status | command |", "| --- | ---: | ---: | --- | --- |"]
    for figure in figures:
        bound = "≤" if figure["direction"] == "at most" else "≥"
        command = f"`{figure['command']}`" if figure["command"] else ""
        cells = (figure["id"], _shown(figure), f"{bound} {figure['target']:g}", figure["status"], command)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "not measured"
    interval = " ({:.4g} to {:.4g})".format(*figure["ci"]) if figure["ci"] else ""
    return f"{figure['value']:.4g}{interval} {figure['unit']}"


def _judged(target: Target, found: Mapping[str, Any] | None) -> dict[str, Any]:
    value = found["value"] if found else None
    seen = Seen(value, found["ci"]) if found and value is not None else None
    return {
        "id": target.id,
        "value": value,
        "unit": target.unit,
        "ci": found["ci"] if found else None,
        "n": found["n"] if found else None,
        "seeds": list(found["seeds"]) if found else [],
        "target": target.target,
        "direction": "at most" if target.at_most else "at least",
        "status": target.status(seen, teacher_is_good=True),
        "command": found["command"] if found else None,
        "commit": found["commit"] if found else None,
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        piece = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(figure["id"], str) for figure in piece["figures"]):
            raise TypeError
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path}: no piece of a measurement") from None
    return piece


def _command() -> str:
    """The command line of this process, as a reader types it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).name
    return shlex.join(["python", "-m", name, *sys.argv[1:]])
