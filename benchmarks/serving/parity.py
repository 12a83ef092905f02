"""What graphs compute, beside PyTorch: ``python -m lilliput.benchmarks.serving.parity BUNDLES... --fold 0``.

A bundle's fp32 graph answers every test text of a fold of the embedded data on the path of an app; PyTorch reads the
same texts with the weights that lie in the bundle. The figure is the largest difference of a logit, over all bundles.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from lilliput import classifier_head, models, runtime
from lilliput.benchmarks import pieces
from lilliput.config import DataConfig
from lilliput.errors import LilliputError
from lilliput.train import sources
from lilliput.train.evaluate import logits_of


def difference(bundle: Path, texts: list[str]) -> float:
    """The largest difference of a logit between a bundle's fp32 graph and its weights in PyTorch."""
    graph = runtime.load(bundle, precision="fp32")
    tokenizer, model = models.load_tokenizer(bundle), models.load_finetuned_classifier(bundle)
    classifier_head.reorder_labels(model, models.match_labels(model, list(graph.labels), str(bundle)))
    expected = logits_of(model, tokenizer, texts, graph.manifest.max_length)
    return float(np.abs(graph.logits(texts) - expected).max())


def main(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles of classifiers with an fp32 graph.")],
    fold: Annotated[int, typer.Option(help="Of the embedded data: 0, 1 or 2.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figure goes.")],
) -> None:
    """Compare, and write the piece."""
    try:
        texts = sources.load(DataConfig(seed=fold)).test.texts
        found = {}
        for bundle in bundles:
            name = bundle.parent.name if bundle.name == "bundle" else bundle.name
            found[name] = difference(bundle, texts)
            typer.echo(f"{name}: {found[name]:.2e}")
        figure = pieces.Figure("export.parity_max_abs", max(found.values()), "logits", None, len(texts), (fold,))
        pieces.write(out, [figure], bundles=found)
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
