"""What the command line shares with the shell: texts in, results as JSON out, errors as one message."""

from __future__ import annotations

import contextlib
import errno
import json
import sys
from pathlib import Path
from typing import Any

from lilliput.errors import ConfigError, InputError, LilliputError

DISK_FULL = "the disk is full; free some space and run the command again"


def lines_of_standard_input() -> list[str]:
    """One text a line.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        return [line.rstrip("\n") for line in sys.stdin]
    except UnicodeDecodeError:
        raise InputError("standard input: not UTF-8 text") from None


def write_result(path: Path, value: Any) -> None:
    """Write what ``--json`` asks for, whole or not at all; the folder is made where there is none.

    Raises:
        ConfigError: the file can't be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ConfigError(f"--json {path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def message_of(error: Exception) -> str | None:
    """What to tell a user of an error that can be mended from outside; None for a fault in the program."""
    if isinstance(error, LilliputError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error.filename or 'writing failed'}: {DISK_FULL}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    # The libraries that write weights raise errors of their own: safetensors quotes the system, and torch.save only
    # says that its archive has not become as long as it should have.
    if "No space left on device" in str(error) or "inline_container.cc" in str(error):
        return f"writing failed: {DISK_FULL}"
    return None
