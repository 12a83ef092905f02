"""The command that searches: compress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lilliput.flags import (
    AllowOverlap,
    ConfigFile,
    Data,
    Device,
    Json,
    LabelColumn,
    MaxLength,
    Out,
    PairColumn,
    Revision,
    Seed,
    SliceColumn,
    Task,
    TextColumn,
)
from lilliput.shell import console, finish, flags_of, need_toolkit


def compress(
    out: Out = None,
    teacher: Annotated[str | None, typer.Option(help="Fine-tuned Hugging Face folder or Hub id.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Or a pretrained one, or 'embedded'; it becomes the teacher first."),
    ] = None,
    revision: Revision = None,
    speedup: Annotated[float | None, typer.Option(help="Times faster than the teacher, end to end.")] = None,
    latency: Annotated[str | None, typer.Option(help="Of a text, end to end, such as 2ms or 800us.")] = None,
    size: Annotated[str | None, typer.Option(help="Of all files that an app needs, such as 5MB.")] = None,
    max_drop: Annotated[float | None, typer.Option(help="Points that may be lost against the teacher.")] = None,
    budget: Annotated[str | None, typer.Option(help="Time of the whole run, such as 30min or 2h.")] = None,
    trials: Annotated[int | None, typer.Option(help="Candidates at most; 24, or what the budget allows.")] = None,
    workers: Annotated[int | None, typer.Option(help="Candidates that are worked on at a time.")] = None,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster that works on the candidates.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32 or int8: whose latency, size and accuracy are meant.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Of the engine whose latency is measured.")] = None,
    uniform: Annotated[bool | None, typer.Option("--uniform", help="Only shapes that plain AutoModel loads.")] = None,
    transformers_only: Annotated[
        bool | None, typer.Option("--transformers-only", help="No convolutional and no static students.")
    ] = None,
    family: Annotated[int | None, typer.Option(help="Models of the frontier that are shipped at most.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of the benchmark at the end.")] = None,
    limit: Annotated[int | None, typer.Option(help="Test texts that it reads; all by default.")] = None,
    data: Data = None,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    slice_column: SliceColumn = None,
    allow_overlap: AllowOverlap = None,
    unlabelled: Annotated[
        Path | None, typer.Option(help="Transfer text: .txt (a text a line), CSV, TSV, JSONL or Parquet.")
    ] = None,
    task: Task = None,
    max_length: MaxLength = None,
    seed: Seed = None,
    device: Device = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Say what you need, get the models on the frontier of accuracy, latency and size, and the one to take.

    Stop it at any time and run it again: no finished trial is lost.

    Example: `lilliput compress --teacher runs/teacher/teacher --data reviews.csv --speedup 6 --out runs/fast`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput import pipeline
    from lilliput.config import CompressConfig, build
    from lilliput.terminal import Terminal

    with Terminal(console()) as terminal:
        result = pipeline.compress(build(CompressConfig, config, **flags), terminal)
    finish(result, json_file, f"{result['claim']}\nbundle: {result['bundle']}")
