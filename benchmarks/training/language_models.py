"""Masked language modelling: ``python -m lilliput.benchmarks.training.language_models --out FILE.json``.

A model of 4 layers and width 256 is trained from scratch on the embedded corpora of other domains, for at most ten
minutes on two cores, and compared with always guessing the most frequent token (a unigram model). Then it is trained on
with film reviews, which must lower its loss on film reviews that it has not read.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from lilliput.benchmarks import pieces
from lilliput.benchmarks.training.corpus import films, others, write_corpus
from lilliput.config import PretrainConfig, TokenizerConfig
from lilliput.errors import LilliputError
from lilliput.train import pretrain, train_tokenizer

FOLD = 0
SETTINGS: dict[str, Any] = {"batch_size": 32, "max_length": 64}


def from_scratch(work: Path, steps: int) -> dict[str, Any]:
    """Train tokenizer and model on text of other domains; the result, with the minutes that both took."""
    corpus = (str(write_corpus(work / "others.txt", others(FOLD))),)
    began = time.monotonic()
    tokenizer = train_tokenizer(TokenizerConfig(corpus=corpus, vocab_size=8000, out=work / "tokenizer"))
    config = PretrainConfig(
        corpus=corpus,
        architecture="mini",
        tokenizer=tokenizer["folder"],
        epochs=1000,
        max_steps=steps,
        learning_rate=1e-3,
        out=work / "scratch",
        **SETTINGS,
    )
    return {**pretrain(config), "minutes": (time.monotonic() - began) / 60}


def continued(model: str, work: Path, epochs: int) -> dict[str, Any]:
    """Train ``model`` on with film reviews."""
    corpus = (str(write_corpus(work / "films.txt", films(FOLD))),)
    config = PretrainConfig(
        corpus=corpus, model=model, epochs=epochs, learning_rate=3e-4, out=work / "continued", **SETTINGS
    )
    return pretrain(config)


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figures go.")],
    work: Annotated[Path, typer.Option(help="Folder of the models.")] = Path("runs/language-models"),
    steps: Annotated[int, typer.Option(help="Steps of the model from scratch.")] = 2400,
    epochs: Annotated[int, typer.Option(help="Passes over the film reviews.")] = 3,
) -> None:
    """Measure both and write the piece."""
    try:
        scratch = from_scratch(work, steps)
        adapted = continued(scratch["folder"], work, epochs)
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    ratio = scratch["masked_accuracy"] / scratch["unigram_accuracy"]
    drop = adapted["loss_before"] - adapted["loss"]
    figures = [
        pieces.Figure("train.mlm_vs_unigram", ratio, "times", n=scratch["masked_tokens"], seeds=(0,)),
        pieces.Figure("train.continued_loss_drop", drop, "nats", n=adapted["masked_tokens"], seeds=(0,)),
    ]
    pieces.write(out, figures, scratch=scratch, continued=adapted)
    typer.echo(f"{ratio:.2f} times the unigram model in {scratch['minutes']:.1f} minutes; loss lower by {drop:.3f}")


if __name__ == "__main__":
    typer.run(main)
