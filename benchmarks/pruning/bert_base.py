"""A random BERT-base on the whole way: ``python -m lilliput.benchmarks.pruning.bert_base --out FILE.json``.

A model of BERT-base's size with random weights is pruned to a speedup, which measures the latency table, searches and
reconstructs; both models are exported and quantized. The figure is the largest memory that the process ever had. The
speedups are real; of accuracy a random model says nothing.
"""

from __future__ import annotations

import resource
import shutil
from pathlib import Path
from typing import Annotated

import typer

from lilliput import models, tasks
from lilliput.benchmarks import pieces
from lilliput.compress.engine import compare, runnable
from lilliput.compress.pruning import prune_stages
from lilliput.config import DataConfig, PruneConfig
from lilliput.errors import ConfigError, LilliputError
from lilliput.runs import Run
from lilliput.train import embedded, sources

SPEEDUP = 2.0
TEXTS = 400
EVALUATED = 100
"""Texts on which accuracies are measured, which say nothing."""


def make(folder: Path, seed: int) -> None:
    """Save a random BERT-base with the embedded tokenizer and labels."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    dataset = sources.load(DataConfig(seed=seed))
    tokenizer = models.load_tokenizer(embedded.fetch_checkpoint())
    torch.manual_seed(seed)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=len(tokenizer), id2label=dict(enumerate(dataset.label_names)))
    )
    models.note(model, task="classification", max_length=128)
    models.save(model, tokenizer, folder, tasks.get("classification"))


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figure goes.")],
    work: Annotated[Path, typer.Option(help="Folder of the models.")] = Path("runs/bert-base"),
    seed: Annotated[int, typer.Option(help="Of the weights and the fold.")] = 0,
) -> None:
    """Make, prune, export, time; write the piece."""
    try:
        if not (work / "model" / "config.json").exists():
            make(work / "model", seed)
        settings = {"seed": seed, "calibration": 32, "per_layer": True}
        data = sources.load(DataConfig(seed=seed)).subset(validation=EVALUATED, test=EVALUATED)
        config = PruneConfig(model=str(work / "model"), speedup=SPEEDUP, out=work / "pruned", **settings)
        with Run(config.out, "prune") as run:
            cut, result = prune_stages(run, config, data)
        if cut.reused:
            raise ConfigError(f"--work {work}: pruned already, so that its memory can't be measured; remove it")
        texts = sources.load(DataConfig(seed=seed)).test.texts[:TEXTS]
        bundles = []
        for name, folder in (("whole", work / "model"), ("pruned", cut.folder)):
            model, tokenizer = models.load_finetuned_classifier(folder), models.load_tokenizer(folder)
            shutil.rmtree(work / f"{name}-bundle", ignore_errors=True)
            bundles.append(runnable(model, tokenizer, "int8", texts, work / f"{name}-bundle", max_length=128))
        timed = compare(bundles, texts, precision="int8", rounds=20)
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    figure = pieces.Figure("prune.bert_base_peak_gb", peak, "GiB", None, 1, (seed,))
    speedup = timed[1].speedup
    pieces.write(
        out,
        [figure],
        asked=SPEEDUP,
        achieved=[speedup.value, speedup.low, speedup.high],
        milliseconds=[one.ms for one in timed],
        blocks=result["blocks"],
    )
    typer.echo(f"peak {peak:.2f} GiB; {speedup.value:.2f} times faster")


if __name__ == "__main__":
    typer.run(main)
