"""Commands that use a model or look at this machine: predict, verify, doctor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import lilliput
from lilliput.commands import answers
from lilliput.errors import BundleError, ConfigError
from lilliput.flags import Json, Revision, Task
from lilliput.shell import console, lines_of_standard_input, need_toolkit, write_result

_FLAGS = {"text_pair": "--pair", "question": "--question", "context": "--context"}
"""The flag of each part of an input."""


def predict(
    model: Annotated[str, typer.Argument(help="Folder of a bundle; or a Hugging Face folder or Hub id.")],
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; without any, one a line from standard input.")
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
    json_file: Json = None,
) -> None:
    """Answer texts with a bundle, or with a model as 'lilliput finetune' or anybody else saved it.

    Example: `lilliput predict runs/demo/bundles/student-l2 "a joy from start to finish"`
    """
    parts = {"text_pair": pair, "question": question, "context": context}
    given = {name: text for name, text in parts.items() if text is not None}
    loaded: Any
    if _is_bundle(model):
        _refuse(model, "a bundle", {"--task": task, "--revision": revision})
        threads, provider = 1 if threads is None else threads, provider or "cpu"
        loaded = lilliput.load(
            model, precision=precision, threads=threads, providers=provider.split(",") if "," in provider else provider
        )
    else:
        _refuse(model, "a Hugging Face model", {"--precision": precision, "--threads": threads, "--provider": provider})
        loaded = _in_torch(model, task, revision)
    found = _answer(loaded, texts, given)
    if json_file:
        write_result(json_file, found)


def _is_bundle(place: str) -> bool:
    folder = Path(place)
    if folder.is_dir() and not any((folder / name).is_file() for name in ("lilliput.json", "config.json")):
        raise BundleError(
            f"{place}: holds neither lilliput.json, as a bundle does, nor config.json, as a Hugging Face folder does"
        )
    return (folder / "lilliput.json").is_file() or (not folder.is_dir() and place.startswith((".", "/", "~")))


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


def _answer(model: Any, texts: Sequence[str] | None, given: Mapping[str, str]) -> list[Any]:
    """Print and return the answers of a model to all inputs."""
    inputs = model.task.inputs
    foreign = [name for name in given if name not in inputs]
    if foreign:
        raise ConfigError(f"{_FLAGS[foreign[0]]}: {model.task.name} reads {' and '.join(inputs)}")
    open_parts = [name for name in inputs if name not in given]
    if not open_parts and texts:
        raise ConfigError(f"{' and '.join(_FLAGS[name] for name in inputs)}: give no further texts beside them")
    asked = [{open_parts[0]: text} for text in texts or lines_of_standard_input()] if open_parts else [{}]
    items, _ = model.task.asked([{**given, **one} for one in asked])
    predictions = model.predictions(items)
    for item, answer in zip(items, model.answers(items, predictions, **model.task.brief), strict=True):
        typer.echo(answers.line(model.task.text_of(item), answer))
    return model.answers(items, predictions)


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
