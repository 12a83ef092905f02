"""What quantization promises: ``python -m lilliput.benchmarks.quantization.targets FOLDER --out quantize.json``.

The worst of all models of all folds counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput.benchmarks import pieces
from lilliput.benchmarks.readme import replaced
from lilliput.errors import LilliputError
from lilliput.runs import write_json, write_text

TARGETS = (
    pieces.target("quantize.int8_drop_max", "points", 0.3, at_most=True, by_value=True),
    pieces.target("quantize.int8_agreement_min", "share", 0.985),
    pieces.target("quantize.qat_gain", "points", 0),
    pieces.target("quantize.bytes_ratio", "of fp32", 0.27, at_most=True),
    pieces.target("quantize.openvino_ratio", "times", 1.15, at_most=True),
    pieces.target("quantize.batch_flips", "flips", 0, at_most=True),
)


POOLED = "pooled.json"


def figures_of(folds: Sequence[Mapping[str, Any]]) -> list[pieces.Figure]:
    """The figures of the pieces of `lilliput.benchmarks.quantization.models`."""
    rows = [row for fold in folds for row in fold["models"].values()]
    if not rows:
        return []
    worst = (
        ("quantize.int8_drop_max", max(row["int8"]["drop_points"][0] for row in rows), "points"),
        ("quantize.int8_agreement_min", min(row["int8"]["agreement"] for row in rows), "share"),
        ("quantize.bytes_ratio", max(row["bytes_ratio"] for row in rows), "of fp32"),
        ("quantize.batch_flips", float(sum(row["int8-static"]["flips"] for row in rows)), "flips"),
    )
    numbers, count = [fold["fold"] for fold in folds], sum(fold["n_test"] for fold in folds)
    return [pieces.Figure(name, value, unit, None, count, numbers) for name, value, unit in worst]


def rows_of(folds: Sequence[Mapping[str, Any]]) -> str:
    """The models and what each precision costs them, as a Markdown table."""
    lines = [
        "| fold | model | precision | points lost on the test | agreement with fp32 |",
        "| ---: | --- | --- | ---: | ---: |",
    ]
    for fold in folds:
        for name, row in fold["models"].items():
            for precision in ("int8", "int8-static"):
                lost, low, high = row[precision]["drop_points"]
                shown = f"{lost:.2f} ({low:.2f} to {high:.2f}) | {row[precision]['agreement']:.2%}"
                lines.append(f"| {fold['fold']} | {name} | `{precision}` | {shown} |")
    return "\n".join(lines)


def gains_of(piece: Mapping[str, Any]) -> str:
    """What batches bring, as a Markdown table."""
    sizes = list(next(iter(piece["gains"].values())))
    lines = [
        "| model | precision | " + " | ".join(f"{size} together" for size in sizes) + " |",
        "| --- | --- |" + " ---: |" * len(sizes),
    ]
    for name, row in piece["gains"].items():
        shown = " | ".join("{:.2f} ({:.2f} to {:.2f})".format(*row[size]) for size in sizes)
        lines.append(f"| {name} | `{piece['precision']}` | {shown} |")
    return "\n".join(lines)


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the pieces, as the commands of this folder write them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the judged figures go.")],
    page: Annotated[Path | None, typer.Option(help="Markdown page whose tables are written anew.")] = None,
) -> None:
    """Pool the folds, merge the pieces, judge the figures, and write the tables of the page."""
    try:
        folds = [pieces.read(path) for path in sorted(folder.glob("fold-*.json"))]
        pieces.write(folder / POOLED, figures_of(folds))
        merged = pieces.merge(sorted(folder.glob("*.json")), TARGETS)
        write_json(out, merged)
        if page:
            text = replaced(page.read_text(encoding="utf-8"), "quantize", pieces.table(merged), page)
            text = replaced(text, "quantize-models", rows_of(folds), page)
            there = folder / "batching.json"
            gains = gains_of(pieces.read(there)) if there.exists() else "Not measured yet."
            write_text(page, replaced(text, "quantize-batching", gains, page))
    except (LilliputError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for figure in merged["figures"]:
        typer.echo(f"{figure['id']}: {figure['value']} {figure['unit']}, {figure['status']}")


if __name__ == "__main__":
    typer.run(main)
