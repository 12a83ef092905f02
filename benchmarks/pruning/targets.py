"""What pruning promises: ``python -m lilliput.benchmarks.pruning.targets FOLDER --out FILE.json``.

FOLDER holds the pieces of the other commands. The folds' test sets are disjoint, so accuracies are pooled over the
folds that are there; that becomes one more piece, ``pooled.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lilliput import statistics
from lilliput.benchmarks import pieces
from lilliput.benchmarks.distillation.family import flags
from lilliput.benchmarks.evidence import unpacked
from lilliput.benchmarks.pairs import Pairs
from lilliput.benchmarks.pruning import structure
from lilliput.benchmarks.pruning.family import PACKED, PRUNED
from lilliput.benchmarks.pruning.folds import MATCH, REFERENCE
from lilliput.benchmarks.pruning.models import NAMES
from lilliput.benchmarks.readme import replaced
from lilliput.errors import LilliputError
from lilliput.runs import write_json, write_text

POOLED = "pooled.json"
PICTURE = "prune-structure.svg"
"""Beside the page."""
TARGETS = (
    pieces.target("prune.post_training_drop", "points", 1.0, at_most=True),
    pieces.target("prune.post_training_minutes", "minutes", 3, at_most=True),
    pieces.target("prune.speedup4_retained", "share", 0.975),
    pieces.target("prune.speedup4_speedup", "times", 4),
    pieces.target("prune.speedup8_retained", "share", 0.95),
    pieces.target("prune.speedup8_speedup", "times", 8),
    pieces.target("prune.target_error_max", "share", 0.05, at_most=True),
    pieces.target("prune.size_ratio", "times", 20),
    pieces.target("prune.size_retained", "share", 0.97),
    pieces.target("prune.vs_torch_pruning", "points", 0),
    pieces.target("prune.vs_layer_drop", "points", 0),
    pieces.target("prune.bert_base_peak_gb", "GiB", 10, at_most=True),
)
RETAINED = {"x4": "prune.speedup4_retained", "x8": "prune.speedup8_retained", "small": "prune.size_retained"}
AHEAD = {"torch-pruning": "prune.vs_torch_pruning", "layer-drop": "prune.vs_layer_drop"}


def pooled(folds: Sequence[Mapping[str, Any]], timed: Sequence[int] = ()) -> dict[str, dict[str, Any]]:
    """Every model over the folds that have it.

    Args:
        folds: pieces of :mod:`lilliput.benchmarks.pruning.models`, in the order of their folds.
        timed: folds whose models were timed.

    Returns:
        By model: ``folds``, and with intervals over all test texts ``retained``, ``accuracy``, and ``drop`` (of the
        teacher's accuracy, in points); of rivals ``ahead``: the points that the equally fast model of ours is ahead.
        Means over folds of ``size_ratio`` (the teacher's float32 bytes over the model's), ``seconds`` and ``bytes``.
        ``blocks`` and ``parameters`` are of one fold: one that was timed, where it has the model.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        there = [piece for piece in folds if name in piece["models"]]
        if not there:
            continue
        seen = [piece["models"][name] for piece in there]
        shown = next((piece for piece in there if piece["fold"] in timed), there[0])["models"][name]
        ours, theirs = reduce(add, (Pairs.read(one["pairs"]) for one in seen)).flags()
        retained, lost = statistics.retained(ours, theirs), statistics.difference(theirs, ours)
        found[name] = {
            "folds": [piece["fold"] for piece in there],
            "n": len(ours),
            "retained": None if retained is None else asdict(retained),
            "accuracy": asdict(statistics.accuracy(ours)),
            "drop": _points(lost),
            "size_ratio": float(
                np.mean([piece["teacher"]["bytes"] / piece["models"][name]["bytes"] for piece in there])
            ),
            **{what: float(np.mean([one[what] for one in seen])) for what in ("agreement", "seconds", "bytes")},
            "parameters": shown["parameters"],
            "precisions": sorted({one["precision"] for one in seen}),
            "blocks": shown["blocks"],
        }
        if name in AHEAD and (both := [piece for piece in there if MATCH + name in piece["models"]]):
            found[name]["ahead"] = _points(_ahead(name, both))
    return found


def _ahead(rival: str, folds: Sequence[Mapping[str, Any]]) -> Any:
    """How far the model that is as fast as a rival is ahead of it on the same test texts."""
    right = {
        name: np.concatenate([unpacked(piece["models"][name]["right"], piece["n_test"]) for piece in folds])
        for name in (MATCH + rival, rival)
    }
    return statistics.difference(right[MATCH + rival], right[rival])


def _points(seen: Any) -> dict[str, float]:
    return {end: 100 * getattr(seen, end) for end in ("value", "low", "high")}


def figures_of(found: Mapping[str, Mapping[str, Any]]) -> list[pieces.Figure]:
    """The figures that accuracies and sizes decide; the seeds are the folds."""
    figures = []

    def add_figure(name: str, figure: str, unit: str, seen: Mapping[str, float] | None) -> None:
        value, ci = (None, None) if seen is None else (seen["value"], (seen["low"], seen["high"]))
        figures.append(pieces.Figure(figure, value, unit, ci, found[name]["n"], found[name]["folds"]))

    for name, figure in RETAINED.items():
        if name in found:
            add_figure(name, figure, "share", found[name]["retained"])
    for name, figure in AHEAD.items():
        if "ahead" in found.get(name, {}):
            add_figure(name, figure, "points", found[name]["ahead"])
    if "post" in found:
        add_figure("post", "prune.post_training_drop", "points", found["post"]["drop"])
    if "small" in found:
        one = found["small"]
        figures.append(pieces.Figure("prune.size_ratio", one["size_ratio"], "times", None, 1, one["folds"]))
    return figures


def models_table(found: Mapping[str, Mapping[str, Any]], speeds: Mapping[str, Any]) -> str:
    """The models as a Markdown table.

    Args:
        found: as :func:`pooled` gives it.
        speeds: ``models`` of the piece of :mod:`lilliput.benchmarks.pruning.speed`.
    """
    lines = [
        "| model | settings | folds | heads/neurons by block | MB | accuracy | retained | times faster | minutes |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, one in found.items():
        speed = speeds.get(name, {}).get("speedup")
        cells = (
            name + ("" if one["precisions"] == ["int8"] else f" ({', '.join(one['precisions'])})"),
            f"`{flags(PRUNED[name])}`" if name in PRUNED else _instead(name),
            ", ".join(map(str, one["folds"])),
            " ".join(f"{heads}/{neurons}" for heads, neurons in one["blocks"]),
            f"{one['bytes'] / 1e6:.1f}",
            f"{one['accuracy']['value']:.2%}",
            "" if one["retained"] is None else "{value:.2%} ({low:.2%} to {high:.2%})".format(**one["retained"]),
            "" if speed is None else f"{speed[0]:.2f}",
            f"{one['seconds'] / 60:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _instead(name: str) -> str:
    """The settings of what is pruned no further, or by others."""
    if name in PACKED:
        return f"`lilliput quantize {flags(PACKED[name])}`"
    if name.startswith(MATCH):
        return f"as {REFERENCE}, as fast as {name.removeprefix(MATCH)}"
    return f"about as fast as {REFERENCE}, recovered as it was"


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the pieces, as the commands of this folder write them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the judged figures go.")],
    page: Annotated[Path | None, typer.Option(help="Markdown page whose tables are written anew.")] = None,
) -> None:
    """Pool the folds, merge the pieces, judge the figures, and write the tables of the page."""
    try:
        folds = sorted((pieces.read(path) for path in folder.glob("fold-*.json")), key=lambda piece: piece["fold"])
        speed = pieces.read(folder / "speed.json") if (folder / "speed.json").exists() else None
        found = pooled(folds, pieces.folds_of(speed) if speed else ())
        pieces.write(folder / POOLED, figures_of(found), models=found)
        merged = pieces.merge(sorted(folder.glob("*.json")), TARGETS)
        write_json(out, merged)
        if page:
            text = replaced(page.read_text(encoding="utf-8"), "prune", pieces.table(merged), page)
            rows = models_table(found, speed["models"] if speed else {})
            where = f"\n\n{pieces.source(speed)}" if speed else ""
            write_text(page, replaced(text, "prune-models", rows + where, page))
            shown = {name: one["blocks"] for name, one in found.items() if name in PRUNED}
            if shown:
                heads, neurons = folds[0]["teacher"]["block"]
                write_text(page.with_name(PICTURE), structure.picture(shown, heads, neurons))
    except (LilliputError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for figure in merged["figures"]:
        typer.echo(f"{figure['id']}: {figure['value']} {figure['unit']}, {figure['status']}")


if __name__ == "__main__":
    typer.run(main)
