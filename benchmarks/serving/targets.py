"""What bundles promise in apps: ``python -m lilliput.benchmarks.serving.targets PIECES... --out export.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lilliput.benchmarks import pieces
from lilliput.benchmarks.hostile import trials
from lilliput.benchmarks.readme import replaced
from lilliput.errors import LilliputError
from lilliput.runs import write_json, write_text

TARGETS = (
    pieces.target("export.parity_max_abs", "logits", 1e-4, at_most=True),
    pieces.target("export.loaders_ok", "of 6", 6),
    pieces.target("export.browser_label_match", "share", 1.0),
    pieces.target("export.hostile_refused", "bundles", max(60, len(trials.cases()))),
    pieces.target("export.mutations_loaded", "of 10,000", 0, at_most=True),
    pieces.target("export.serve_p99_ratio", "times", 3, at_most=True),
    pieces.target("export.threads_mismatch", "answers", 0, at_most=True),
    pieces.target("export.rss_growth_mb", "MB", 50, at_most=True),
    pieces.target("export.cold_start_s", "s", 0.5, at_most=True),
)


def main(
    measured: Annotated[list[Path], typer.Argument(help="Pieces, as the commands of this folder write them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the judged figures go.")],
    page: Annotated[Path | None, typer.Option(help="Markdown page whose table of figures is written anew.")] = None,
) -> None:
    """Merge the pieces of the figures of export, runtime and server."""
    try:
        merged = pieces.merge(measured, TARGETS)
        write_json(out, merged)
        if page:
            text = page.read_text(encoding="utf-8")
            write_text(page, replaced(text, out.stem, pieces.table(merged), page))
    except (LilliputError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for figure in merged["figures"]:
        typer.echo(f"{figure['id']}: {figure['value']} {figure['unit']}, {figure['status']}")


if __name__ == "__main__":
    typer.run(main)
