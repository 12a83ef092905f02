"""The command line: parse, build a configuration, call. Heavy imports wait inside the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import lilliput
from lilliput.errors import MissingDependencyError
from lilliput.flags import (
    AllowOverlap,
    BatchSize,
    ConfigFile,
    Data,
    Device,
    Epochs,
    Json,
    LabelColumn,
    LearningRate,
    MaxLength,
    Model,
    Out,
    Revision,
    SaveEvery,
    Seed,
    Task,
    TextColumn,
    Warmup,
    WeightDecay,
)
from lilliput.shell import lines_of_standard_input, message_of, write_result

app = typer.Typer(
    name="lilliput",
    help="Turn a pretrained encoder into the smallest, fastest model that still does the job, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(no_args_is_help=True, help="Get the embedded data; check a data set.")
app.add_typer(data_app, name="data")

TOOLKIT = (
    *(
        "torch",
        "transformers",
        "accelerate",
        "datasets",
        "safetensors",
        "onnx",
        "onnxscript",
        "onnxruntime",
        "pydantic",
    ),
    *("yaml", "filelock", "psutil", "sklearn", "scipy", "jinja2", "jsonschema", "plotly"),
)
"""Modules that every command but predict, verify and doctor needs."""


@app.command()
def demo(
    out: Out = None,
    fast: Annotated[bool | None, typer.Option("--fast", help="Smoke run on a subset, in two minutes.")] = None,
    model: Model = None,
    teacher: Annotated[str | None, typer.Option(help="A fine-tuned model to take as the teacher as it is.")] = None,
    data: Data = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
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
    flags = _flags(locals())
    _need_toolkit()
    from lilliput import pipeline
    from lilliput.config import DemoConfig, build
    from lilliput.terminal import Terminal

    with Terminal(_console()) as terminal:
        result = pipeline.demo(build(DemoConfig, config, **flags), terminal)
    _finish(result, json_file)


@app.command()
def finetune(
    out: Out = None,
    model: Model = None,
    revision: Revision = None,
    data: Data = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    allow_overlap: AllowOverlap = None,
    task: Task = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    warmup: Warmup = None,
    weight_decay: WeightDecay = None,
    max_length: MaxLength = None,
    save_every: SaveEvery = None,
    seed: Seed = None,
    device: Device = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Fine-tune a teacher; the best weights are chosen on validation, the test split is read once.

    Example: `lilliput finetune --data reviews.csv --out runs/teacher`
    """
    flags = _flags(locals())
    _need_toolkit()
    from lilliput.config import FinetuneConfig, build
    from lilliput.terminal import Terminal
    from lilliput.train import finetune as run

    with Terminal(_console()) as terminal:
        result = run(build(FinetuneConfig, config, **flags), terminal.progress)
    _finish(
        result, json_file, f"accuracy on validation {result['validation_accuracy']:.1%}; saved in {result['folder']}"
    )


@app.command()
def distill(
    out: Out = None,
    teacher: Annotated[str | None, typer.Option(help="Fine-tuned Hugging Face folder or Hub id.")] = None,
    revision: Revision = None,
    student: Annotated[str | None, typer.Option(help="Shape of the student, for example layers=2.")] = None,
    initial_model: Annotated[str | None, typer.Option(help="A larger student to start from, not the teacher.")] = None,
    initial_layers: Annotated[str | None, typer.Option(help="Layers of it that it starts from, such as 1,4.")] = None,
    data: Data = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    allow_overlap: AllowOverlap = None,
    unlabelled: Annotated[Path | None, typer.Option(help="Transfer text: .txt (a text a line), CSV or JSONL.")] = None,
    task: Task = None,
    objective: Annotated[str | None, typer.Option(help="logit-mse or soft-targets.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature of soft-targets.")] = None,
    hard_label_weight: Annotated[
        float | None, typer.Option(help="Weight of the cross-entropy with the labels.")
    ] = None,
    augment: Annotated[int | None, typer.Option(help="Augmented copies of every training text.")] = None,
    train_embeddings: Annotated[bool | None, typer.Option(help="Train the word embeddings too.")] = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    batch_size: BatchSize = None,
    warmup: Warmup = None,
    weight_decay: WeightDecay = None,
    max_length: MaxLength = None,
    save_every: SaveEvery = None,
    seed: Seed = None,
    device: Device = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Distil a student from a teacher, on labelled, unlabelled and augmented text.

    Example: `lilliput distill --teacher runs/teacher/teacher --student layers=2 --data reviews.csv --out runs/small`
    """
    flags = _flags(locals())
    _need_toolkit()
    from lilliput.compress import distill as run
    from lilliput.config import DistillConfig, build
    from lilliput.terminal import Terminal

    with Terminal(_console()) as terminal:
        result = run(build(DistillConfig, config, **flags), terminal.progress)
    agreement = f"same label as the teacher on {result['validation_agreement']:.1%} of validation"
    _finish(result, json_file, f"{agreement}; saved in {result['folder']}")


@app.command()
def export(
    out: Out = None,
    model: Model = None,
    revision: Revision = None,
    data: Data = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    allow_overlap: AllowOverlap = None,
    task: Task = None,
    name: Annotated[str | None, typer.Option(help="Name of the bundle; the folder's by default.")] = None,
    precisions: Annotated[str | None, typer.Option(help="fp32 or fp32,int8.")] = None,
    max_length: MaxLength = None,
    max_difference: Annotated[float | None, typer.Option(help="Largest logit difference to torch for fp32.")] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Share of labels that int8 must share with torch.")
    ] = None,
    gate_texts: Annotated[int | None, typer.Option(help="Transfer texts that the gates read.")] = None,
    seed: Seed = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Make a bundle: ONNX in fp32 and int8, tokenizer, manifest; parity is checked, and failing it is an error.

    Example: `lilliput export --model runs/small/student --data reviews.csv --out bundles/small`
    """
    flags = _flags(locals())
    _need_toolkit()
    from lilliput import pipeline
    from lilliput.config import ExportConfig, build
    from lilliput.terminal import Terminal

    with Terminal(_console()) as terminal:
        result = pipeline.export(build(ExportConfig, config, **flags), terminal.progress)
    _finish(result, json_file, f"bundle written to {result['folder']}")


@app.command()
def benchmark(
    bundles: Annotated[list[Path] | None, typer.Argument(help="Bundles; the first one is the teacher.")] = None,
    out: Out = None,
    data: Data = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    allow_overlap: AllowOverlap = None,
    task: Task = None,
    threads: Annotated[int | None, typer.Option(help="Threads of every engine.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds that the models take turns in.")] = None,
    limit: Annotated[int | None, typer.Option(help="Test texts read; all by default.")] = None,
    seed: Seed = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Accuracy and end-to-end latency of bundles side by side; writes report.json and report.html.

    Example: `lilliput benchmark bundles/teacher bundles/small --data reviews.csv --out runs/benchmark`
    """
    flags = _flags(locals())
    _need_toolkit()
    from lilliput import pipeline
    from lilliput.config import BenchmarkConfig, build
    from lilliput.terminal import Terminal

    with Terminal(_console()) as terminal:
        result = pipeline.benchmark(build(BenchmarkConfig, config, **flags), terminal)
    _finish(result, json_file)


@app.command()
def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; without any, one a line from standard input.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or int8; int8 by default where it is shipped.")] = None,
    threads: Annotated[int, typer.Option(help="Threads for one text.")] = 1,
    json_file: Json = None,
) -> None:
    """Answer texts with a bundle.

    Example: `lilliput predict runs/demo/bundles/student-l2 "a joy from start to finish"`
    """
    model = lilliput.load(bundle, precision=precision, threads=threads)
    given = texts or lines_of_standard_input()
    answers = model(list(given))
    for text, answer in zip(given, answers, strict=True):
        shown = text if len(text) <= 80 else text[:79] + "…"
        typer.echo(f"{answer['label']}\t{answer['score']:.4f}\t{shown}")
    if json_file:
        write_result(json_file, answers)


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    json_file: Json = None,
) -> None:
    """Check a bundle: every file's hash, no file too many, and that it answers as it did when it was made.

    Example: `lilliput verify runs/demo/bundles/student-l2`
    """
    from lilliput.bundle import verify as check

    lines = check(bundle)
    for line in lines:
        typer.echo(line)
    if json_file:
        write_result(json_file, {"bundle": str(bundle), "checks": lines})


@app.command()
def doctor(json_file: Json = None) -> None:
    """Say what this machine can do, and what is missing.

    Example: `lilliput doctor`
    """
    from lilliput.doctor import facts, render

    found = facts()
    _console(stderr=False).print(render(found))
    if json_file:
        write_result(json_file, found)
    if found["problems"]:
        raise typer.Exit(1)


@data_app.command("fetch")
def data_fetch() -> None:
    """Fetch the embedded checkpoint and data into the cache, checked against their pinned hashes.

    Example: `lilliput data fetch`
    """
    _need_toolkit()
    from lilliput.train.embedded import fetch_checkpoint, fetch_sentiment

    for fetch in (fetch_checkpoint, fetch_sentiment):
        typer.echo(str(fetch()))


@data_app.command("check")
def data_check(
    data: Annotated[str, typer.Argument(help="'sentiment', a folder, or a CSV, TSV or JSONL file.")] = "sentiment",
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    allow_overlap: AllowOverlap = None,
    task: Task = None,
    seed: Seed = None,
    json_file: Json = None,
) -> None:
    """Report on a data set: rows used and rejected, label balance, lengths, duplicates, overlap of the splits.

    Example: `lilliput data check reviews.csv`
    """
    flags = _flags(locals())
    _need_toolkit()
    from lilliput.config import DataConfig, build
    from lilliput.train import sources
    from lilliput.train.data_report import render

    report = sources.load(build(DataConfig, None, **flags)).report
    _console(stderr=False).print(render(report))
    if json_file:
        write_result(json_file, report.to_dict())


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"lilliput {lilliput.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line: an error that a user can mend is one message and exit code 2, never a traceback."""
    try:
        app()
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        typer.echo(f"error: {message}", err=True)
        sys.exit(2)


def _flags(values: dict[str, Any]) -> dict[str, Any]:
    """The flags of a command as keys of its configuration; lists given as 1,2,3 become tuples."""
    flags = {name: value for name, value in values.items() if name not in ("config", "json_file")}
    for name in ("initial_layers", "precisions"):
        if isinstance(flags.get(name), str):
            flags[name] = tuple(part.strip() for part in flags[name].split(","))
    return flags


def _need_toolkit() -> None:
    import importlib.util

    missing = [name for name in TOOLKIT if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"this command needs {', '.join(missing)}; install the toolkit, in Lilliput's folder: "
            "pip install '.[cpu,toolkit]'"
        )


def _console(stderr: bool = True) -> Console:
    return Console(stderr=stderr)


def _finish(result: dict[str, Any], json_file: Path | None, line: str | None = None) -> None:
    if line:
        typer.echo(line)
    if json_file:
        write_result(json_file, result)
