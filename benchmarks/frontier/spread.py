"""One bundle in fresh processes: ``python -m lilliput.benchmarks.frontier.spread BUNDLE --out FILE.json``.

The same bundle answers the same texts in one process after the other. The figure is the largest of their median
latencies over the smallest, less 1: what the benchmark's own noise is on this machine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from lilliput.benchmarks import entries, latency, pieces
from lilliput.config import DataConfig
from lilliput.errors import LilliputError
from lilliput.train import sources

PROCESSES = 5


def main(
    bundle: Annotated[Path, typer.Argument(help="A bundle for the embedded data.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figure goes.")],
    precision: Annotated[str, typer.Option(help="Of the bundle.")] = "int8",
    texts: Annotated[int, typer.Option(help="Test texts that are read.")] = 1000,
) -> None:
    """Measure, and write the piece."""
    try:
        read = sources.load(DataConfig()).test.texts[:texts]
        entry, medians = entries.of_bundle(bundle, bundle.name, precision), []
        for _ in range(PROCESSES):
            with tempfile.TemporaryDirectory() as folder:
                result = latency.run([entry], read, threads=1, folder=Path(folder), all_cores=False)
            medians.append(result.models[entry.name].p50_ms)
            typer.echo(f"{medians[-1]:.4f} ms")
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    spread = max(medians) / min(medians) - 1
    figure = pieces.Figure("frontier.p50_spread", spread, "share", None, PROCESSES)
    pieces.write(out, [figure], p50_ms=medians, texts=len(read))
    typer.echo(f"{figure.id}: {spread:.3f}")


if __name__ == "__main__":
    typer.run(main)
