"""Commands about data: data fetch, data check."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lilliput.errors import ConfigError, DataError
from lilliput.flags import (
    AllowOverlap,
    Json,
    LabelColumn,
    MaxLength,
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
    data: Annotated[
        str, typer.Argument(help="'sentiment', a folder, a CSV, TSV, JSONL or Parquet file, or a Hub id.")
    ] = "sentiment",
    text_column: TextColumn = None,
    pair_column: PairColumn = None,
    label_column: LabelColumn = None,
    slice_column: SliceColumn = None,
    allow_overlap: AllowOverlap = None,
    task: Task = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Count tokens as this folder or Hub id does, or 'embedded'.")
    ] = None,
    max_length: MaxLength = None,
    seed: Seed = None,
    json_file: Json = None,
) -> None:
    """Report on a data set: every fault by file and line, rows used and rejected, labels, lengths, duplicates.

    Ends with exit code 2 where the data set can't be used as it is.

    Example: `lilliput data check reviews.csv`
    """
    flags = flags_of(locals())
    need_toolkit()
    from lilliput.config import DataConfig, build
    from lilliput.train.checking import check
    from lilliput.train.data_report import render, render_findings

    of_model = {name: flags.pop(name) for name in ("model", "max_length")}
    report = check(build(DataConfig, None, **flags), *_reading(**of_model))
    if json_file:
        write_result(json_file, report.to_dict())
    if report.rows_in:
        console(stderr=False).print(render(report), render_findings(report))
    if report.errors:
        first, *others = map(str, report.errors)
        more = f" ({len(others)} more {'errors' if len(others) > 1 else 'error'} above)" if others else ""
        raise DataError(first + more if report.rows_in else "; ".join([first, *others]))


def _reading(model: str | None, max_length: int | None) -> tuple[Any, int]:
    """The tokenizer that counts tokens, and how many of them are read."""
    from lilliput.config.base import MAX_LENGTH

    if model is None:
        if max_length is not None:
            raise ConfigError("--max-length: needs --model, whose tokens are counted")
        return None, MAX_LENGTH
    from lilliput import models
    from lilliput.train.embedded import fetch_checkpoint

    tokenizer = models.load_tokenizer(fetch_checkpoint() if model == "embedded" else model)
    length = MAX_LENGTH if max_length is None else max_length
    if not 0 < length <= tokenizer.model_max_length:
        longest, origin = tokenizer.model_max_length, ", the default" if max_length is None else ""
        raise ConfigError(
            f"--max-length {length}{origin}: this model reads at most {longest:,} tokens; give --max-length {longest}"
        )
    return tokenizer, length
