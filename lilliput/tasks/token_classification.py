"""A label for every word of a text: named entities, parts of speech.

The first sub-word of a word is labelled, and its label is the word's (Devlin et al. 2019, section 5.3). A long text is
read in overlapping windows, and each token is judged in the one where it has most context.

Entities are written as BIO tags. A tag ``I-X`` that continues no entity begins one, as ``conlleval`` reads it, so rows
in either convention (IOB1, IOB2) are taken; they are turned into IOB2 for training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from lilliput.errors import ConfigError
from lilliput.tasks import (
    IGNORED,
    NEVER_TRAINED,
    NO_LABEL,
    NO_TEXT,
    Column,
    RowFault,
    Task,
    Tokens,
    clean,
    label,
    mistyped,
    softmax,
)

OUTSIDE = "O"
UNEQUAL = "different numbers of tokens and tags"
EMPTY_TOKEN = "empty token"
UNTYPED = "BIO tag without a type"
STRATEGIES = ("none", "simple", "first")

_ENTITY = re.compile(r"[BIES]-.+", re.DOTALL)


@dataclass(frozen=True)
class Tagging:
    """What a model says of an input, token by token; special tokens are left out.

    Attributes:
        text: the input, words being joined by a space.
        tokens: T tokens as the vocabulary has them.
        spans: [T, 2], the characters of ``text`` that a token stands for.
        logits: float32 [T, labels].
        first: [words], the first token of each word; -1 for one that vanished in tokenisation.
    """

    text: str
    tokens: tuple[str, ...]
    spans: NDArray[np.int64]
    logits: NDArray[np.float32]
    first: NDArray[np.int64]

    def tags(self, names: Sequence[str]) -> list[str]:
        """The label of each word; a word that was not read is outside of every entity."""
        best = self.logits.argmax(axis=1) if len(self.logits) else np.zeros(0, dtype=np.int64)  # [T]
        unread = OUTSIDE if OUTSIDE in names else names[0]
        return [unread if token < 0 else names[best[token]] for token in self.first.tolist()]


class TokenClassification(Task):
    """A label for every word, from the first of its sub-words."""

    name = "token-classification"
    head = "AutoModelForTokenClassification"
    metric = "f1"
    columns: ClassVar[Mapping[str, Column]] = {
        "text": Column(("tokens", "words", "text", "sentence")),
        "label": Column(("tags", "ner_tags", "labels", "pos_tags", "label")),
    }
    inputs = ("text",)
    per_token = True
    fewest_labels = 2
    brief: ClassVar[Mapping[str, Any]] = {"aggregation_strategy": "first"}
    overlap = 0.5
    dimensions = ("tokens", "labels")

    def read(self, cells: Mapping[str, Any]) -> tuple[Any, Any]:
        """Words and their tags, each a list or a string with spaces between."""
        words = tuple(map(_word, _list(cells["text"], "the text", NO_TEXT)))
        if "label" not in cells:
            return words, None
        tags = [label(tag, "a tag") for tag in _list(cells["label"], "the label", NO_LABEL)]
        if len(words) != len(tags):
            raise RowFault(UNEQUAL)
        return words, _as_iob2(tags)

    def label_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """Every tag that occurs."""
        return super().label_names([tag for target in targets for tag in target])

    def index(self, target: Any, names: Sequence[str]) -> Any:
        """The number of each tag."""
        numbers = {name: number for number, name in enumerate(names)}
        if not numbers.keys() >= set(target):
            raise RowFault(NEVER_TRAINED)
        return tuple(numbers[tag] for tag in target)

    def shown(self, target: Any, names: Sequence[str]) -> Any:
        """The tags as a list."""
        return [names[number] for number in target]

    def counted(self, target: Any, names: Sequence[str]) -> Sequence[str]:
        """Every word counts."""
        return self.shown(target, names)

    def tokens(self, item: Any) -> Tokens:
        """A text as it is, or its words."""
        return Tokens(item if isinstance(item, str) else tuple(item))

    def training(self, target: Any, window: Encoding) -> dict[str, Any]:
        """The label of each word on its first token; other tokens are ignored.

        A window may open inside a word: its first token counts only where it stands at the beginning of its word, or
        where nothing can lie before it.
        """
        labels = [IGNORED] * len(window.ids)
        previous = None
        for place, (word, (start, _)) in enumerate(zip(window.word_ids, window.offsets, strict=True)):
            if word is not None and word != previous and (previous is not None or start == 0 or word == 0):
                labels[place] = target[word]
            previous = word
        return {"labels": labels}

    def predict(
        self,
        item: Any,
        windows: Sequence[Encoding],
        outputs: Sequence[NDArray[np.float32]],
        settings: Mapping[str, Any],
    ) -> Tagging:
        """The outputs of all windows as those of one text."""
        whole = _joined(windows, outputs, self.overlap)
        text, begins = (item, None) if isinstance(item, str) else (" ".join(item), _word_starts(item))
        words = [token.word for token in whole]
        count = max((word for word in words if word is not None), default=-1) + 1 if begins is None else len(item)
        first = np.full(count, -1)
        for place in reversed(range(len(whole))):
            word = words[place]
            if word is not None:
                first[word] = place
        shifts = [0 if begins is None or word is None else begins[word] for word in words]
        spans = [(token.span[0] + shift, token.span[1] + shift) for token, shift in zip(whole, shifts, strict=True)]
        logits = np.stack([token.logits for token in whole]) if whole else outputs[0][:0]
        return Tagging(text, tuple(token.text for token in whole), np.array(spans).reshape(-1, 2), logits, first)

    def metrics(
        self, predictions: Sequence[Any], targets: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """``f1``, ``accuracy`` over words, and how many words vanished in tokenisation (``unread_words``).

        Of BIO tags, ``f1`` is the micro F1 over entities as ``conlleval`` counts them, beside ``precision`` and
        ``recall``. Of other labels it is the micro F1 over words, which is their accuracy, beside ``macro_f1``.
        """
        gold = [self.shown(target, names) for target in targets]
        found = [prediction.tags(names) for prediction in predictions]
        pairs = [(one, other) for g, f in zip(gold, found, strict=True) for one, other in zip(g, f, strict=True)]
        accuracy = sum(one == other for one, other in pairs) / len(pairs)
        scores = _entity_scores(gold, found) if are_entities(names) else _word_scores(pairs, names, accuracy)
        unread = sum(int((prediction.first < 0).sum()) for prediction in predictions)
        return {**scores, "accuracy": accuracy, "unread_words": float(unread)}

    def record(self, prediction: Any, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The tags of the words."""
        return {"prediction": prediction.tags(names), "probabilities": None}

    def answer(
        self,
        item: Any,
        prediction: Any,
        names: Sequence[str],
        settings: Mapping[str, Any],
        *,
        tokenizer: Tokenizer,
        aggregation_strategy: str = "none",
        ignore_labels: Sequence[str] = (OUTSIDE,),
        **options: Any,
    ) -> Any:
        """``{"entity", "score", "index", "word", "start", "end"}`` of every token, or of entities ``{"entity_group",
        "score", "word", "start", "end"}``: the answers of the token-classification pipeline of transformers.

        Args:
            aggregation_strategy: ``none`` for tokens; ``simple`` joins tokens to entities; ``first`` also gives every
                sub-word the label of its word's first one.
            ignore_labels: what is left out.
        """
        if aggregation_strategy not in STRATEGIES:
            raise ConfigError(f"aggregation_strategy: {aggregation_strategy!r} is none of {', '.join(STRATEGIES)}")
        if options:
            raise ConfigError(f"{next(iter(options))}: {self.name} has aggregation_strategy and ignore_labels")
        pieces = _pieces(prediction, names, tokenizer)
        if aggregation_strategy == "none":
            keys = ("entity", "score", "index", "word", "start", "end")
            return [{key: piece[key] for key in keys} for piece in pieces if piece["entity"] not in ignore_labels]
        if aggregation_strategy == "first":
            pieces = [
                {**run[0], "word": _text([piece["word"] for piece in run], tokenizer), "end": run[-1]["end"]}
                for run in _runs(pieces, lambda _, piece: piece["inside"])
            ]
        groups = [_group(run, tokenizer) for run in _runs(pieces, _continues)]
        return [group for group in groups if group["entity_group"] not in ignore_labels]


TASK = TokenClassification()


# --- rows -------------------------------------------------------------------------------------------------------------


def _list(value: Any, what: str, missing: str) -> list[Any]:
    found = value.split() if isinstance(value, str) else value
    if found is None or (isinstance(found, Sequence) and not len(found)):
        raise RowFault(missing)
    if not isinstance(found, Sequence):
        raise mistyped(what, found, "a list")
    return list(found)


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise mistyped("a token", value, "a string")
    found = clean(value)
    if not found:
        raise RowFault(EMPTY_TOKEN)
    return found


def _as_iob2(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags in which every entity begins with ``B-``."""
    if any(tag in ("B-", "I-") for tag in tags):
        raise RowFault(UNTYPED)
    made = []
    for before, tag in pairwise((OUTSIDE, *tags)):
        opens = tag.startswith("I-") and before not in (tag, f"B-{tag[2:]}")
        made.append(f"B-{tag[2:]}" if opens else tag)
    return tuple(made)


# --- windows ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Token:
    text: str
    word: int | None
    span: tuple[int, int]
    context: int
    logits: NDArray[np.float32]


def _joined(windows: Sequence[Encoding], outputs: Sequence[NDArray[np.float32]], overlap: float) -> list[_Token]:
    """The tokens of overlapping windows in order, each from the window in which it is farthest from an end."""
    whole: list[_Token] = []
    room = sum(not special for special in windows[0].special_tokens_mask)
    step = room - int(room * overlap)  # as `WindowEncoder` moves on
    for number, (window, output) in enumerate(zip(windows, outputs, strict=True)):
        kept = [place for place, special in enumerate(window.special_tokens_mask) if not special]
        texts, words, offsets = window.tokens, window.word_ids, window.offsets
        for row, place in enumerate(kept):
            context = min(row, len(kept) - 1 - row)
            token = _Token(texts[place], words[place], offsets[place], context, output[place])
            if number * step + row == len(whole):
                whole.append(token)
            elif context > whole[number * step + row].context:
                whole[number * step + row] = token
    return whole


def _word_starts(words: Sequence[str]) -> list[int]:
    """The first character of each word in the text that joins them with spaces."""
    lengths = np.array([len(word) + 1 for word in words])
    return (np.cumsum(lengths) - lengths).tolist()


# --- figures ----------------------------------------------------------------------------------------------------------


def are_entities(names: Sequence[str]) -> bool:
    """Whether labels are tags of entities: ``O`` and ``B-X``, ``I-X``, perhaps ``E-X`` and ``S-X``."""
    tags = [name for name in names if name != OUTSIDE]
    return bool(tags) and all(_ENTITY.fullmatch(tag) for tag in tags)


def _entity_scores(gold: list[list[str]], found: list[list[str]]) -> dict[str, float]:
    from seqeval.metrics import f1_score, precision_score, recall_score

    scores = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
    return {name: float(score(gold, found, average="micro", zero_division=0)) for name, score in scores.items()}


def _word_scores(pairs: Sequence[tuple[str, str]], names: Sequence[str], accuracy: float) -> dict[str, float]:
    from sklearn.metrics import f1_score

    gold, found = zip(*pairs, strict=True)
    macro = f1_score(gold, found, labels=list(names), average="macro", zero_division=0)
    return {"f1": accuracy, "macro_f1": float(macro)}


# --- answers ----------------------------------------------------------------------------------------------------------


def _pieces(found: Tagging, names: Sequence[str], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """What is said of each token, and whether it goes on inside a word (``inside``)."""
    probabilities = softmax(found.logits) if len(found.logits) else found.logits  # [T, labels]
    unknown = getattr(tokenizer.model, "unk_token", None)
    marked = bool(getattr(tokenizer.model, "continuing_subword_prefix", None))
    pieces = []
    for place, (token, (start, end), row) in enumerate(
        zip(found.tokens, found.spans.tolist(), probabilities, strict=True)
    ):
        best = int(row.argmax())
        apart = start == 0 or " " in found.text[start - 1 : start + 1]
        inside = len(token) != end - start if marked else not apart
        if token == unknown:
            token, inside = found.text[start:end], False
        said = {"entity": names[best], "score": float(row[best]), "index": place + 1, "word": token}
        pieces.append({**said, "start": start, "end": end, "inside": inside})
    return pieces


def _runs(pieces: Sequence[dict[str, Any]], continues: Any) -> list[list[dict[str, Any]]]:
    """Neighbours in runs: a piece joins the one before it where ``continues(before, piece)``."""
    runs: list[list[dict[str, Any]]] = []
    for piece in pieces:
        if runs and continues(runs[-1][-1], piece):
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


def _continues(before: dict[str, Any], piece: dict[str, Any]) -> bool:
    """Whether a piece belongs to the entity of the one before it; a label that is no BIO tag counts as ``I-``."""
    begins, kind = piece["entity"].startswith("B-"), re.sub("^[BI]-", "", piece["entity"])
    return not begins and kind == re.sub("^[BI]-", "", before["entity"])


def _group(run: Sequence[dict[str, Any]], tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "entity_group": run[0]["entity"].split("-", 1)[-1],
        "score": float(np.mean([piece["score"] for piece in run])),
        "word": _text([piece["word"] for piece in run], tokenizer),
        "start": run[0]["start"],
        "end": run[-1]["end"],
    }


def _text(tokens: list[str], tokenizer: Tokenizer) -> str:
    return " ".join(tokens) if tokenizer.decoder is None else tokenizer.decoder.decode(tokens)
