"""More transfer text with the help of a masked language model: some words of a text are replaced by what fits there.

Follows the data augmentation of Jiao et al., "TinyBERT", Findings of EMNLP 2020, section 4.1 and algorithm 1: a word is
replaced by one of the model's likeliest words in its place. Two things differ. All replaced words of a copy are masked
in one pass, so fewer of them are, and words of several pieces stay as they are instead of being replaced by neighbours
of GloVe vectors.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tokenizers import Encoding

from lilliput import encoder, models, tasks
from lilliput.errors import ConfigError
from lilliput.train import loop
from lilliput.train.evaluate import Progress
from lilliput.train.finetuning import model_source

REPLACED = 0.2
"""Share of a text's words that are replaced, of those that are one token of letters each."""
CANDIDATES = 15
"""The likeliest words in a place, of which one is drawn (K in TinyBERT)."""
BATCH = 64
LONGEST = 128
"""Tokens of a text in which words are replaced, if the model reads as many; what follows stays as it is."""


def replace_words(
    texts: Sequence[str], copies: int, seed: int, source: str, device: str = "auto", progress: Progress | None = None
) -> Iterator[str]:
    """``copies`` changed texts for each of ``texts``, in their order; the same for the same seed, and the first ones
    are the same for any number of copies.

    Args:
        source: folder or Hub id of a masked language model.

    Raises:
        ModelError, ConfigError: it is no masked language model.
    """
    place = model_source(source)
    tokenizer = models.load_tokenizer(place)
    if tokenizer.mask_token_id is None:
        raise ConfigError(f"--augment-model {source}: its tokenizer has no mask token; give a masked language model")
    model = models.load_finetuned(tasks.get("fill-mask"), place).to(loop.pick_device(device)).eval()
    words = _whole_words(tokenizer)
    generator = random.Random(seed)
    for copy in range(copies):
        for start in range(0, len(texts), BATCH):
            if progress:
                progress(copy * len(texts) + start, copies * len(texts), "a language model changes the texts")
            yield from _changed(texts[start : start + BATCH], model, tokenizer, words, generator)


def _whole_words(tokenizer: Any) -> dict[int, str]:
    """The tokens that stand for a word of letters within a text, by id: not special, and no part of a word."""
    ids = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
    words = {i: tokenizer.decode([i]).strip() for i in ids}
    letters = {i: word for i, word in words.items() if word.isalpha()}
    read = tokenizer.backend_tokenizer.encode_batch(
        [f". {word}" for word in letters.values()], add_special_tokens=False
    )
    return {i: word for (i, word), found in zip(letters.items(), read, strict=True) if found.ids[-1:] == [i]}


@torch.inference_mode()
def _changed(
    texts: Sequence[str], model: Any, tokenizer: Any, words: dict[int, str], generator: random.Random
) -> Iterator[str]:
    device, longest = next(model.parameters()).device, min(LONGEST, encoder.longest_input(model))
    batch = tokenizer(list(texts), truncation=True, max_length=longest, padding=True, return_tensors="pt")
    places = [_places(batch.encodings[row], words, generator) for row in range(len(texts))]
    masked = torch.zeros_like(batch["input_ids"], dtype=torch.bool)  # [B, T]
    for row, chosen in enumerate(places):
        masked[row, chosen] = True
    batch["input_ids"][masked] = tokenizer.mask_token_id
    with encoder.only_at(model, masked.to(device)):
        logits = model(**{name: values.to(device) for name, values in batch.items()}).logits  # [masked, V]
    ids = torch.tensor(list(words), device=device)
    likely = iter(ids[logits[:, ids].topk(min(CANDIDATES, len(words))).indices].tolist())
    for row, (text, chosen) in enumerate(zip(texts, places, strict=True)):
        parts, end = [], 0
        for place in chosen:
            start, after = batch.encodings[row].offsets[place]
            parts += [text[end:start], words[generator.choice(next(likely))]]
            end = after
        yield "".join([*parts, text[end:]])


def _places(encoding: Encoding, words: dict[int, str], generator: random.Random) -> list[int]:
    """Tokens to replace, in order: words of one token."""
    counts = Counter(encoding.word_ids)
    return [
        place
        for place, (word, token) in enumerate(zip(encoding.word_ids, encoding.ids, strict=True))
        if word is not None and counts[word] == 1 and token in words and generator.random() < REPLACED
    ]
