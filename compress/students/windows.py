"""What students of token windows have in common: how their options are read, and what they start from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import torch

from lilliput import encoder, models
from lilliput.errors import ConfigError

Options = TypeVar("Options")

DEPTH = {"kernel": 15, "layers": 12}
"""Largest values of options; those not named may be up to `WIDEST`."""
WIDEST = 4096


DEFAULTS: Mapping[str, Any] = {"train_embeddings": True, "epochs": 5, "learning_rate": 2e-3, "batch_size": 64}
"""Of their training: all but the word embeddings begins at random, and those are most of the student."""


def parse(text: str, kind: str, options: type[Options], words: Mapping[str, str]) -> Options:
    """Read ``width=256,kernel=3`` as an instance of the dataclass ``options``; what is left out keeps its default.

    Args:
        kind: what stands before the colon, for the message.
        words: what each option means, by name.

    Raises:
        ConfigError: the text is not of that form.
    """
    pairs = [tuple(part.strip().split("=", 1)) for part in text.split(",")] if text.strip() else []
    names = [pair[0] for pair in pairs]
    right = all(len(pair) == 2 and pair[0] in words and _fits(*pair) for pair in pairs)
    if not right or len(set(names)) < len(names):
        defaults = ",".join(f"{field.name}={field.default}" for field in dataclasses.fields(options))  # type: ignore[arg-type]
        meant = "; ".join(f"{name}: {meaning}, 1 to {DEPTH.get(name, WIDEST)}" for name, meaning in words.items())
        raise ConfigError(
            f"--student {kind}:{text}: the options of {kind} are {meant}. The default is {kind}:{defaults}"
        )
    return options(**{pair[0]: int(pair[1]) for pair in pairs})


def _fits(name: str, value: str) -> bool:
    return value.isascii() and value.isdecimal() and 1 <= int(value) <= DEPTH.get(name, WIDEST)


def start(model_class: Any, teacher: Any, tokenizer: Any, seed: int, **settings: int) -> Any:
    """A model with the teacher's token vectors and labels; the rest is drawn at random.

    The vectors are centred and scaled to a mean square of 1, as layers without normalisation need them.

    Args:
        settings: of the model's configuration.
    """
    table = encoder.word_embeddings_of(teacher).weight.detach().float().cpu()
    labels = models.labels_of(teacher)
    config = model_class.config_class(
        vocab_size=table.shape[0],
        embedding_size=table.shape[1],
        max_position_embeddings=encoder.longest_input(teacher),
        pad_token_id=tokenizer.pad_token_id or 0,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type=teacher.config.problem_type,
        **settings,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = model_class(config)
        centred = table - table.mean(dim=0)
        vectors = encoder.word_embeddings_of(model)
        vectors.weight.copy_(centred / centred.square().mean().sqrt())
        vectors.weight[config.pad_token_id] = 0
    return model
