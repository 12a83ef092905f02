"""The embedded corpora as raw text, for measurements of pretraining."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lilliput.config import DataConfig
from lilliput.runs import write_text
from lilliput.train import sources


def films(fold: int) -> list[str]:
    """The rated sentences of film reviews of a fold: training and validation, nothing of a test bucket."""
    data = sources.load(DataConfig(seed=fold))
    return [*data.train.texts, *data.validation.texts]


def others(fold: int) -> list[str]:
    """The transfer text of a fold, most of it of other domains: products, editorials, tweets."""
    return list(sources.load(DataConfig(seed=fold)).transfer)


def write_corpus(path: Path, texts: Iterable[str]) -> Path:
    """Write a corpus, a sentence a line."""
    write_text(path, "".join(" ".join(text.split()) + "\n" for text in texts))
    return path
