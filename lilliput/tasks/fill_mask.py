"""The words that a masked language model puts in place of [MASK]; its models are made by ``lilliput pretrain``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from lilliput.errors import ConfigError, InputError
from lilliput.tasks import TEXT_COLUMNS, Column, Task, softmax

MASKS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class Filled:
    """The ids of a text, the places of its masks, and the probabilities there, ``[masks, vocabulary]``."""

    ids: tuple[int, ...]
    masks: tuple[int, ...]
    probabilities: NDArray[np.float64]


class FillMask(Task):
    """Masked language modelling (Devlin et al. 2019). Its models are made and measured by ``lilliput pretrain``."""

    name = "fill-mask"
    head = "AutoModelForMaskedLM"
    metric = "loss"
    falling = frozenset({"loss"})
    columns: ClassVar[Mapping[str, Column]] = {"text": Column(TEXT_COLUMNS)}
    command = "pretrain"
    inputs = ("text",)
    dimensions = ("tokens", "vocabulary")

    def predict(
        self,
        item: Any,
        windows: Sequence[Encoding],
        outputs: Sequence[NDArray[np.float32]],
        settings: Mapping[str, Any],
    ) -> Any:
        """What may stand in each mask."""
        (window,), (output,) = windows, outputs
        places = tuple(place for place, token in enumerate(window.tokens) if token in MASKS)
        return Filled(tuple(window.ids), places, softmax(output[list(places)]))

    def agreement(
        self, ours: Sequence[Any], theirs: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> float:
        """The share of masks that get the same word."""
        one, other = ([said.probabilities.argmax(axis=1) for said in some] for some in (ours, theirs))
        same = np.concatenate(one) == np.concatenate(other)
        return float(same.mean()) if len(same) else 1.0

    def answer(
        self,
        item: Any,
        prediction: Any,
        names: Sequence[str],
        settings: Mapping[str, Any],
        *,
        tokenizer: Tokenizer,
        top_k: int = 5,
        **options: Any,
    ) -> Any:
        """The ``top_k`` likeliest tokens, ``[{"score", "token", "token_str", "sequence"}]``, best first; a list of such
        lists for a text with several masks."""
        if options:
            raise ConfigError(f"{next(iter(options))}: {self.name} has the option top_k")
        if type(top_k) is not int or top_k < 1:
            raise ConfigError(f"top_k: expected a whole number above zero, got {top_k!r}")
        if not prediction.masks:
            known = [mask for mask in MASKS if tokenizer.token_to_id(mask) is not None]
            raise InputError(f"no {' or '.join(known)} among the tokens that are read; write it in place of a word")
        single = len(prediction.masks) == 1
        found = []
        for place, chances in zip(prediction.masks, prediction.probabilities, strict=True):
            best = np.argsort(-chances, kind="stable")[:top_k].tolist()
            filled = [[*prediction.ids[:place], token, *prediction.ids[place + 1 :]] for token in best]
            found.append(
                [
                    {
                        "score": float(chances[token]),
                        "token": token,
                        "token_str": tokenizer.decode([token], skip_special_tokens=False),
                        "sequence": tokenizer.decode(ids, skip_special_tokens=single),
                    }
                    for token, ids in zip(best, filled, strict=True)
                ]
            )
        return found[0] if single else found


TASK = FillMask()
