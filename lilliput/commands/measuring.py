"""Commands that measure models, and what has been measured: benchmark, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lilliput.flags import (
    AllowOverlap,
    ConfigFile,
    Data,
    Json,
    LabelColumn,
    Out,
    PairColumn,
    Seed,
    SliceColumn,
    Task,
    TextColumn,
)
from lilliput.shell import console, finish, flags_of, need_toolkit


def benchmark(
    bundles: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundles, Hugging Face folders or Hub ids (ID@REVISION), or NAME=PLACE; the first is the teacher."
        ),
    ] = None,
    out: Out = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="What is measured beside accuracy: single-stream, offline, server, sweep, threads, cold-start, memory "
            "or energy; repeat it for more."
        ),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(help="Where bundles run beside the CPU, such as cuda; what is not there is 'not measured'."),
    ] = None,
    latency_bound: Annotated[
        float | None, typer.Option(help="Milliseconds that the server's 99th percentile must keep.")
    ] = None,
    data: Data = None,
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    slice_column: SliceColumn = None,
    allow_overlap: AllowOverlap = None,
    task: Task = None,
    threads: Annotated[int | None, typer.Option(help="Threads of every engine.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds that the models take turns in.")] = None,
    limit: Annotated[int | None, typer.Option(help="Test texts read; all by default.")] = None,
    seed: Seed = None,
    config: ConfigFile = None,
    json_file: Json = None,
) -> None:
    """Accuracy and end-to-end latency of models side by side; writes report.json, .html, .md and .csv.

    Example: `lilliput benchmark bundles/teacher bundles/small --data reviews.csv --out runs/benchmark`, or
    `lilliput benchmark bundles/teacher small=bundles/small --scenario server --scenario cold-start --out runs/served`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput import pipeline
    from lilliput.config import BenchmarkConfig, build
    from lilliput.terminal import Terminal

    with Terminal(console()) as terminal:
        result = pipeline.benchmark(build(BenchmarkConfig, config, **flags), terminal)
    finish(result, json_file)


def compare(
    old: Annotated[Path, typer.Argument(help="report.json of the run before.")],
    new: Annotated[Path, typer.Argument(help="report.json of the run after.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the comparison to this file, as Markdown.")
    ] = None,
    max_lost: Annotated[float, typer.Option(help="Points of accuracy that may be lost.", min=0, max=100)] = 0.0,
    max_slower: Annotated[float, typer.Option(help="Percent that p50 may be slower.", min=0)] = 5.0,
    max_larger: Annotated[float, typer.Option(help="Percent that the files may be larger.", min=0)] = 1.0,
    json_file: Json = None,
) -> None:
    """What changed between two reports: accuracy, latency, size of the models of one name, with 95% intervals.

    Exit code 0: no regression. 1: there is one. 2: a file is no report.

    Example: `lilliput compare runs/before/report.json runs/after/report.json --max-slower 10`
    """
    need_toolkit()
    from lilliput.benchmarks import comparison, report
    from lilliput.runs import write_text

    limits = comparison.Limits(max_lost / 100, max_slower / 100, max_larger / 100)
    found = comparison.compare(report.read_report(old), report.read_report(new), limits)
    words = comparison.markdown(found)
    if out:
        write_text(out, words)
    finish(found, json_file, words.rstrip())
    if found["regressions"]:
        raise typer.Exit(1)
