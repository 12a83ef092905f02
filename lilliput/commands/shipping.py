"""Commands that make and measure bundles: export, benchmark, demo."""

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
    Model,
    Out,
    PairColumn,
    Revision,
    Seed,
    Sign,
    SliceColumn,
    Task,
    TextColumn,
)
from lilliput.shell import console, finish, flags_of, need_toolkit


def demo(
    out: Out = None,
    fast: Annotated[bool | None, typer.Option("--fast", help="Smoke run on a subset.")] = None,
    model: Model = None,
    teacher: Annotated[str | None, typer.Option(help="A fine-tuned model to take as the teacher as it is.")] = None,
    data: Data = None,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    slice_column: SliceColumn = None,
    allow_overlap: AllowOverlap = None,
    task: Task = None,
    seed: Seed = None,
    device: Device = None,
    results: Annotated[Path | None, typer.Option(help="Also write the report and its figures to this file.")] = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Teacher, students, bundles, benchmark and report, in one go.

    Stop it at any time and run it again: it goes on where it was.

    Example: `lilliput demo --out runs/demo`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput import pipeline
    from lilliput.config import DemoConfig, build
    from lilliput.terminal import Terminal

    with Terminal(console()) as terminal:
        result = pipeline.demo(build(DemoConfig, config, **flags), terminal)
    finish(result, json_file)


def export(
    out: Out = None,
    model: Model = None,
    revision: Revision = None,
    data: Data = None,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    slice_column: SliceColumn = None,
    allow_overlap: AllowOverlap = None,
    task: Task = None,
    name: Annotated[str | None, typer.Option(help="Name of the bundle; the folder's by default.")] = None,
    precisions: Annotated[str | None, typer.Option(help="fp32 or fp32,int8.")] = None,
    max_length: MaxLength = None,
    max_difference: Annotated[
        float | None, typer.Option(help="Largest difference to torch for fp32, by its largest logit.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Share of labels that int8 must share with torch.")
    ] = None,
    gate_texts: Annotated[int | None, typer.Option(help="Transfer texts that the gates read.")] = None,
    sign: Sign = None,
    seed: Seed = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Make a bundle: ONNX in fp32 and int8, tokenizer, manifest; parity is checked, and failing it is an error.

    Example: `lilliput export --model runs/small/student --data reviews.csv --out bundles/small`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput import pipeline
    from lilliput.config import ExportConfig, build
    from lilliput.terminal import Terminal

    with Terminal(console()) as terminal:
        result = pipeline.export(build(ExportConfig, config, **flags), terminal.progress)
    finish(result, json_file, f"bundle written to {result['folder']}")
