"""What distillation promises: ``python -m lilliput.benchmarks.distillation.targets FOLDER --out FILE.json``.

FOLDER holds the pieces of the other commands, whose figures are judged. The folds' test sets are disjoint, so what
students retain of their teachers is pooled over the folds that are there; that becomes one more piece, ``pooled.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput import statistics
from lilliput.benchmarks import pieces
from lilliput.benchmarks.distillation import ablation
from lilliput.benchmarks.distillation.family import FAMILY, flags
from lilliput.benchmarks.pairs import Pairs
from lilliput.benchmarks.readme import replaced
from lilliput.errors import LilliputError
from lilliput.runs import write_json, write_text

POOLED = "pooled.json"

TARGETS = (
    pieces.target("distill.l3_retained", "share", 0.993),
    pieces.target("distill.l2_retained", "share", 0.98),
    pieces.target("distill.l1_retained", "share", 0.96),
    pieces.target("distill.seq_retained", "share", 0.95),
    pieces.target("distill.static_retained", "share", 0.935),
    pieces.target("distill.l3_speedup", "times", 2.4),
    pieces.target("distill.l2_speedup", "times", 3.6),
    pieces.target("distill.l1_speedup", "times", 7),
    pieces.target("distill.seq_speedup", "times", 12),
    pieces.target("distill.static_speedup", "times", 40),
    pieces.target("distill.l2_minutes", "minutes", 6, at_most=True),
    pieces.target("distill.memory_growth_10x", "times", 1.1, at_most=True),
)


def pooled(folds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every student over the folds that have it, made as the family says now: earlier settings are another student.

    Args:
        folds: pieces of :mod:`lilliput.benchmarks.distillation.students`, in the order of their folds.

    Returns:
        By student: ``folds`` (their numbers), ``pairs``, and with intervals over all test texts ``retained``,
        ``accuracy`` and ``teacher``; means over the folds of ``agreement``, ``seconds`` and ``bytes``; ``parameters``;
        ``precisions``, which are other than int8 where that one's gate refused.
    """
    found = {}
    for name in FAMILY:
        having = [piece for piece in folds if piece["students"].get(name, {}).get("settings") == FAMILY[name]]
        there = [piece["students"][name] for piece in having]
        if not there:
            continue
        pairs = reduce(add, (Pairs.read(one["pairs"]) for one in there))
        ours, theirs = pairs.flags()
        retained = statistics.retained(ours, theirs)
        found[name] = {
            "folds": [piece["fold"] for piece in having],
            "pairs": asdict(pairs),
            "retained": None if retained is None else asdict(retained),
            "accuracy": asdict(statistics.accuracy(ours)),
            "teacher": asdict(statistics.accuracy(theirs)),
            **{what: sum(one[what] for one in there) / len(there) for what in ("agreement", "seconds", "bytes")},
            "parameters": there[0]["parameters"],
            "precisions": sorted({one["precision"] for one in there}),
        }
    return found


def figures_of(students: Mapping[str, Mapping[str, Any]]) -> list[pieces.Figure]:
    """What every student retains of its teacher's accuracy; the seeds are the folds."""
    found = []
    for name, one in students.items():
        seen, n = one["retained"], sum(one["pairs"].values())
        value, ci = (None, None) if seen is None else (seen["value"], (seen["low"], seen["high"]))
        found.append(pieces.Figure(f"distill.{name}_retained", value, "share", ci, n, one["folds"]))
    return found


def family_table(students: Mapping[str, Mapping[str, Any]], speeds: Mapping[str, Mapping[str, Any]]) -> str:
    """The family as a Markdown table, with the settings of each.

    Args:
        students: as :func:`pooled` gives them.
        speeds: by id, the figures of :mod:`lilliput.benchmarks.distillation.speed`.
    """
    lines = [
        "| student | settings | folds | parameters | MB | accuracy | retained | agreement | times faster | minutes |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, one in students.items():
        speed = speeds.get(f"distill.{name}_speedup")
        cells = (
            name + ("" if one["precisions"] == ["int8"] else f" ({', '.join(one['precisions'])})"),
            f"`{flags(FAMILY[name])}`",
            ", ".join(map(str, one["folds"])),
            f"{one['parameters'] / 1e6:.1f}M",
            f"{one['bytes'] / 1e6:.1f}",
            f"{one['accuracy']['value']:.2%}",
            _share(one["retained"]),
            f"{one['agreement']:.1%}",
            "" if speed is None else f"{speed['value']:.1f}",
            f"{one['seconds'] / 60:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _share(seen: Mapping[str, float] | None) -> str:
    return "" if seen is None else f"{seen['value']:.2%} ({seen['low']:.2%} to {seen['high']:.2%})"


def tables(folder: Path, judged: Mapping[str, Any]) -> dict[str, str]:
    """The tables of the page, by name: the figures, the family, the ablations."""
    figures = {figure["id"]: figure for figure in judged["figures"] if figure["value"] is not None}
    found = {"distill": pieces.table(judged)}
    found["distill-family"] = family_table(pieces.read(folder / POOLED)["students"], figures)
    if (speed := folder / "speed.json").exists():
        found["distill-family"] += "\n\n" + pieces.source(pieces.read(speed))
    there = folder / "ablation.json"
    found["distill-ablation"] = ablation.table(pieces.read(there)["folds"]) if there.exists() else "Not measured yet."
    return found


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the pieces, as the commands of this folder write them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the judged figures go.")],
    page: Annotated[Path | None, typer.Option(help="Markdown page whose tables are written anew.")] = None,
) -> None:
    """Pool the folds, merge the pieces, judge the figures, and write the tables of the page."""
    try:
        folds = sorted((pieces.read(path) for path in folder.glob("fold-*.json")), key=lambda piece: piece["fold"])
        students = pooled(folds)
        pieces.write(folder / POOLED, figures_of(students), students=students)
        merged = pieces.merge(sorted(folder.glob("*.json")), TARGETS)
        write_json(out, merged)
        if page:
            text = page.read_text(encoding="utf-8")
            for name, table in tables(folder, merged).items():
                text = replaced(text, name, table, page)
            write_text(page, text)
    except (LilliputError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for figure in merged["figures"]:
        typer.echo(f"{figure['id']}: {figure['value']} {figure['unit']}, {figure['status']}")


if __name__ == "__main__":
    typer.run(main)
