"""Vocabulary trimming: drop the tokens that a task's texts do not use, with their rows of the embedding table.

What must stay are the special and added tokens and the single characters (bytes, of a byte-level tokenizer), so every
text that could be read still can be, in shorter pieces; beyond these, the tokens of a corpus or the most frequent of
them. A text whose tokens are all kept has the same tokens as before, and so the same outputs.

What a tokenizer needs for that is in `tokenizer_vocabulary`.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from lilliput.compress.tokenizer_vocabulary import Vocabulary, reread, state_of
from lilliput.errors import ConfigError, DataError, ModelError

BATCH = 1000
"""Texts that are tokenized at once."""


@dataclass(frozen=True)
class Coverage:
    """What trimming does to texts, special tokens of their beginning and end not counted.

    Attributes:
        tokens: share of the original's tokens that are kept.
        texts: share of the texts with the same tokens as before.
        unknown_before, unknown_after: share of the tokens that are the unknown token.
        tokens_per_text_before, tokens_per_text_after: mean over the texts.
        bytes_saved: of the model's weights, as they are in memory.
    """

    tokens: float
    texts: float
    unknown_before: float
    unknown_after: float
    tokens_per_text_before: float
    tokens_per_text_after: float
    bytes_saved: int


def count_tokens(tokenizer: Any, texts: Iterable[str]) -> Counter[int]:
    """How often each token id occurs in ``texts``, read whole, without the special tokens of beginning and end."""
    counts: Counter[int] = Counter()
    for ids in _read(Vocabulary(tokenizer).state, texts):
        counts.update(ids)
    return counts


def keep(tokenizer: Any, counts: Counter[int], size: int | None = None) -> tuple[int, ...]:
    """The ids of the tokens to keep, rising.

    Args:
        counts: of a corpus, from `count_tokens`. All its tokens are kept, or, with ``size``, the most frequent ones;
            of equally frequent ones the lower id is. A token that is merged of others is kept with these or not at all.
        size: tokens to keep at most, what must stay among them.

    Raises:
        ConfigError: the tokenizer can't be trimmed, or ``size`` is below what must stay.
    """
    vocabulary = Vocabulary(tokenizer)
    kept = vocabulary.required()
    if size is not None and size < len(kept):
        raise ConfigError(
            f"--vocabulary {size}: {len(kept):,} tokens of this tokenizer must stay (special tokens and single "
            f"characters), so give {len(kept):,} or more"
        )
    for number in sorted(counts, key=lambda number: (-counts[number], number)):
        more = vocabulary.closure(number) - kept
        if size is None or len(kept) + len(more) <= size:
            kept |= more
    return tuple(sorted(kept))


def trim(model: Any, tokenizer: Any, kept: Sequence[int]) -> tuple[Any, Any]:
    """A model and a tokenizer with the tokens ``kept`` only; token ``kept[i]`` becomes token i.

    Tables over the vocabulary (word embeddings, and the head of a masked language model) lose the rows of the others,
    and the ids of special tokens are changed in the configuration and in every part of the tokenizer. Neither argument
    is changed.

    Args:
        kept: as from `keep`.

    Raises:
        ConfigError: the tokenizer can't be trimmed, or ``kept`` is not a rising list that holds what must stay.
        ModelError: the model does not belong to the tokenizer.
    """
    vocabulary = Vocabulary(tokenizer)
    vocabulary.check(kept)
    place = {number: i for i, number in enumerate(kept)}
    return _smaller_model(model, place), reread(tokenizer, vocabulary.trimmed(place), place)


def coverage(before: tuple[Any, Any], after: tuple[Any, Any], texts: Iterable[str]) -> Coverage:
    """Compare a model and its tokenizer with what `trim` made of them, on texts that ``kept`` was not chosen by.

    Raises:
        DataError: there is no text.
    """
    (model, tokenizer), (smaller, trimmed) = before, after
    new, held = trimmed.get_vocab(), list(texts)
    place = {number: new[token] for token, number in tokenizer.get_vocab().items() if token in new}
    old_unknown, new_unknown = tokenizer.unk_token_id, trimmed.unk_token_id
    same = kept = tokens = tokens_after = unknown = unknown_after = 0
    for old, now in zip(_read(state_of(tokenizer), held), _read(state_of(trimmed), held), strict=True):
        mapped = [place[number] for number in old if number in place]
        same += len(mapped) == len(old) and mapped == now
        kept += len(mapped)
        tokens += len(old)
        tokens_after += len(now)
        unknown += old.count(old_unknown)
        unknown_after += now.count(new_unknown)
    if not held:
        raise DataError("the coverage of a vocabulary is measured on texts, and there is none")
    return Coverage(
        tokens=kept / max(1, tokens),
        texts=same / len(held),
        unknown_before=unknown / max(1, tokens),
        unknown_after=unknown_after / max(1, tokens_after),
        tokens_per_text_before=tokens / len(held),
        tokens_per_text_after=tokens_after / len(held),
        bytes_saved=_bytes_of(model) - _bytes_of(smaller),
    )


def _smaller_model(model: Any, place: dict[int, int]) -> Any:
    """A copy of ``model`` with the rows of the tokens in ``place``; see `trim`."""
    table, config = model.get_input_embeddings(), copy.deepcopy(model.config)
    if max(place) >= table.num_embeddings:
        raise ModelError(
            f"the tokenizer has a token {max(place)}, but the model's table has {table.num_embeddings} rows: "
            "the two do not belong together"
        )
    for key, number in config.to_dict().items():
        if key.endswith("_token_id") and isinstance(number, int):
            setattr(config, key, place.get(number))
    padding = model.config.pad_token_id
    if padding is not None and config.pad_token_id is None:
        raise ModelError(f"pad_token_id {padding} of the model's config.json is not the id of the tokenizer's padding")
    config.vocab_size = len(place)
    # A table of positions that has a padding index (RoBERTa's) counts positions from there on.
    others = [part for part in model.modules() if isinstance(part, nn.Embedding) and part is not table]
    counted = {id(part.weight) for part in others if part.padding_idx is not None}
    unread = padding - config.pad_token_id if counted else 0
    if unread:
        config.max_position_embeddings -= unread
    with torch.random.fork_rng(devices=[]):  # the weights that it starts with are all replaced
        smaller = type(model)(config)
    own, rows = smaller.state_dict(), torch.tensor(list(place))

    def fit(name: str, weight: Tensor) -> Tensor:
        if weight.shape == own[name].shape:  # nothing to do with the vocabulary, or nothing to drop
            return weight.detach()
        return weight.detach()[unread:] if id(weight) in counted else weight.detach()[rows.to(weight.device)]

    smaller.load_state_dict({name: fit(name, weight) for name, weight in model.state_dict(keep_vars=True).items()})
    return smaller.to(model.device, model.dtype).train(model.training)


def _read(state: dict[str, Any], texts: Iterable[str]) -> Iterator[list[int]]:
    """The token ids of each text, whole and without special tokens around them."""
    reader = Tokenizer.from_str(json.dumps(state))
    reader.no_truncation()
    reader.no_padding()
    every = iter(texts)
    while batch := list(islice(every, BATCH)):
        for encoding in reader.encode_batch_fast(batch, add_special_tokens=False):
            yield encoding.ids


def _bytes_of(model: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())  # a shared one counts once
