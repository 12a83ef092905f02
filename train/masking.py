"""The corruption that a masked language model learns from, and its loss (Devlin et al. 2019, BERT, section 3.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lilliput import encoder
from lilliput.errors import ConfigError
from lilliput.language_models import vocabulary_of
from lilliput.tasks import IGNORED

MASKED, REPLACED = 0.8, 0.1
"""Of the chosen tokens, the shares that become the mask token and a random token; the rest stay as they are."""

_BEGINS = tuple("ĠĉĊċČč")
"""First characters of a token of byte-level BPE that begins a word: how it writes a space, and other white space."""


class Masking:
    """Chooses tokens to predict and corrupts them, anew at every call.

    A token is chosen with probability ``rate``; with ``whole_words`` a word is, with all its tokens. Special tokens are
    never chosen, [UNK] among them, and never put in a chosen token's place.

    Args:
        tokenizer: WordPiece, or byte-level BPE.
        rate: share of the tokens.

    Raises:
        ConfigError: ``whole_words`` with a tokenizer whose tokens don't say where words begin.
    """

    def __init__(self, tokenizer: Any, rate: float, whole_words: bool = False) -> None:
        self.rate = rate
        self.mask_id = tokenizer.mask_token_id
        self.special = torch.zeros(vocabulary_of(tokenizer), dtype=torch.bool)  # [V]
        self.special[tokenizer.all_special_ids] = True
        ids = torch.tensor(sorted(tokenizer.get_vocab().values()))
        self.ordinary = ids[~self.special[ids]]
        self.continues = continues_a_word(tokenizer) if whole_words else None  # [V]

    def __call__(self, ids: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Corrupted tokens, and as labels the tokens that were chosen.

        Args:
            ids: int64 ``[B, T]``.
            generator: on the device of ``ids``; torch's global one by default.

        Returns:
            int64 ``[B, T]`` each; labels are ``IGNORED`` where nothing was chosen.
        """

        def uniform() -> Tensor:
            return torch.rand(ids.shape, generator=generator, device=ids.device)

        special = self.special.to(ids.device)[ids]
        draw = uniform()
        if self.continues is not None:
            draw = draw.gather(1, _word_starts(self.continues.to(ids.device)[ids] & ~special, special))
        chosen = (draw < self.rate) & ~special
        action = uniform()
        picked = torch.randint(len(self.ordinary), ids.shape, generator=generator, device=ids.device)
        other = self.ordinary.to(ids.device)[picked]
        corrupted = torch.where(chosen & (action < MASKED), self.mask_id, ids)
        corrupted = torch.where(chosen & (action >= 1 - REPLACED), other, corrupted)
        return corrupted, ids.where(chosen, IGNORED)


def _word_starts(continues: Tensor, special: Tensor) -> Tensor:
    """The place of the first token of each token's word, int64 ``[B, T]``; a word ends where a special token is.

    Args:
        continues: whether a token goes on with a word, bool ``[B, T]``.
    """
    inside = continues.clone()
    inside[:, 0] = False
    inside[:, 1:] &= ~special[:, :-1]
    places = torch.arange(inside.shape[1], device=inside.device).expand(inside.shape)
    return places.where(~inside, 0).cummax(dim=1).values


def continues_a_word(tokenizer: Any) -> Tensor:
    """For each token, whether it goes on with the word of the token before, bool ``[V]``.

    WordPiece marks such tokens (``##ing``), byte-level BPE marks the others, by the space in front (``Ġfilm``).
    """
    backend, vocabulary = tokenizer.backend_tokenizer.model, tokenizer.get_vocab()
    prefix = getattr(backend, "continuing_subword_prefix", None)
    spaced = any(token.startswith(_BEGINS[0]) for token in vocabulary)
    continues = torch.zeros(vocabulary_of(tokenizer), dtype=torch.bool)
    for token, number in vocabulary.items():
        if prefix:
            continues[number] = token.startswith(prefix)
        elif spaced:
            continues[number] = not token.startswith(_BEGINS)
        else:
            raise ConfigError(
                "--whole-words: the tokens of this tokenizer don't say where words begin; it works with WordPiece "
                "and byte-level BPE"
            )
    return continues


def masked_logits(model: Any, corrupted: Tensor, labels: Tensor, pad_id: int) -> tuple[Tensor, Tensor]:
    """Logits at the n places that have a label, float32 ``[n, V]``, and the labels, ``[n]``.

    Args:
        model: a masked language model, or what a training on several devices wraps one in.
        corrupted, labels: int64 ``[B, T]``.
    """
    places = labels != IGNORED
    with encoder.only_at(getattr(model, "module", model), places):
        logits = model(input_ids=corrupted, attention_mask=(corrupted != pad_id).long()).logits  # [n, V]
    return logits.float(), labels[places]


class MaskedLanguageModelling:
    """Cross-entropy of the chosen tokens, given the corrupted ones: the mean over the n chosen tokens of
    ``-log softmax(logits)[token]``; 0 where the draw has chosen none.
    """

    def __init__(self, masking: Masking, pad_id: int) -> None:
        self.masking = masking
        self.pad_id = pad_id

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a batch, whose ``input_ids`` are int64 ``[B, T]``. Draws from torch's global generator."""
        corrupted, labels = self.masking(batch["input_ids"])
        logits, tokens = masked_logits(model, corrupted, labels, self.pad_id)
        return cross_entropy(logits, tokens, reduction="sum") / max(1, len(tokens))
