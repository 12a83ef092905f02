"""Commands that use a bundle or look at this machine: predict, verify, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lilliput
from lilliput.flags import Json
from lilliput.shell import console, lines_of_standard_input, write_result


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
