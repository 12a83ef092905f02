"""Commands about data: data fetch, data check."""

from __future__ import annotations

from typing import Annotated

import typer

from lilliput.flags import (
    AllowOverlap,
    Json,
    LabelColumn,
    PairColumn,
    Seed,
    SliceColumn,
    Task,
    TextColumn,
)
from lilliput.shell import console, flags_of, need_toolkit, write_result


def fetch() -> None:
    """Fetch the embedded checkpoint and data into the cache, checked against their pinned hashes.

    Example: `lilliput data fetch`
    """
    need_toolkit()
    from lilliput.train.embedded import fetch_checkpoint, fetch_sentiment

    for fetch in (fetch_checkpoint, fetch_sentiment):
        typer.echo(str(fetch()))


def check(
    data: Annotated[str, typer.Argument(help="'sentiment', a folder, or a CSV, TSV or JSONL file.")] = "sentiment",
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    slice_column: SliceColumn = None,
    allow_overlap: AllowOverlap = None,
    task: Task = None,
    seed: Seed = None,
    json_file: Json = None,
) -> None:
    """Report on a data set: rows used and rejected, label balance, lengths, duplicates, overlap of the splits.

    Example: `lilliput data check reviews.csv`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput.config import DataConfig, build
    from lilliput.train import sources
    from lilliput.train.data_report import render

    report = sources.load(build(DataConfig, None, **flags)).report
    console(stderr=False).print(render(report))
    if json_file:
        write_result(json_file, report.to_dict())
