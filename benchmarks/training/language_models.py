"""Masked language modelling: ``python -m lilliput.benchmarks.training.language_models --out FILE.json``.

A model of 4 layers and width 256 is trained from scratch on the embedded corpora for at most ten minutes and compared
with always guessing the most frequent token (a unigram model); and the embedded checkpoint is trained on, which must
lower its loss on text that it has not read.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput.benchmarks import pieces
from lilliput.benchmarks.training.corpus import write_corpus
from lilliput.config import PretrainConfig, TokenizerConfig
from lilliput.errors import LilliputError
from lilliput.train import pretrain, train_tokenizer

FOLD = 0


def from_scratch(corpus: Path, work: Path, steps: int) -> dict[str, Any]:
    """Train tokenizer and model on ``corpus``; the result with the minutes that both took."""
    began = time.monotonic()
    tokenizer = train_tokenizer(TokenizerConfig(corpus=(str(corpus),), vocab_size=8000, out=work / "tokenizer"))
    trained = pretrain(
        PretrainConfig(
            corpus=(str(corpus),),
            architecture="mini",
            tokenizer=tokenizer["folder"],
            epochs=1000,
            max_steps=steps,
            learning_rate=1e-3,
            batch_size=32,
            max_length=64,
            out=work / "scratch",
        )
    )
    return {**trained, "minutes": (time.monotonic() - began) / 60}


def continued(corpus: Path, work: Path, epochs: int) -> dict[str, Any]:
    """Train the embedded checkpoint on ``corpus``."""
    return pretrain(
        PretrainConfig(
            corpus=(str(corpus),),
            model="embedded",
            epochs=epochs,
            learning_rate=2e-4,
            batch_size=16,
            out=work / "adapted",
        )
    )


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figures go.")],
    work: Annotated[Path, typer.Option(help="Folder of the models.")] = Path("runs/language-models"),
    steps: Annotated[int, typer.Option(help="Steps of the model from scratch.")] = 3000,
    epochs: Annotated[int, typer.Option(help="Passes of the continued model over the corpus.")] = 1,
) -> None:
    """Measure both and write the piece."""
    try:
        corpus = write_corpus(work / "corpus.txt", FOLD)
        scratch, adapted = from_scratch(corpus, work, steps), continued(corpus, work, epochs)
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    ratio = scratch["masked_accuracy"] / scratch["unigram_accuracy"]
    drop = adapted["loss_before"] - adapted["loss"]
    figures = [
        pieces.Figure("train.mlm_vs_unigram", ratio, "times", seeds=(0,)),
        pieces.Figure("train.continued_loss_drop", drop, "nats", seeds=(0,)),
    ]
    pieces.write(out, figures, scratch=scratch, adapted=adapted)
    typer.echo(f"{ratio:.2f} times the unigram model in {scratch['minutes']:.1f} minutes; loss lower by {drop:.3f}")


if __name__ == "__main__":
    typer.run(main)
