"""Commands that use a model or look at this machine: predict, verify, doctor."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import lilliput
from lilliput.commands import answers, files
from lilliput.errors import BundleError, ConfigError, DataError, InputError
from lilliput.flags import Json, PairColumn, Revision, Task
from lilliput.flags import TextColumn as TextColumnFlag
from lilliput.shell import console, lines_of_standard_input, need_toolkit, write_result

BATCH = 256
"""Rows of a file that are answered at a time."""

_FLAGS = {"text_pair": "--pair", "question": "--question", "context": "--context"}
"""The flag of each part of an input."""


def predict(
    model: Annotated[str, typer.Argument(help="Folder of a bundle; or a Hugging Face folder or Hub id.")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts; without any, one a line from standard input. A text that begins with - goes after --."
        ),
    ] = None,
    pair: Annotated[str | None, typer.Option(help="Second text of a pair, for every text.")] = None,
    question: Annotated[str | None, typer.Option(help="Question; the texts are its contexts.")] = None,
    context: Annotated[str | None, typer.Option(help="Context; the texts are questions about it.")] = None,
    task: Task = None,
    revision: Revision = None,
    precision: Annotated[
        str | None, typer.Option(help="Of a bundle: fp32 or int8; int8 by default where it is shipped.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Of a bundle: threads for one text; 1 by default.")] = None,
    provider: Annotated[
        str | None,
        typer.Option(help="Of a bundle: cpu (default), cuda, tensorrt, openvino, coreml, directml, or auto."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--in", help="File of inputs: .txt (a text a line), .csv, .tsv, .jsonl or .parquet.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File of answers beside them: .csv, .tsv, .jsonl or .parquet.")
    ] = None,
    text_column: TextColumnFlag = None,
    pair_column: PairColumn = None,
    json_file: Json = None,
) -> None:
    """Answer texts with a bundle, or with a model as 'lilliput finetune' or anybody else saved it.

    Example: `lilliput predict runs/demo/bundles/student-l2 "a joy from start to finish"`, or
    `lilliput predict runs/demo/bundles/student-l2 --in texts.csv --out labels.parquet`
    """
    if (source is None) != (out is None):
        raise ConfigError("--in, --out: give both, the file of inputs and that of answers, or neither")
    if source and (texts or json_file):
        raise ConfigError("--in: texts are read from the file, and answers go to --out; leave out texts and --json")
    parts = {"text_pair": pair, "question": question, "context": context}
    given = {name: text for name, text in parts.items() if text is not None}
    loaded: Any
    if _is_bundle(model):
        from lilliput.runtime import require_count

        _refuse(model, "a bundle", {"--task": task, "--revision": revision})
        threads, provider = 1 if threads is None else threads, provider or "cpu"
        require_count("--threads", threads)
        loaded = lilliput.load(
            model, precision=precision, threads=threads, providers=provider.split(",") if "," in provider else provider
        )
    else:
        _refuse(model, "a Hugging Face model", {"--precision": precision, "--threads": threads, "--provider": provider})
        loaded = _in_torch(model, task, revision)
    if source and out:
        count = _answer_file(loaded, source, out, {"text": text_column, "pair": pair_column}, given)
        typer.echo(f"{count:,} answers written to {out}")
        return
    found = _answer(loaded, texts, given)
    if json_file:
        write_result(json_file, found)


def _answer_file(
    model: Any, source: Path, out: Path, chosen: Mapping[str, str | None], given: Mapping[str, str]
) -> int:
    """Answer the rows of a file, some at a time, and write them with their answers; how many they are."""
    if not _open_parts(model, given):
        raise ConfigError(f"--in: {' and '.join(map(_FLAGS.__getitem__, given))} are all that is asked; leave one out")
    rows, count = files.read(source), 0
    where: dict[str, str] = {}
    with files.writing(out) as sink, _counter(source) as tell:
        while some := list(islice(rows, BATCH)):
            where = where or files.columns(model.task, some[0][1], chosen, given, source)
            asked = [(place, {**_texts(place, row, where), **given}) for place, row in some]
            answered = _answers_of_rows(model, asked)
            sink.write([(place, _beside(place, row, one)) for (place, row), one in zip(some, answered, strict=True)])
            count += len(some)
            tell(count)
    return count


def _texts(place: str, row: Mapping[str, Any], where: Mapping[str, str]) -> dict[str, str]:
    """The parts of an input in a row."""
    parts: dict[str, Any] = {part: row.get(column) for part, column in where.items()}
    if wrong := [where[part] for part, value in parts.items() if not isinstance(value, str)]:
        raise DataError(f"{place}: the column {wrong[0]!r} holds no text")
    return parts


def _answers_of_rows(model: Any, asked: Sequence[tuple[str, dict[str, str]]]) -> list[Any]:
    """The answers to several rows; an error names the place of the row that has none."""
    try:
        found: list[Any] = model([one for _, one in asked])
    except InputError:
        for place, one in asked:
            try:
                model([one])
            except InputError as error:
                raise InputError(f"{place}: {str(error).removeprefix('item 0').lstrip(': ')}") from None
        raise
    return found


def _beside(place: str, row: files.Row, answer: Any) -> files.Row:
    """A row with its answer beside it."""
    found = files.answer_columns(answer)
    if taken := [name for name in found if name in row]:
        raise DataError(
            f"{place}: the answers go to a column {taken[0]!r}, and there is one already; rename or remove it"
        )
    return {**row, **found}


@contextlib.contextmanager
def _counter(source: Path) -> Iterator[Callable[[int], None]]:
    """Says on a terminal how many rows are answered."""
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console(), transient=True
    ) as progress:
        bar = progress.add_task(str(source), total=None)
        yield lambda count: progress.update(bar, description=f"{source}: {count:,} rows")


def _is_bundle(place: str) -> bool:
    if not place:
        raise ConfigError("MODEL: the name is empty; give the folder of a bundle, or a Hugging Face folder or Hub id")
    folder = Path(place)
    if folder.is_dir() and not any((folder / name).is_file() for name in ("lilliput.json", "config.json")):
        raise BundleError(
            f"{place}: holds neither lilliput.json, as a bundle does, nor config.json, as a Hugging Face folder does"
        )
    return (folder / "lilliput.json").is_file() or (
        not folder.is_dir() and (folder.exists() or place.startswith((".", "/", "~")))
    )


def _refuse(place: str, kind: str, flags: Mapping[str, object]) -> None:
    wrong = [flag for flag, value in flags.items() if value is not None]
    if wrong:
        raise ConfigError(f"{wrong[0]}: {place} is {kind}, which does not take it")


def _in_torch(place: str, task: str | None, revision: str | None) -> Any:
    """A Hugging Face model, which needs PyTorch."""
    need_toolkit()
    from lilliput.terminal import quiet_libraries
    from lilliput.train.predicting import load

    quiet_libraries(console())
    return load(place, task=task, revision=revision)


def _open_parts(model: Any, given: Mapping[str, str]) -> list[str]:
    """The parts of an input that no flag gives; raises `ConfigError` where one gives what the task does not read."""
    inputs = model.task.inputs
    if foreign := [name for name in given if name not in inputs]:
        raise ConfigError(f"{_FLAGS[foreign[0]]}: {model.task.name} reads {' and '.join(inputs)}")
    return [name for name in inputs if name not in given]


def _answer(model: Any, texts: Sequence[str] | None, given: Mapping[str, str]) -> list[Any]:
    """Print and return the answers of a model to all inputs."""
    open_parts = _open_parts(model, given)
    if not open_parts and texts:
        raise ConfigError(f"{' and '.join(_FLAGS[name] for name in given)}: give no further texts beside them")
    asked = [{open_parts[0]: text} for text in texts or lines_of_standard_input()] if open_parts else [{}]
    items, _ = model.task.asked([{**given, **one} for one in asked])
    predictions = model.predictions(items)
    for item, answer in zip(items, model.answers(items, predictions, **model.task.brief), strict=True):
        typer.echo(answers.line(model.task.text_of(item), answer))
    return model.answers(items, predictions)


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    require_signature: Annotated[
        Path | None, typer.Option(help="Public key, as PEM file; the bundle must be signed with its private half.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Check a bundle: every file's hash and contents, no file too many, and that it answers as when it was made.

    Example: `lilliput verify runs/demo/bundles/student-l2`
    """
    from lilliput.bundle import verify as check

    lines = check(bundle, require_signature=require_signature)
    for line in lines:
        typer.echo(line)
    if json_file:
        write_result(json_file, {"bundle": str(bundle), "checks": lines})


def sign(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    key: Annotated[Path, typer.Option(help="Private key, as PEM file: openssl genpkey -algorithm ed25519 -out KEY.")],
) -> None:
    """Sign a bundle, so that others can tell who made it: 'lilliput verify --require-signature' checks it.

    Example: `lilliput sign runs/demo/bundles/student-l2 --key release.pem`
    """
    from lilliput import signatures

    typer.echo(f"signed: {signatures.sign(bundle, key)}")


def doctor(json_file: Json = None) -> None:
    """Say what this machine can do, and what is missing.

    Example: `lilliput doctor`
    """
    from lilliput.doctor import facts, render

    found = facts()
    console(stderr=False).print(render(found))
    if json_file:
        write_result(json_file, found)
    if found["problems"]:
        raise typer.Exit(1)
