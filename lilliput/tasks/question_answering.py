"""The passage of a context that answers a question, or none (SQuAD 1.1 and 2.0).

A long context is read in overlapping windows. A window's outputs are the start and the end of an answer; [CLS], which
is its first token, stands for none (Devlin et al. 2019, sections 4.2 and 4.3).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from lilliput.errors import BundleError, ConfigError
from lilliput.tasks import MALFORMED, Column, RowFault, Task, clean, mistyped, softmax, text

NOT_THERE = "answer that is not in the context"
ELSEWHERE = "answer_start that does not fit the answer"
LONGEST = 30
"""Tokens of an answer, as in BERT's own script."""


@dataclass(frozen=True)
class Window:
    """What a model says of a window's readable tokens: row 0 is [CLS], the others are of the context.

    Attributes:
        logits: float32 [1 + C, 2], of start and end.
        chars: [1 + C, 2], the characters of the context that begin and end the word that a token is part of.
    """

    logits: NDArray[np.float32]
    chars: NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """What a model says of a question and its context.

    Attributes:
        span: characters [start, end) of the likeliest answer; None where the context has no token.
        score: start logit + end logit of that answer.
        null: start logit + end logit of [CLS], the least of all windows.
    """

    context: str
    windows: tuple[Window, ...]
    span: tuple[int, int] | None
    score: float
    null: float

    def answer(self, settings: Mapping[str, Any]) -> str:
        """The likeliest answer; "" where the fitted threshold says that there is none."""
        if self.span is None or self.null - self.score > settings.get("null_threshold", np.inf):
            return ""
        return self.context[slice(*self.span)]


class QuestionAnswering(Task):
    """Rows hold a question (``text``), a context (``pair``) and answers (``label``): ``{"text": [...],
    "answer_start": [...]}``, a list of texts, or one text, perhaps with a column ``answer_start``. An answer without
    its place is looked for from the beginning of the context. No answer means that the context has none.
    """

    name = "question-answering"
    head = "AutoModelForQuestionAnswering"
    metric = "f1"
    columns: ClassVar[Mapping[str, Column]] = {
        "text": Column(("question", "query")),
        "pair": Column(("context", "passage", "paragraph", "document")),
        "label": Column(("answers", "answer", "label")),
        "start": Column(("answer_start", "start"), required=False),
    }
    targets = frozenset({"label", "start"})
    inputs = ("question", "context")
    both = True
    overlap = 0.5
    outputs = ("start_logits", "end_logits")
    dimensions = ("tokens",)

    def read(self, cells: Mapping[str, Any]) -> tuple[Any, Any]:
        """Question and context; and the answers as pairs of first character and text, empty where there is none."""
        text(cells["pair"], "the context")
        item = (
            text(cells["text"], "the question"),
            cells["pair"],
        )  # the context stays as it is: answers count its characters
        return item, _answers(cells["label"], cells.get("start"), item[1]) if "label" in cells else None

    def label_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """The two outputs for each token."""
        return ("start", "end")

    def index(self, target: Any, names: Sequence[str]) -> Any:
        """The answers as they are."""
        return target

    def shown(self, target: Any, names: Sequence[str]) -> Any:
        """The answers as in SQuAD: ``{"text": [...], "answer_start": [...]}``."""
        return {"text": [answer for _, answer in target], "answer_start": [start for start, _ in target]}

    def counted(self, target: Any, names: Sequence[str]) -> Sequence[str]:
        """Whether there is an answer."""
        return ["answerable" if target else "unanswerable"]

    def training(self, target: Any, window: Encoding) -> dict[str, Any]:
        """First and last token of the first answer; [CLS] for both where the window does not hold all of it."""
        first, last = _tokens_of(target[0], window) if target else (0, 0)
        return {"start_positions": first, "end_positions": last}

    def check_settings(self, settings: Mapping[str, Any], labels: Sequence[str]) -> None:
        """At most a number, the threshold that `fit` finds."""
        if set(settings) - {"null_threshold"} or not all(isinstance(one, (int, float)) for one in settings.values()):
            raise BundleError(f"settings: {self.name} may have a number null_threshold, the bundle has others")

    def of_graph(self, arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Start and end, side by side, ``[tokens, 2]``."""
        return np.stack(arrays, axis=-1)

    def predict(
        self,
        item: Any,
        windows: Sequence[Encoding],
        outputs: Sequence[NDArray[np.float32]],
        settings: Mapping[str, Any],
    ) -> Reading:
        """The best of all spans of at most `LONGEST` tokens, over all windows, by start logit + end logit."""
        read = tuple(_readable(window, output) for window, output in zip(windows, outputs, strict=True))
        score, span = -np.inf, None
        for window in read:
            sums = _spans(window.logits[1:, 0], window.logits[1:, 1], LONGEST, np.add, -np.inf)  # [C, LONGEST]
            if sums.size and sums.max() > score:
                start, length = np.unravel_index(sums.argmax(), sums.shape)
                score = float(sums[start, length])
                span = (int(window.chars[1 + start, 0]), int(window.chars[1 + start + length, 1]))
        return Reading(item[1], read, span, score, min(float(window.logits[0].sum()) for window in read))

    def fit(self, predictions: Sequence[Any], targets: Sequence[Any]) -> dict[str, Any]:
        """Where some questions have no answer: the difference ``null_threshold`` between the score of [CLS] and that
        of the best span, above which there is none, for the highest F1 (Rajpurkar, Jia & Liang 2018)."""
        if all(targets):
            return {}
        differences = np.array([one.null - one.score if one.span else np.inf for one in predictions])
        order = np.argsort(differences, kind="stable")
        answered = [_best(f1, one.answer({}), gold) for one, gold in zip(predictions, targets, strict=True)]
        silent = [_best(f1, "", gold) for gold in targets]
        # Sum of F1 where the first k questions of this order are answered and the others are not, for k = 0 ... n.
        gains = np.cumsum([0.0, *(answered[i] - silent[i] for i in order)])
        edges = [-np.inf, *differences[order], np.inf]
        # Questions of equal difference can't be told apart.
        possible = [k for k in range(len(gains)) if edges[k] < edges[k + 1]]
        best = max(possible, key=lambda k: gains[k])
        return {"null_threshold": _between(float(edges[best]), float(edges[best + 1]))}

    def metrics(
        self, predictions: Sequence[Any], targets: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """Exact match and F1 over words, the best over the gold answers, of SQuAD's normal forms; where there are both,
        also of questions with (``answerable``) and without (``unanswerable``) an answer alone."""
        found = [one.answer(settings) for one in predictions]
        scores = {
            name: np.array([_best(score, one, gold) for one, gold in zip(found, targets, strict=True)])
            for name, score in (("f1", f1), ("exact_match", exact_match))
        }
        figures = {name: float(values.mean()) for name, values in scores.items()}
        answerable = np.array([bool(gold) for gold in targets])
        if answerable.any() and not answerable.all():
            figures |= {f"answerable_{name}": float(values[answerable].mean()) for name, values in scores.items()}
            figures["unanswerable_accuracy"] = float(scores["exact_match"][~answerable].mean())
        return figures

    def record(self, prediction: Any, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
        """The answer in the form of gold answers."""
        found = prediction.answer(settings)
        return {"prediction": self.shown([(prediction.span[0], found)] if found else [], names), "probabilities": None}

    def answer(
        self,
        item: Any,
        prediction: Any,
        names: Sequence[str],
        settings: Mapping[str, Any],
        *,
        tokenizer: Tokenizer | None = None,
        top_k: int = 1,
        max_answer_len: int = LONGEST,
        handle_impossible_answer: bool | None = None,
        **options: Any,
    ) -> Any:
        """``{"score", "start", "end", "answer"}``, or with ``top_k`` above 1 a list of those, best first: the answers
        of the question-answering pipeline of transformers 4, which transformers 5 no longer has.

        The score is the probability of the start times that of the end, of the tokens of the window; equal answers add
        theirs up.

        Args:
            max_answer_len: tokens of an answer; the pipeline's default is 15.
            handle_impossible_answer: whether "" is an answer too. By default it is the answer where the threshold
                fitted in training says so, and never where no threshold was fitted.
        """
        if type(top_k) is not int or top_k < 1 or type(max_answer_len) is not int or max_answer_len < 1:
            raise ConfigError(
                f"top_k, max_answer_len: expected whole numbers above zero: {top_k!r}, {max_answer_len!r}"
            )
        if options:
            known = "top_k, max_answer_len and handle_impossible_answer"
            raise ConfigError(f"{next(iter(options))}: {self.name} has {known}")
        ranked = _ranked(prediction, top_k, max_answer_len)
        null = {"score": _null_score(prediction), "start": 0, "end": 0, "answer": ""}
        if handle_impossible_answer:
            ranked = sorted([*ranked, null], key=lambda one: -one["score"])
        elif not ranked or (handle_impossible_answer is None and not prediction.answer(settings)):
            ranked = [null, *ranked]
        return ranked[0] if top_k == 1 else ranked[:top_k]


TASK = QuestionAnswering()


# --- rows -------------------------------------------------------------------------------------------------------------


def _answers(value: Any, start: Any, context: str) -> tuple[tuple[int, str], ...]:
    """The answers of a row that are no empty strings, with their first characters."""
    if isinstance(value, Mapping):
        value, start = value.get("text"), value.get("answer_start", start)
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, (list, tuple)):
        raise mistyped("the answer", texts, "a string or a list of strings")
    starts = start if isinstance(start, (list, tuple)) else [start] * len(texts)
    if len(starts) != len(texts):
        raise RowFault(MALFORMED, f"answers: {len(texts)}, places where they start: {len(starts)}")
    return tuple(_placed(one, place, context) for one, place in zip(texts, starts, strict=True) if _is_there(one))


def _is_there(answer: Any) -> bool:
    if not isinstance(answer, str):
        raise mistyped("an answer", answer, "a string")
    return bool(clean(answer))


def _placed(answer: str, start: Any, context: str) -> tuple[int, str]:
    """First character and text, without white space at the ends of the answer."""
    bare = answer.strip()
    if start is None or start == "":
        place = context.find(bare)
        if place < 0:
            raise RowFault(NOT_THERE)
        return place, bare
    try:
        place = int(start)
    except (TypeError, ValueError):
        raise RowFault(MALFORMED, f"an answer starts at {str(start)[:40]!r}, not at a whole number") from None
    if place < 0 or not context.startswith(answer, place):
        raise RowFault(ELSEWHERE if bare in context else NOT_THERE)
    return place + len(answer) - len(answer.lstrip()), bare


# --- windows ----------------------------------------------------------------------------------------------------------


def _context_tokens(window: Encoding) -> list[int]:
    return [place for place, part in enumerate(window.sequence_ids) if part == 1]


def _tokens_of(answer: tuple[int, str], window: Encoding) -> tuple[int, int]:
    """First and last token of an answer; (0, 0), which is [CLS], where the window does not hold all of it."""
    begin, end = answer[0], answer[0] + len(answer[1])
    inside, offsets = _context_tokens(window), window.offsets
    if not inside or begin < offsets[inside[0]][0] or end > offsets[inside[-1]][1]:
        return 0, 0
    touched = [place for place in inside if offsets[place][1] > begin and offsets[place][0] < end]
    return (touched[0], touched[-1]) if touched else (0, 0)


def _readable(window: Encoding, output: NDArray[np.float32]) -> Window:
    inside, offsets, words = _context_tokens(window), window.offsets, window.word_ids
    chars = np.array([(0, 0), *(offsets[place] for place in inside)])  # [1 + C, 2]
    of_word: dict[int | None, list[int]] = {}
    for row, place in enumerate(inside, start=1):
        of_word.setdefault(words[place], []).append(row)
    for word, rows in of_word.items():
        if word is not None:
            chars[rows] = chars[rows[0], 0], chars[rows[-1], 1]
    return Window(output[[0, *inside]], chars)


def _spans(
    starts: NDArray[Any], ends: NDArray[Any], longest: int, join: Callable[..., NDArray[Any]], nothing: float
) -> NDArray[Any]:
    """``join(starts[i], ends[i + j])`` for each span of j + 1 tokens, [C, longest]; ``nothing`` past the last token."""
    padded = np.concatenate([ends, np.full(longest - 1, nothing, dtype=ends.dtype)])
    return join(starts[:, None], np.lib.stride_tricks.sliding_window_view(padded, longest)) if len(ends) else ends[:0]


# --- answers ----------------------------------------------------------------------------------------------------------


def _chances(window: Window) -> NDArray[np.float64]:
    """Probabilities of start and end over the window, [1 + C, 2]."""
    return softmax(window.logits.T).T


def _null_score(found: Reading) -> float:
    return min(float(_chances(window)[0].prod()) for window in found.windows)


def _ranked(found: Reading, top_k: int, longest: int) -> list[dict[str, Any]]:
    """The ``top_k`` best answers of all windows; those of equal letters are one."""
    answers: dict[str, dict[str, Any]] = {}
    for window in found.windows:
        chances = _chances(window)[1:]
        products = _spans(chances[:, 0], chances[:, 1], longest, np.multiply, 0.0)  # [C, longest]
        flat = products.ravel()
        for place in np.argsort(-flat, kind="stable")[: 2 * top_k + 10]:  # more than enough: some are equal
            start, length = divmod(int(place), longest)
            if start + length >= len(chances):
                continue
            begin, end = int(window.chars[1 + start, 0]), int(window.chars[1 + start + length, 1])
            said = found.context[begin:end]
            one = answers.setdefault(said.lower(), {"score": 0.0, "start": begin, "end": end, "answer": said})
            one["score"] += float(flat[place])
    return sorted(answers.values(), key=lambda one: -one["score"])[:top_k]


def _between(low: float, high: float) -> float:
    """The middle of an interval, or a number 1 beyond its only finite end."""
    if np.isinf(low) and np.isinf(high):
        return 0.0
    return high - 1 if np.isinf(low) else low + 1 if np.isinf(high) else (low + high) / 2


# --- figures ----------------------------------------------------------------------------------------------------------


def normal_words(answer: str) -> list[str]:
    """The words of SQuAD's normal form: lower case, without punctuation, and without a, an and the."""
    bare = "".join(character for character in answer.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def exact_match(found: str, gold: str) -> float:
    """1 where both have the same normal form, else 0."""
    return float(normal_words(found) == normal_words(gold))


def f1(found: str, gold: str) -> float:
    """Harmonic mean of precision and recall over normal words; where one has none, 1 if both have none.

    Reference: Rajpurkar et al. 2016, SQuAD, section 6.1.
    """
    one, other = normal_words(found), normal_words(gold)
    if not one or not other:
        return float(one == other)
    shared = (Counter(one) & Counter(other)).total()
    return 2 * shared / (len(one) + len(other))


def _best(score: Callable[[str, str], float], found: str, gold: Sequence[tuple[int, str]]) -> float:
    """The best score against any gold answer; against none, the right answer is "".

    An answer of nothing but articles and punctuation is none, as in the SQuAD 2 script.
    """
    texts = [answer for _, answer in gold if normal_words(answer)] or [""]
    return max(score(found, answer) for answer in texts)
