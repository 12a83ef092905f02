"""Convolutional students."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lilliput.architectures import ConvolutionalForSequenceClassification
from lilliput.compress.students import windows

KIND = "conv"

DEFAULTS = windows.DEFAULTS

OPTIONS = {
    "width": "features of each convolution",
    "layers": "convolutions",
    "kernel": "tokens that each convolution sees at once",
}


@dataclass(frozen=True)
class Options:
    """What follows ``conv:``; see `OPTIONS`."""

    width: int = 256
    layers: int = 3
    kernel: int = 3


def parse(text: str) -> Options:
    """Read ``width=256,layers=3,kernel=3``; all can be left out.

    Raises:
        ConfigError: the text is not of that form.
    """
    return windows.parse(text, KIND, Options, OPTIONS)


def build(teacher: Any, tokenizer: Any, options: Options, seed: int) -> ConvolutionalForSequenceClassification:
    """A student with the teacher's word embeddings and labels; all else is drawn at random."""
    student: ConvolutionalForSequenceClassification = windows.start(
        ConvolutionalForSequenceClassification,
        teacher,
        tokenizer,
        seed,
        width=options.width,
        layers=options.layers,
        kernel=options.kernel,
    )
    return student
