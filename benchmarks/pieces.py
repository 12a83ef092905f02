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
        piece = read(path)
        pieces[path.stem] = {key: value for key, value in piece.items() if key != "figures"}
        for figure in piece["figures"]:
            if figure["id"] in measured:
                raise ConfigError(f"{path}: {figure['id']} is in another piece too; keep one of them")
            measured[figure["id"]] = {**figure, "command": piece["command"], "commit": piece["commit"]}
    if unknown := measured.keys() - {target.id for target in targets}:
        raise ConfigError(f"no target is known for {', '.join(sorted(unknown))}")
    return {"figures": [_judged(target, measured.get(target.id)) for target in targets], "pieces": pieces}


def table(merged: Mapping[str, Any]) -> str:
    """The figures that `merge` judged, with the command that measured each, as a Markdown table.

    Under it the machine of every piece whose speeds were measured in rounds.
    """
    lines = ["| figure | measured | target | status | command |", "| --- | ---: | ---: | --- | --- |"]
    for figure in merged["figures"]:
        bound = "≤" if figure["direction"] == "at most" else "≥"
        command = f"`{figure['command']}`" if figure["command"] else ""
        cells = (figure["id"], _shown(figure), f"{bound} {figure['target']:g}", figure["status"], command)
        lines.append("| " + " | ".join(cells) + " |")
    for piece in merged["pieces"].values():
        if "p50_spread" in piece:
            lines += ["", source(piece, of=f" of `{piece['command']}`")]
    return "\n".join(lines)


def source(piece: Mapping[str, Any], of: str = "") -> str:
    """Where the speeds of a piece come from, as a sentence; another one where the machine was busy.

    Args:
        of: which speeds, in words.
    """
    folds = "".join(f" of fold {fold}," for fold in folds_of(piece))
    return f"Speeds{of} are{folds} on {processor(piece['machine'])}.{busy(piece)}"


def processor(where: Mapping[str, Any]) -> str:
    """The processor of a machine, as pieces and reports describe it, and how many cores could be used."""
    cores = "1 core" if where["cores"] == 1 else f"{where['cores']} cores"
    return f"{where['cpu']} with {cores}"


def busy(run: Mapping[str, Any]) -> str:
    """That a run was noisy, as a sentence with a space before it; nothing where it was not."""
    if not run["noisy"]:
        return ""
    return f" The machine was busy in that run: p50 spread of {run['p50_spread']:.0%} between rounds."


def folds_of(piece: Mapping[str, Any]) -> list[int]:
    """The folds of the embedded data that a piece is of; where it does not say, the seeds of its figures are the folds.

    Merged pieces have no figures, so of some of them nothing is known.
    """
    if "fold" in piece:
        return [piece["fold"]]
    return sorted({seed for figure in piece.get("figures", ()) for seed in figure["seeds"]})


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


def read(path: Path) -> dict[str, Any]:
    """A piece, as `write` wrote it.

    Raises:
        ConfigError: it can't be read, or is no piece.
    """
    try:
        piece = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(figure["id"], str) for figure in piece["figures"]):
            raise TypeError
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path}: no piece of a measurement") from None
    return dict(piece)


def _command() -> str:
    """The command line of this process, as a reader types it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).name
    return shlex.join(["python", "-m", name, *sys.argv[1:]])
