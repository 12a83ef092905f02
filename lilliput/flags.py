"""Flags that mean the same in every command of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the result.")]
Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Hugging Face folder or Hub id; 'embedded' is all-MiniLM-L6-v2.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub id.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", "-d", help="'sentiment' (embedded), a folder, a CSV, TSV, JSONL or Parquet file, or Hub id."
    ),
]
TextColumn = Annotated[str | None, typer.Option(help="Column of the text, where its name is not a usual one.")]
PairColumn = Annotated[
    str | None, typer.Option(help="Column of the second text of a pair, where its name is not a usual one.")
]
LabelColumn = Annotated[str | None, typer.Option(help="Column of the label, where its name is not a usual one.")]
SliceColumn = Annotated[str | None, typer.Option(help="Column whose values the evaluation is broken down by.")]
AllowOverlap = Annotated[bool | None, typer.Option("--allow-overlap", help="Accept texts that two splits share.")]
Task = Annotated[str | None, typer.Option("--task", "-t", help="A task of the task table, such as classification.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML with the same keys as the flags; flags win.")]
Sign = Annotated[Path | None, typer.Option(help="PEM file with a private Ed25519 key that the bundle is signed with.")]
Seed = Annotated[int | None, typer.Option(help="Of every random choice; embedded data are split by seed modulo 3.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the result to this file, as JSON.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training texts.")]
LearningRate = Annotated[float | None, typer.Option(help="Peak learning rate of AdamW.")]
BatchSize = Annotated[int | None, typer.Option(help="Texts a step.")]
Warmup = Annotated[float | None, typer.Option(help="Share of the steps with a rising learning rate.")]
WeightDecay = Annotated[float | None, typer.Option(help="Weight decay of AdamW.")]
MaxLength = Annotated[int | None, typer.Option(help="Tokens of a text that are read.")]
SaveEvery = Annotated[int | None, typer.Option(help="Steps between two checkpoints.")]
GradientAccumulation = Annotated[int | None, typer.Option(help="Batches whose gradients one step adds up.")]
Patience = Annotated[int | None, typer.Option(help="Stop after so many epochs without a better validation score.")]
Corpus = Annotated[
    list[str] | None,
    typer.Option("--corpus", help=".txt, CSV, TSV, JSONL or Parquet file, or Hub id; repeat it for more."),
]
