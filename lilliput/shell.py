"""What the command line shares with the shell: texts in, results as JSON out, errors as one message."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from lilliput import processes
from lilliput.errors import ConfigError, InputError, LilliputError, MissingDependencyError

TOOLKIT = (
    *("torch", "transformers", "accelerate", "datasets", "safetensors", "onnx", "onnxscript", "onnxruntime"),
    *("pydantic", "yaml", "filelock", "psutil", "sklearn", "scipy", "jinja2", "jsonschema"),
    *("seqeval", "optuna"),
)
"""Modules that every command but predict, verify and doctor needs."""

DISK_FULL = "the disk is full; free some space and run the command again"


_STREAMS = {"/dev/stdout": "/dev/fd/1", "/dev/stderr": "/dev/fd/2"}


def lines_of_standard_input() -> list[str]:
    """One text a line.

    Raises:
        InputError: there is none, or a line is not UTF-8.
    """
    found: list[str] = []
    for number, line in enumerate([] if sys.stdin is None else sys.stdin.buffer, start=1):
        try:
            found.append(line.decode("utf-8").rstrip("\r\n"))
        except UnicodeDecodeError:
            raise InputError(f"standard input:{number}: not UTF-8 text") from None
    if not found:
        raise InputError(
            "standard input: there is nothing to read; give texts as arguments, or one a line on standard input, or a "
            "file with --in"
        )
    return found


@contextlib.contextmanager
def written(flag: str, path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """The file that a flag names, open for writing: it appears when all is written, or not at all.

    Its folder is made where there is none. A symbolic link stays, and what it leads to is replaced. A pipe or a device
    is written to as it is.

    Args:
        mode: ``w`` for text, ``wb`` for bytes.

    Raises:
        ConfigError: the file can't be written.
    """
    try:
        if path.is_dir():
            raise ConfigError(f"{flag} {path}: a folder; name a file")
        with _opened(path, mode, {} if "b" in mode else {"encoding": "utf-8", "newline": ""}) as file:
            yield file
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ConfigError(f"{flag} {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _opened(path: Path, mode: str, how: dict[str, Any]) -> Iterator[IO[Any]]:
    name = str(path.absolute())
    # What is open already goes on where it is: a shell may have directed it to a file that others write to as well.
    if stream := re.fullmatch(r"/dev/fd/(\d{1,5})", _STREAMS.get(name, name)):
        with os.fdopen(os.dup(int(stream[1])), mode, **how) as file:
            yield file
        return
    if path.exists() and not path.is_file():
        with path.open(mode, **how) as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open(mode, **how) as file:
            yield file
        temporary.replace(target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_result(path: Path, value: Any) -> None:
    """Write what ``--json`` asks for, whole or not at all; the folder is made where there is none.

    Raises:
        ConfigError: the file can't be written.
    """
    with written("--json", path) as file:
        file.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def message_of(error: Exception) -> str | None:
    """What to tell a user of an error that can be mended from outside; None for a fault in the program."""
    if isinstance(error, LilliputError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error.filename or 'writing failed'}: {DISK_FULL}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return f"writing failed: {DISK_FULL}" if is_disk_full(error) else None


def is_disk_full(error: Exception) -> bool:
    """Whether writing failed for want of space.

    The libraries that write weights raise errors of their own: safetensors quotes the system, and torch.save only says
    that its archive has not become as long as it should have.
    """
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    return full or "No space left on device" in str(error) or "inline_container.cc" in str(error)


def flags_of(values: dict[str, Any]) -> dict[str, Any]:
    """The flags of a command as keys of its configuration; lists given as 1,2,3 become tuples."""
    flags = {name: value for name, value in values.items() if name not in ("config", "json_file")}
    for name in ("initial_layers", "lengths", "precisions", "seeds"):
        if isinstance(flags.get(name), str):
            flags[name] = tuple(part.strip() for part in flags[name].split(","))
    return flags


def need_toolkit() -> None:
    """Raise `MissingDependencyError`, with what to install, where the toolkit's packages are not all there."""
    missing = [name for name in TOOLKIT if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"this command needs {', '.join(missing)}; install the toolkit, in Lilliput's folder: "
            "pip install '.[cpu,toolkit]'"
        )


def console(stderr: bool = True) -> Console:
    """The terminal: standard error for what a person follows, standard output for what was asked for.

    Of several processes the main one alone has one.
    """
    return Console(stderr=stderr, quiet=not processes.is_main())


def finish(result: dict[str, Any], json_file: Path | None, line: str | None = None) -> None:
    """Print the last line of a command and write what ``--json`` asks for; the main process alone does."""
    if not processes.is_main():
        return
    if line:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()  # what --json writes may go to the same place
    if json_file:
        write_result(json_file, result)
