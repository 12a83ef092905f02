"""Train a WordPiece tokenizer as BERT has it, and report how it does on documents that it has not seen.

The vocabulary grows from characters by merging, as in byte-pair encoding (Sennrich et al. 2016), until it has the size
asked for; texts are then split greedily into the longest tokens (Wu et al. 2016; Devlin et al. 2019).

The library's trainer numbers the characters in the order of a hash table, which differs from run to run, and breaks
ties between merges by these numbers. So the characters are counted in a pass of their own, and given to it in order:
equal text makes equal vocabularies, whatever the order of the documents.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer

from lilliput import models, processes
from lilliput.config import TokenizerConfig
from lilliput.errors import ConfigError, DataError
from lilliput.runs import Run
from lilliput.train.corpus import Corpus, Tally
from lilliput.train.evaluate import Progress

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Their ids are their places."""
PREFIX = "##"
"""In front of a token that goes on with a word."""
MAX_LENGTH = 512
"""Tokens of a text, special ones included, where a model does not say otherwise; BERT's."""
RAREST = 1e-7
"""Share of the training text that a character must make up to be a token."""
LEAST_COVERAGE = 0.99
"""Share of the training text's characters that a vocabulary must hold."""
BATCH = 1000


def train_tokenizer(config: TokenizerConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Train a tokenizer on ``config.corpus`` and save it to ``config.out/tokenizer``, where ``AutoTokenizer`` loads it.

    Returns:
        The stage's result: the size of the vocabulary, what the corpus held, and figures on the held-out documents
        (see :func:`evaluate`).

    Raises:
        DataError: the corpus is not usable; see the message.
        ConfigError: ``--vocab-size`` is too small for the characters of the corpus.
    """
    corpus = Corpus(config)
    recipe = config.model_dump(mode="json", exclude={"out", "corpus", "seed"})
    with Run(config.out, "tokenizer") as run:
        stage = run.stage(
            "tokenizer",
            {**recipe, "corpus_fingerprint": corpus.fingerprint()},
            lambda folder: processes.on_main(lambda: _train(folder, corpus, config, progress)),
            config=config.model_dump(mode="json"),
        )
    return {**stage.result, "folder": str(stage.folder), "reused": stage.reused}


def _train(folder: Path, corpus: Corpus, config: TokenizerConfig, progress: Progress | None) -> dict[str, Any]:
    held_out = folder / "checkpoints" / "held-out.jsonl"
    held_out.parent.mkdir(exist_ok=True)
    pipeline = bert_tokenizer({token: place for place, token in enumerate(SPECIAL)}, config.cased).backend_tokenizer
    characters, tally = count_characters(corpus, pipeline, held_out, progress)
    kept = alphabet(characters, pipeline, config.vocab_size)
    vocabulary = learn(_training(corpus, progress), kept, pipeline, config)
    tokenizer = bert_tokenizer(vocabulary, config.cased)
    models.save_tokenizer(tokenizer, folder)
    return {
        "vocabulary": len(vocabulary),
        "alphabet": len(kept),
        "characters_left_out": len(characters) - len(kept),
        **tally.facts(),
        **evaluate(tokenizer, _lines_of(held_out)),
    }


def bert_tokenizer(vocabulary: Mapping[str, int], cased: bool) -> Any:
    """BERT's tokenizer over ``vocabulary``: clean text, white space around Chinese characters, lower case without
    accents unless ``cased``; words split at punctuation; [CLS] text [SEP].
    """
    from transformers import BertTokenizer

    return BertTokenizer(vocab=dict(vocabulary), do_lower_case=not cased, model_max_length=MAX_LENGTH)


def count_characters(
    corpus: Corpus, pipeline: Tokenizer, held_out: Path, progress: Progress | None = None
) -> tuple[Counter[str], Tally]:
    """Occurrences of each character in the normalised training documents; the held-out ones are written to a file."""
    counts: Counter[str] = Counter()
    tally = Tally()
    with held_out.open("w", encoding="utf-8") as file:
        for document in corpus.documents(tally, progress, "counting characters"):
            if document.held_out:
                file.write(json.dumps(document.text) + "\n")
            else:
                counts.update(pipeline.normalizer.normalize_str(document.text))
    written = Counter({character: count for character, count in counts.items() if not character.isspace()})
    if not written:
        raise DataError(f"{corpus.name}: nothing is left of the training documents without their control characters")
    return written, tally


def alphabet(counts: Mapping[str, int], pipeline: Tokenizer, vocab_size: int) -> list[str]:
    """The characters that become tokens, sorted: the most frequent ones, in at most half of the vocabulary.

    A character takes one token, and another where it can go on with a word. The rarest are noise in a large corpus,
    and are left out.

    Raises:
        ConfigError: half of the vocabulary holds less than 99% of the text's characters.
    """
    total = sum(counts.values())
    ranked = sorted((c for c in counts if counts[c] >= RAREST * total), key=lambda c: (-counts[c], c))
    sizes = list(accumulate(1 + goes_on(character, pipeline) for character in ranked))
    kept = [character for character, size in zip(ranked, sizes, strict=True) if 2 * size <= vocab_size - len(SPECIAL)]
    if sum(counts[character] for character in kept) < LEAST_COVERAGE * total:
        shares = accumulate(counts[character] / total for character in ranked)
        needed = next((size for size, share in zip(sizes, shares, strict=True) if share >= LEAST_COVERAGE), sizes[-1])
        raise ConfigError(
            f"--vocab-size {vocab_size}: too small for the {len(counts):,} characters of this corpus; "
            f"give {len(SPECIAL) + 2 * needed:,} or more"
        )
    return sorted(kept)


def goes_on(character: str, pipeline: Tokenizer) -> bool:
    """Whether a character can be inside of a word: punctuation and Chinese characters are words of their own."""
    return len(pipeline.pre_tokenizer.pre_tokenize_str(pipeline.normalizer.normalize_str(f"a{character}a"))) == 1


def learn(
    texts: Iterator[str], characters: Sequence[str], pipeline: Tokenizer, config: TokenizerConfig
) -> dict[str, int]:
    """Tokens and their ids: special tokens, ``characters``, and what merging adds; the rest of a text is [UNK]."""
    learner = Tokenizer(WordPiece(unk_token=SPECIAL[1]))
    learner.normalizer, learner.pre_tokenizer = pipeline.normalizer, pipeline.pre_tokenizer
    inside = [f"{PREFIX}{character}" for character in characters if goes_on(character, pipeline)]
    trainer = WordPieceTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        # Given ids as if they were special; only the ids are taken from here, so texts never see them as such.
        special_tokens=[*SPECIAL, *inside],
        initial_alphabet=list(characters),
        limit_alphabet=len(characters),
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    return dict(sorted(learner.get_vocab().items(), key=lambda item: item[1]))


def evaluate(tokenizer: Any, texts: Iterable[str]) -> dict[str, Any]:
    """How a tokenizer does on ``texts``; a word is what it splits into tokens: a run of letters and digits, or a mark.

    Returns:
        ``held_out_words``, ``held_out_tokens``, ``tokens_per_word``; ``unknown_rate``, the share of the tokens that are
        [UNK]; ``word_coverage`` and ``character_coverage``, the shares of words and characters that are not in one.
    """
    words = tokens = unknown = characters = unknown_characters = 0
    every = iter(texts)
    while batch := list(islice(every, BATCH)):
        encoded = tokenizer(batch, add_special_tokens=False, split_special_tokens=True, verbose=False)
        for encoding in encoded.encodings:
            spans = [end - start for start, end in encoding.offsets]
            lost = [span for span, number in zip(spans, encoding.ids, strict=True) if number == tokenizer.unk_token_id]
            words += len(set(encoding.word_ids))
            tokens += len(spans)
            characters += sum(spans)
            unknown += len(lost)  # one a word
            unknown_characters += sum(lost)
    return {
        "held_out_words": words,
        "held_out_tokens": tokens,
        "tokens_per_word": tokens / max(1, words),
        "unknown_rate": unknown / max(1, tokens),
        "word_coverage": 1 - unknown / max(1, words),
        "character_coverage": 1 - unknown_characters / max(1, characters),
    }


def _training(corpus: Corpus, progress: Progress | None) -> Iterator[str]:
    return (document.text for document in corpus.documents(Tally(), progress, "learning") if not document.held_out)


def _lines_of(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
