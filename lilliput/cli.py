"""The command line: its commands and what becomes of their errors."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

import lilliput
from lilliput import processes
from lilliput.commands import compressing, data, measuring, searching, serving, shipping, training, using
from lilliput.commands.defaults import show_defaults
from lilliput.shell import message_of

app = typer.Typer(
    name="lilliput",
    help="Turn a pretrained encoder into the smallest, fastest model that still does the job, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(no_args_is_help=True, help="Get the embedded data; check a data set.")
tokenizer_app = typer.Typer(no_args_is_help=True, help="Make a tokenizer.")

app.command()(shipping.demo)
app.add_typer(data_app, name="data")
app.add_typer(tokenizer_app, name="tokenizer")
app.command()(training.pretrain)
app.command()(training.finetune)
app.command()(compressing.distill)
app.command()(compressing.prune)
app.command()(compressing.quantize)
app.command()(searching.compress)
app.command()(shipping.export)
app.command()(measuring.benchmark)
app.command()(measuring.compare)
app.command()(using.predict)
app.command()(serving.serve)
app.command()(using.verify)
app.command()(using.sign)
app.command()(using.doctor)
data_app.command("fetch")(data.fetch)
data_app.command("check")(data.check)
tokenizer_app.command("train")(training.train_tokenizer)
for group in (app, data_app, tokenizer_app):
    show_defaults(group)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"lilliput {lilliput.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line: an error that a user can mend is one message and exit code 2, never a traceback."""
    if processes.count() > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else every process warns of what is as it should be
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where a caller put something else there, or closed it
            stream.reconfigure(errors="backslashreplace")  # what the terminal's encoding lacks is shown as an escape
    try:
        app()
    except Exception as error:
        if not processes.tells(error):
            sys.exit(2)
        message = message_of(error)
        if message is None:
            raise
        typer.echo(f"error: {message}", err=True)
        sys.exit(2)
