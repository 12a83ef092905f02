"""Raw text as inputs of a masked language model: each text with one word of it masked.

`lilliput pretrain` masks tokens in every step anew. This is for what asks a finished model about texts, as a user does.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from lilliput.config import CorpusConfig, DataConfig
from lilliput.errors import ConfigError
from lilliput.runs import digest
from lilliput.train import sources
from lilliput.train.corpus import Corpus, Tally
from lilliput.train.data import Dataset, Split
from lilliput.train.data_report import DataReport, SplitFacts

DOCUMENTS = 5000
"""That are read at most."""

WORDS = 64
"""Of a document that make its text, so that the masked one is among the tokens that are read."""


def load(config: DataConfig, mask: str) -> Dataset:
    """The texts that ``config.data`` names; documents that pretraining would hold out are the validation split.

    Args:
        mask: the mask token of the tokenizer.

    Raises:
        DataError: there is no usable text.
        ConfigError: ``config`` names columns that raw text does not have.
    """
    if config.pair_column or config.label_column:
        raise ConfigError(f"--task {config.task}: reads raw text, of which --text-column alone can be named")
    name, fingerprint, train, held_out = _texts(config)
    draw = random.Random(config.seed)
    splits = {
        "train": [masked(text, mask, draw) for text in train],
        "validation": [masked(text, mask, draw) for text in held_out],
    }
    rows = len(train) + len(held_out)
    facts = {split: SplitFacts.of(texts, ()) for split, texts in splits.items()}
    report = DataReport(rows, rows, {}, (), facts, 0, 0, {})
    made = {split: Split(texts, [None] * len(texts)) for split, texts in splits.items()}
    return Dataset(name, config.task, (), made["train"], made["validation"], Split(), [], {}, report, fingerprint)


def masked(text: str, mask: str, draw: random.Random) -> str:
    """The first words of ``text``, one of them replaced by ``mask``."""
    words = text.split()[:WORDS]
    words[draw.randrange(len(words))] = mask
    return " ".join(words)


def _texts(config: DataConfig) -> tuple[str, str, Sequence[str], Sequence[str]]:
    """Name and fingerprint of the texts, and those for training and for evaluation."""
    if config.data == sources.SENTIMENT:
        films = sources.load(config.model_copy(update={"task": "classification"}))
        return films.name, films.fingerprint, films.train.texts, films.validation.texts
    corpus = Corpus(CorpusConfig(corpus=(config.data,), text_column=config.text_column, seed=config.seed))
    documents = list(itertools.islice(corpus.documents(Tally()), DOCUMENTS))
    train, held_out = ([one.text for one in documents if one.held_out is side] for side in (False, True))
    return corpus.name, digest([corpus.fingerprint(), DOCUMENTS]), train, held_out or train
