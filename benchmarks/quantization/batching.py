"""What reading texts together brings: ``python -m lilliput.benchmarks.quantization.batching BUNDLES --out FILE.json``.

The test texts of a fold, sorted by length so that little is padded, are answered one by one and in batches, in turns,
on one thread. Tokens are there before the clock starts, for both.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from tokenizers import Encoding

from lilliput import runtime, statistics
from lilliput.benchmarks import pieces
from lilliput.config import DataConfig
from lilliput.errors import LilliputError
from lilliput.runtime import Model
from lilliput.train import sources

SIZES = (4, 8, 16, 32)


def seconds(model: Model, windows: Sequence[Encoding], size: int) -> float:
    """The time of all windows in batches of ``size``."""
    start = time.perf_counter()
    for first in range(0, len(windows), size):
        if size == 1:
            model.outputs([[windows[first]]])
        else:
            model.together(windows[first : first + size])
    return time.perf_counter() - start


def measure(model: Model, texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """How many times more texts a second each batch size answers than one by one: median over the rounds, interval."""
    windows = sorted((window for some in model.windows(texts) for window in some), key=len)
    taken: dict[int, list[float]] = {size: [] for size in (1, *SIZES)}
    seconds(model, windows[:64], 1)
    for _ in range(rounds):
        for size, times in taken.items():
            times.append(seconds(model, windows, size))
    found = {}
    for size in SIZES:
        gain = statistics.median_interval([one / other for one, other in zip(taken[1], taken[size], strict=True)])
        found[str(size)] = [gain.value, gain.low, gain.high]
    return found


def main(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles for the embedded data, of different names.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    precision: Annotated[str, typer.Option(help="Of the bundles.")] = "int8-static",
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2.")] = 0,
    texts: Annotated[int, typer.Option(help="Test texts that are read.")] = 256,
    rounds: Annotated[int, typer.Option(help="How often the sizes take turns.")] = 8,
) -> None:
    """Measure, and write the piece."""
    try:
        read = sources.load(DataConfig(seed=fold)).test.texts[:texts]
        rows = {}
        for bundle in bundles:
            name = bundle.parent.name if bundle.name == "bundle" else bundle.name
            rows[name] = measure(runtime.load(bundle, precision=precision, workers=1), read, rounds)
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    pieces.write(out, [], precision=precision, texts=len(read), gains=rows)
    for name, row in rows.items():
        typer.echo(f"{name}: " + ", ".join(f"{size} together {gain[0]:.2f} times" for size, gain in row.items()))


if __name__ == "__main__":
    typer.run(main)
