"""What training under the rounding is worth: ``python -m lilliput.benchmarks.quantization.training BUNDLE --fold 0``.

A bundle is quantized to one precision as it is and after training under the rounding, whatever its gates say; both
answer the fold's test texts. The figure is how many points of accuracy the training brings, with the paired interval.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lilliput import models, runtime, statistics
from lilliput.benchmarks import commands, pieces
from lilliput.config import DataConfig, QuantizeConfig
from lilliput.errors import LilliputError
from lilliput.runs import Run
from lilliput.train import sources


def made(run: Run, bundle: Path, settings: dict[str, Any]) -> Path:
    """The bundle that these settings give, made once."""
    name = f"{bundle.name}-{settings['precision']}-{settings['train']}-epochs"
    identity = {"bundle": models.fingerprint(bundle), "settings": {**settings}}

    def work(folder: Path) -> dict[str, Any]:
        # Failing a gate would leave nothing to measure.
        config = QuantizeConfig(
            model=str(bundle), max_drop=100, min_agreement=0, out=run.folder / f"{name}.made", **settings
        )
        return commands.run(config)

    return Path(run.stage(name, identity, work).result["folder"])


def main(
    bundle: Annotated[Path, typer.Argument(help="A bundle with an fp32 graph, for the embedded data.")],
    fold: Annotated[int, typer.Option(help="Of the embedded data, which the model was trained on: 0, 1 or 2.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the piece goes.")],
    precision: Annotated[str, typer.Option(help="int8, int8-static, int8-weights or int4.")] = "int4",
    epochs: Annotated[int, typer.Option(help="Of training.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="Of training.")] = 1e-4,
    work: Annotated[Path, typer.Option(help="Folder of what is made.")] = Path("runs/quantize"),
) -> None:
    """Quantize twice, compare on the test texts, and write the piece."""
    try:
        test = sources.load(DataConfig(seed=fold)).test
        gold, right = np.array(test.labels), {}
        common = {"precision": precision, "seed": fold, "learning_rate": learning_rate}
        with Run(work / f"trained-{fold}", "quantization") as run:
            for name, count in (("as it is", 0), ("trained", epochs)):
                place = made(run, bundle, {**common, "train": count})
                right[name] = runtime.load(place, precision=precision).logits(test.texts).argmax(axis=1) == gold
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    right["fp32"] = runtime.load(bundle, precision="fp32").logits(test.texts).argmax(axis=1) == gold
    gain = statistics.difference(right["trained"], right["as it is"])
    ends = (100 * gain.low, 100 * gain.high)
    figure = pieces.Figure("quantize.qat_gain", 100 * gain.value, "points", ends, len(test), (fold,))
    accuracy = {name: statistics.accuracy(hits).value for name, hits in right.items()}
    pieces.write(out, [figure], accuracy=accuracy, model=bundle.name, precision=precision, epochs=epochs)
    typer.echo(f"{100 * gain.value:.2f} points ({ends[0]:.2f} to {ends[1]:.2f}); accuracies {accuracy}")


if __name__ == "__main__":
    typer.run(main)
