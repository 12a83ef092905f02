"""The task table: one file here, with a constant ``TASK``, is one task.

A task says what a row of data holds, how the tokenizer reads an input, how a model's outputs become a prediction, and
how predictions are scored. All of it is NumPy and plain Python, so the same code answers in training, where outputs
come from torch, and in an app, where they come from ONNX Runtime.

    row of a file --read--> input, target --tokens--> windows of token ids --model--> outputs
    outputs --predict--> prediction --metrics--> figures        prediction --answer--> what a caller gets

An ``Input`` is what a model is asked about: a string, a tuple of strings, or what else the task defines. A long input
may be read in several overlapping windows; outputs are a float32 array a window, ``[labels]`` or ``[tokens, labels]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from lilliput.errors import BundleError, ConfigError, InputError

MALFORMED = "malformed row"
NO_TEXT = "empty text"
NO_LABEL = "missing label"
NOT_UTF8 = "invalid UTF-8"
NUL = "NUL byte"
NEVER_TRAINED = "label that never occurs in training"

TEXT_COLUMNS = ("text", "sentence", "review", "content", "document", "body", "comment", "tweet", "message", "title")
LABEL_COLUMNS = ("label", "labels", "class", "category", "sentiment", "target", "intent", "topic", "y")
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a string", bytes: "bytes"}
_KINDS |= {list: "a list", tuple: "a list", dict: "an object"}
"""Values of cells, in words; the first that fits counts."""
IGNORED = -100
"""Label of a token that no loss counts; the value that torch's cross-entropy ignores."""


class RowFault(Exception):
    """Why one row can't be used: what such rows are counted by, and, where that does not say it, what this one has."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


@dataclass(frozen=True)
class Column:
    """A column of a data file: the names that are tried for it, in order, and whether a row can do without it."""

    usual: tuple[str, ...]
    required: bool = True


@dataclass(frozen=True)
class Tokens:
    """What the tokenizer is given for one input: a text or its words, and perhaps a second text."""

    first: str | tuple[str, ...]
    second: str | None = None


class Task:
    """What a task knows. A new task overrides what differs from single-label classification of a text.

    Attributes:
        name: as ``--task`` takes it.
        head: transformers' auto class of its models, ``AutoModelFor...``.
        problem: ``problem_type`` of the model's configuration, which chooses the loss of a sequence classifier.
        metric: the metric that chooses the best weights; ``falling`` are those that are better when smaller.
        columns: what a row holds, by role. The roles ``text``, ``pair`` and ``label`` have flags, such as
            ``--text-column``; a column whose role is in ``targets`` is read from labelled data only.
        per_token: training labels are one a token, not one an input.
        fewest_labels: a model with fewer can't do the task.
        command: what makes its models, ``lilliput finetune``.
        inputs: names of an input's parts, as callers give them: ``model(question=..., context=...)``.
        both: an input needs all its parts; else the second one may be left out.
        grouped: an input is several texts that the model reads one by one (see `parts`).
        brief: options of `answer` for people, who read less than a program does.
        overlap: share of a window that the next one repeats where an input is longer than a window; 0 cuts the input.
        new_tokens: tokens that a tokenizer must know as one each; a model whose vocabulary lacks them learns them.
        outputs: names of a graph's outputs, those that other libraries look for.
        dimensions: of each of them, after the batch: "labels" and "tokens" are as many as there are, others any number.
    """

    name: str
    head: str = "AutoModelForSequenceClassification"
    problem: str | None = None
    metric: str
    falling: frozenset[str] = frozenset()
    columns: ClassVar[Mapping[str, Column]]
    targets: frozenset[str] = frozenset({"label"})
    per_token: bool = False
    fewest_labels: int = 0
    command: str = "finetune"
    inputs: tuple[str, ...] = ("text", "text_pair")
    both: bool = False
    grouped: bool = False
    brief: ClassVar[Mapping[str, Any]] = {}
    overlap: float = 0.0
    new_tokens: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ("logits",)
    dimensions: tuple[str, ...] = ("labels",)

    # --- rows ---------------------------------------------------------------------------------------------------------

    def read(self, cells: Mapping[str, Any]) -> tuple[Any, Any]:
        """Input and target of a row, whose ``cells`` are given by role; the target is None in unlabelled data.

        Raises:
            RowFault: the row can't be used.
        """
        raise NotImplementedError

    def text_of(self, item: Any) -> str:
        """All text of an input: inputs of equal text are duplicates."""
        return item if isinstance(item, str) else "\n".join(filter(None, item))

    def label_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """The labels that the training targets have, in the order of a model's outputs."""
        return in_order({target for target in targets})

    def index(self, target: Any, names: Sequence[str]) -> Any:
        """A target as training uses it; raises `RowFault` where it has a label that training does not know."""
        if target not in names:
            raise RowFault(NEVER_TRAINED)
        return names.index(target)

    def shown(self, target: Any, names: Sequence[str]) -> Any:
        """An indexed target as JSON and people read it; the reverse of `index`."""
        return names[target]

    def counted(self, target: Any, names: Sequence[str]) -> Sequence[str]:
        """The labels that an indexed target adds to the label balance."""
        return [names[target]]

    def opposites(self, names: Sequence[str]) -> list[tuple[int, int]]:
        """Pairs of labels that differ in one thing, the same for all pairs: a fresh head tells it by one direction."""
        return []

    def prior(self, targets: Sequence[Any]) -> dict[str, Any]:
        """Settings that hold during training, from the training targets."""
        return {}

    def loss(self, targets: Sequence[Any]) -> str:
        """What training minimises, for these targets: "head" is the loss of the model's own head; the others are in
        ``lilliput.train.losses``."""
        return "head"

    # --- tokens -------------------------------------------------------------------------------------------------------

    def asked(self, *given: Any, **parts: Any) -> tuple[list[Any], bool]:
        """What a caller asks about, as inputs, and whether it was a single one.

        Args:
            given: an input, or a list of them; an input is a string, or a mapping of the names in ``inputs``.
            parts: a single input by those names.

        Raises:
            InputError: none of these, or a part is missing or no string; the message names the item.
        """
        if bool(given) == bool(parts) or len(given) > 1:
            raise InputError(f"{self.name}: give one input or a list of inputs, or {' and '.join(self.inputs)} by name")
        value = parts or given[0]
        if isinstance(value, (list, tuple)):
            return [self._item(item, number) for number, item in enumerate(value)], False
        return [self._item(value, 0)], True

    def _item(self, value: Any, number: int) -> Any:
        found = value if isinstance(value, Mapping) else {self.inputs[0]: value}
        if unknown := [name for name in found if name not in self.inputs]:
            known = ", ".join(self.inputs)
            raise InputError(f"item {number} has the part {unknown[0]!r}; {self.name} reads {known}")
        needed = self.inputs if self.both else self.inputs[:1]
        if lacking := [name for name in needed if name not in found]:
            raise InputError(f"item {number} lacks {lacking[0]}; {self.name} needs {' and '.join(needed)}")
        texts = [found[name] for name in self.inputs if name in needed or found.get(name) is not None]
        for part in texts:
            if not isinstance(part, str):
                raise InputError(f"item {number} is {type(part).__name__}, expected a string")
            if any("\ud800" <= character <= "\udfff" for character in part):
                raise InputError(f"item {number} has a lone surrogate, which no Unicode text has")
        return texts[0] if len(texts) == 1 else tuple(texts)

    def parts(self, item: Any) -> list[Any]:
        """The texts of an input that the model reads one by one."""
        return [item]

    def tokens(self, item: Any) -> Tokens:
        """What the tokenizer reads of an input."""
        return Tokens(item) if isinstance(item, str) else Tokens(*item)

    def training(self, target: Any, window: Encoding) -> dict[str, Any]:
        """The columns that a model's loss reads beside the tokens of ``window``."""
        return {"labels": target}

    # --- answers ------------------------------------------------------------------------------------------------------

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raise `BundleError` when a model with these labels can't do the task."""
        if len(labels) < self.fewest_labels:
            raise BundleError(f"labels: {self.name} needs at least {self.fewest_labels}, the bundle has {len(labels)}")

    def check_settings(self, settings: Mapping[str, Any], labels: Sequence[str]) -> None:
        """Raise `BundleError` when these are no settings that `fit` and `prior` make."""
        if unknown := sorted(settings):
            raise BundleError(f"settings: {self.name} has none, the bundle has {unknown[0]!r}")

    def of_graph(self, arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """A graph's outputs on one window, without the batch and padding, as `predict` takes them."""
        return arrays[0]

    def predict(
        self,
        item: Any,
        windows: Sequence[Encoding],
        outputs: Sequence[NDArray[np.float32]],
        settings: Mapping[str, Any],
    ) -> Any:
        """What the model says of an input: by default its outputs ``[labels]``, for which one window suffices.

        Args:
            windows: the windows that the input was read in.
            outputs: the model's outputs on each.
            settings: what `fit` found on the validation split.
        """
        return outputs[0]

    def fit(self, predictions: Sequence[Any], targets: Sequence[Any]) -> dict[str, Any]:
        """Settings chosen on validation, such as thresholds, as JSON values; they are kept with the model."""
        return {}

    def metrics(
        self, predictions: Sequence[Any], targets: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """Figures of merit, ``metric`` among them."""
        raise NotImplementedError

    def agreement(
        self, ours: Sequence[Any], theirs: Sequence[Any], names: Sequence[str], settings: Mapping[str, Any]
    ) -> float:
        """How alike the predictions of two models are on the same inputs: 1 where all that a caller gets is equal.

        By default the share of equal predictions (see `record`), or of their parts where they are lists.
        """
        equal = []
        for pair in zip(ours, theirs, strict=True):
            one, other = (self.record(said, names, settings)["prediction"] for said in pair)
            if self.per_token and isinstance(one, list):
                equal += [a == b for a, b in zip(one, other, strict=True)]
            else:
                equal.append(one == other)
        return float(np.mean(equal)) if equal else 1.0

    def record(self, prediction: Any, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
        """A prediction as a row of ``predictions.parquet``: ``prediction``, in the form of `shown`, and
        ``probabilities``, a list in the order of the labels, or None where there are none."""
        raise NotImplementedError

    def answer(
        self,
        item: Any,
        prediction: Any,
        names: Sequence[str],
        settings: Mapping[str, Any],
        *,
        tokenizer: Tokenizer,
        **options: Any,
    ) -> Any:
        """What a caller gets: the same as from the pipeline of transformers for this task.

        Args:
            tokenizer: the one that made the windows of the prediction.
            options: what the caller asks for, such as ``top_k``.
        """
        raise NotImplementedError

    def answers(
        self,
        items: Sequence[Any],
        predictions: Sequence[Any],
        names: Sequence[str],
        settings: Mapping[str, Any],
        **options: Any,
    ) -> list[Any]:
        """`answer` for several inputs.

        Raises:
            InputError: an option does not fit; the message names the number of the input.
        """
        found = []
        for number, (item, prediction) in enumerate(zip(items, predictions, strict=True)):
            try:
                found.append(self.answer(item, prediction, names, settings, **options))
            except InputError as error:
                raise InputError(f"item {number}: {error}") from None
        return found

    def alone(self, given: Any, answer: Any) -> Any:
        """What a caller gets who asked about one input, not about a list: some pipelines make a list of its answer.

        Args:
            given: the input as the caller gave it.
        """
        return answer

    # --- on disk ------------------------------------------------------------------------------------------------------

    def files(self, width: int, max_length: int) -> dict[str, Any]:
        """Further JSON files beside a model, by path: what other libraries look for.

        Args:
            width: of the hidden states.
        """
        return {}


def in_order(names: set[str]) -> tuple[str, ...]:
    """Labels in numeric order where all are whole numbers, else alphabetically."""
    try:
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(names))


def clean(value: str) -> str:
    """``value`` without white space at its ends, where it can be written as UTF-8 and holds no NUL; else `RowFault`."""
    if "\0" in value:
        raise RowFault(NUL)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RowFault(NOT_UTF8) from None
    return value.strip()


def mistyped(what: str, value: Any, wanted: str) -> RowFault:
    """The fault of a row in which ``what`` is of another type than ``wanted``, both in words."""
    found = next((word for kind, word in _KINDS.items() if isinstance(value, kind)), f"of type {type(value).__name__}")
    return RowFault(MALFORMED, f"{what} is {found}, not {wanted}")


def text(value: Any, what: str = "the text") -> str:
    """A cell that must hold text; raises `RowFault` where it holds none, or something else."""
    if value is None:
        raise RowFault(NO_TEXT)
    if not isinstance(value, str):
        raise mistyped(what, value, "a string")
    found = clean(value)
    if not found:
        raise RowFault(NO_TEXT)
    return found


def label(value: Any, what: str = "the label") -> str:
    """A cell that must hold the name of a label: 1 and "1" and 1.0 are the same one. Raises `RowFault` else."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise mistyped(what, value, "a string or a number")
    found = clean(value or "")
    if not found:
        raise RowFault(NO_LABEL)
    return found


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """``exp(z_i) / sum_j exp(z_j)`` over the last axis."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def names() -> list[str]:
    """The tasks there are, sorted."""
    return sorted(file.stem.replace("_", "-") for file in Path(__file__).parent.glob("[a-z]*.py"))


def get(name: str) -> Task:
    """The task called ``name``.

    Raises:
        ConfigError: there is no such task; the message lists those there are.
    """
    known = names()
    if name not in known:
        raise ConfigError(f"task: {name!r} is unknown; known: {', '.join(known)}")
    return cast(Task, import_module(f"{__name__}.{name.replace('-', '_')}").TASK)
