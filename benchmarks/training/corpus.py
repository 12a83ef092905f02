"""The embedded corpora as raw text, for measurements of pretraining."""

from __future__ import annotations

from pathlib import Path

from lilliput.config import DataConfig
from lilliput.runs import write_text
from lilliput.train import sources


def write_corpus(path: Path, fold: int) -> Path:
    """Write the text of a fold, a sentence a line: training, validation and transfer sentences of all four domains.

    Nothing of a test bucket is in it.
    """
    data = sources.load(DataConfig(seed=fold))
    texts = [*data.train.texts, *data.validation.texts, *data.transfer]
    write_text(path, "".join(" ".join(text.split()) + "\n" for text in texts))
    return path
