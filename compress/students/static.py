"""Static students: a table of token vectors, added up in short windows and pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lilliput.architectures import StaticForSequenceClassification
from lilliput.compress.students import windows

KIND = "static"

DEFAULTS = windows.DEFAULTS

OPTIONS = {
    "width": "features of a window",
    "kernel": "tokens of a window",
}


@dataclass(frozen=True)
class Options:
    """What follows ``static:``; see `OPTIONS`."""

    width: int = 128
    kernel: int = 3


def parse(text: str) -> Options:
    """Read ``width=128,kernel=3``; both can be left out.

    Raises:
        ConfigError: the text is not of that form.
    """
    return windows.parse(text, KIND, Options, OPTIONS)


def build(teacher: Any, tokenizer: Any, options: Options, seed: int) -> StaticForSequenceClassification:
    """A student with the teacher's word embeddings and labels; all else is drawn at random."""
    student: StaticForSequenceClassification = windows.start(
        StaticForSequenceClassification, teacher, tokenizer, seed, width=options.width, kernel=options.kernel
    )
    return student
