"""Tokenize, run the graph, answer: a bundle's model in an app, without PyTorch.

Every text runs alone and at its own length. Dynamic int8 takes its scales from the whole batch, so a padded batch would
let a text's answer depend on its neighbours; alone, the answer is the same bits however the caller groups the texts.
Lists are answered by several threads instead. A `Model` may be called from any number of threads at once.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from lilliput import hub, sessions, tasks
from lilliput.bundle import Bundle, Manifest
from lilliput.errors import BundleError, ConfigError, InputError, LilliputError
from lilliput.guards import model as guard
from lilliput.machine import usable_cores
from lilliput.parallel import for_each
from lilliput.tasks import Task, Tokens
from lilliput.tokenization import TextEncoder, WindowEncoder

CHARACTERS = 256
"""Characters a token of ``max_length`` that are read of a text of which only the first tokens count."""

RESERVED = frozenset({"self", "items", "predictions", "item", "prediction", "names", "settings", "tokenizer"})
"""Names that no option has: what answers are made of."""

SMOKE = 256
"""Outputs of a recorded prediction: of a head over a vocabulary there are millions."""

PIECE = 256
"""Inputs that are tokenized at a time."""

MOST = 1024
"""Threads, and workers: more of them can take a machine down, and help none."""


def load(
    bundle: str | os.PathLike[str],
    *,
    precision: str | None = None,
    threads: int = 1,
    workers: int | None = None,
    providers: str | Sequence[str] = "cpu",
    revision: str | None = None,
    require_signature: str | os.PathLike[str] | None = None,
) -> Model:
    """Load the model of a bundle.

    Args:
        bundle: the folder, or the id of a Hub repository that holds a bundle.
        precision: which of the bundle's graphs to use; int8 if the bundle ships it, else fp32, when None.
        threads: threads of ONNX Runtime that work on one text.
        workers: texts of a list that are answered at a time; usable cores // ``threads`` when None.
        providers: where the graph runs: "cpu", "cuda", "tensorrt", "openvino", "coreml", "directml", several of them in
            order, or "auto" (see `lilliput.sessions.open_session`).
        revision: branch, tag or commit of a Hub repository.
        require_signature: PEM file with a public key, by whose private half the bundle must be signed.

    Raises:
        ConfigError: ``threads`` or ``workers`` is no whole number from 1 to 1024, or a provider can't be had here.
        BundleError: there is no bundle, it lacks the precision, or its graph or tokenizer can't be used.
        IntegrityError: a file differs from the manifest, or the bundle is not signed as required, and nothing of it was
            parsed; or a file holds what no bundle may hold.
        MissingDependencyError: onnxruntime is not installed.
    """
    if not isinstance(bundle, (str, os.PathLike)):
        raise ConfigError(f"bundle: expected the path of a folder, got {type(bundle).__name__}")
    require_count("threads", threads)
    workers = max(1, usable_cores() // threads) if workers is None else workers
    require_count("workers", workers)
    opened = Bundle.open(hub.folder_of(bundle, revision), require_signature=require_signature)
    graphs = opened.manifest.graphs
    chosen = precision or ("int8" if "int8" in graphs else "fp32")
    if chosen not in graphs:
        raise BundleError(f"{opened.path}: no {chosen} graph; this bundle ships {', '.join(sorted(graphs))}")
    return Model(opened, precision=chosen, threads=threads, workers=workers, providers=providers)


class Model:
    """A loaded model. Made by `load`.

    Attributes:
        task: how inputs and answers look.
        labels: names of the model's outputs, in their order.
        settings: what was fitted on validation, such as thresholds.
        opened_bytes: the sum of the sizes of the files that loading opened, manifest included.
    """

    def __init__(
        self, bundle: Bundle, *, precision: str, threads: int, workers: int, providers: str | Sequence[str] = "cpu"
    ) -> None:
        manifest = bundle.manifest
        graph = manifest.graphs[precision]
        self.manifest: Manifest = manifest
        self.labels = manifest.labels
        self.settings = manifest.settings
        self.precision = precision
        self.threads = threads
        self.workers = workers
        names = (graph["file"], "tokenizer.json")
        self.opened_bytes = bundle.manifest_size + sum(
            manifest.files[name].size for name in names if name in manifest.files
        )
        self._path = bundle.path
        self._graph_path = bundle.path / graph["file"]
        self.task = task_of(manifest, bundle.path)
        kind = type(self.task)
        # Of one text the model reads the first tokens, and nothing else counts: the short way to an answer.
        self._plain = self.task.dimensions == ("labels",) and not self.task.grouped and kind.tokens is Task.tokens
        self._direct = self._plain and kind.asked is Task.asked
        self._named = RESERVED.union(self.task.inputs)
        self._row = (1, len(manifest.labels))
        self._ones = np.ones((1, manifest.max_length), dtype=np.int64)  # the mask of any text that stands alone
        self._ones.flags.writeable = False
        serialized, weights = bundle.read("tokenizer.json"), bundle.read(graph["file"])  # both hashed, none parsed yet
        guard.check(bundle.path, manifest, precision, self.task, weights, serialized)
        self._encode = TextEncoder(serialized, max_length=manifest.max_length, path=bundle.path / "tokenizer.json")
        self._reading = threading.Lock()  # a `WindowEncoder` is changed while it reads
        self._windows: WindowEncoder | None = None
        self._typed = "token_type_ids" in manifest.inputs
        self._outputs = list(self.task.outputs)
        self._session = self._open_session(weights, graph["disabled_optimizers"], providers)

    def __repr__(self) -> str:
        return (
            f"<lilliput.Model {self.manifest.name!r}: {self.manifest.task}, {len(self.labels)} labels, "
            f"{self.precision}, threads={self.threads}, workers={self.workers}, {str(self._path)!r}>"
        )

    def __call__(self, *given: Any, **options: Any) -> Any:
        """Answer one input or several.

        Args:
            given: a string; a mapping of the task's ``inputs``, such as ``{"text", "text_pair"}``; or a list of them.
                Or nothing, where the parts of one input are given by name: ``model(question=..., context=...)``.
            options: of the task, such as ``top_k`` of classification: how many labels a text gets, best first; None
                for all.

        Returns:
            What the pipeline of transformers for this task returns.

        Raises:
            InputError: an input is none of these, or holds a lone surrogate; the message names its number.
            ConfigError: an option is unknown or wrong.
            BundleError: the graph fails on an input, or its outputs are not finite.
        """
        if self._direct and len(given) == 1 and type(given[0]) is str and self._named.isdisjoint(options):
            return self._answer(given[0], options)
        parts = {name: options.pop(name) for name in self.task.inputs if name in options}
        if wrong := sorted(options.keys() & RESERVED):
            raise ConfigError(f"{wrong[0]}: not an option of {self.task.name}")
        if not parts and len(given) == 1 and self._direct and self._is_plain(given[0]):
            single, items = isinstance(given[0], str), [given[0]] if isinstance(given[0], str) else given[0]
        else:
            items, single = self.task.asked(*given, **parts)
        answers = self.answers(items, self.predictions(items), **options)
        return self.task.alone(given[0] if given else parts, answers[0]) if single else answers

    def _answer(self, text: str, options: dict[str, Any]) -> Any:
        """The answer to one text without detours: around the smallest models they take longer than the graph."""
        task, settings, encode = self.task, self.settings, self._encode
        prediction = task.predict(text, (), [self._run(*encode(text, 0), 0)], settings)
        answer = task.answer(text, prediction, self.labels, settings, tokenizer=encode.tokenizer, **options)
        return task.alone(text, answer)

    def stream(self, inputs: Iterable[Any], **options: Any) -> Iterator[Any]:
        """The answers to any number of inputs, in their order, at the memory of a few.

        Args:
            inputs: as a call takes them in a list.
            options: of the task.

        Raises:
            InputError: as of a call; answers to earlier inputs were given by then.
        """
        rest, first = iter(inputs), 0
        while some := list(islice(rest, PIECE)):
            try:
                yield from self(some, **options)
            except InputError as error:
                raise InputError(f"{error}" + (f" (counted from input {first})" if first else "")) from None
            first += len(some)

    async def ask(self, *given: Any, **options: Any) -> Any:
        """A call for programs that wait for several things: the event loop goes on meanwhile."""
        return await asyncio.to_thread(self, *given, **options)

    def logits(self, texts: list[str] | tuple[str, ...]) -> NDArray[np.float32]:
        """The graph's outputs for several texts, float32 [n, labels]; 0 rows for an empty list.

        Raises:
            InputError: a text is not a string, or holds a lone surrogate; the message names its index.
            BundleError: the graph fails on a text, or its outputs are not finite.
            ConfigError: the task's outputs are not one row a text.
        """
        if self.task.dimensions != ("labels",):
            raise ConfigError(f"logits: {self.task.name} has no row of them a text; use predictions, or call the model")
        if not isinstance(texts, (list, tuple)):
            raise InputError(f"expected a string, or a list or tuple of strings, got {type(texts).__name__}")
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"item {index} is {type(text).__name__}, expected a string")
        result = np.empty((len(texts), len(self.labels)), dtype=np.float32)

        def answer(index: int) -> None:
            result[index] = self._run(*self._encode(texts[index], index), index)

        for_each(len(texts), self.workers, answer)
        return result

    def predictions(self, items: Sequence[Any]) -> list[Any]:
        """What the model says of each input, in the task's own form (see `Task.predict`).

        Args:
            items: as `Task.asked` gives them.
        """
        predict = self.task.predict
        if self._is_plain(items):
            rows = self.logits(list(items))
            return [predict(item, (), [row], self.settings) for item, row in zip(items, rows, strict=True)]
        found = []
        for start in range(0, len(items), PIECE):
            some = items[start : start + PIECE]
            windows = self.windows(some)
            outputs = self.outputs(windows, first=start)
            found += [predict(*three, self.settings) for three in zip(some, windows, outputs, strict=True)]
        return found

    def windows(self, items: Sequence[Any]) -> list[list[Encoding]]:
        """The windows of tokens in which each input is read, at least one each."""
        parts = [self.task.parts(item) for item in items]
        tokens = [self._bounded(self.task.tokens(part)) for some in parts for part in some]
        try:
            with self._reading:
                if self._windows is None:
                    limit = self.manifest.max_length
                    self._windows = WindowEncoder(self._encode.tokenizer, limit, self.task.overlap)
                found = iter(self._windows(tokens) if tokens else [])
        except LilliputError:
            raise
        except Exception as error:  # tokenizers raises plain Exceptions
            raise BundleError(f"{self._path / 'tokenizer.json'}: the tokenizer failed: {error}") from error
        return [[window for _ in some for window in next(found)] for some in parts]

    def outputs(self, windows: Sequence[Sequence[Encoding]], first: int = 0) -> list[list[NDArray[np.float32]]]:
        """The graph's outputs on the windows of each input: ``[labels]`` or ``[tokens, labels]`` a window.

        Args:
            first: number of the first input, for error messages.
        """
        flat = [(number, window) for number, some in enumerate(windows, first) for window in some]
        found: list[Any] = [None] * len(flat)

        def answer(index: int) -> None:
            number, window = flat[index]
            found[index] = self._run(window.ids, window.type_ids, number)

        for_each(len(flat), self.workers, answer)
        rest = iter(found)
        return [[next(rest) for _ in some] for some in windows]

    def feed(self, window: Encoding) -> dict[str, NDArray[np.int64]]:
        """The graph's inputs for one window, ``[1, tokens]`` each."""
        return self._feed(window.ids, window.type_ids)

    def smoke(self, given: Any) -> list[float]:
        """The first outputs on the first window of one input: what a manifest records, for ``lilliput verify``.

        Args:
            given: an input as `Task.asked` gives it, or as JSON holds that: a list where it is made of several texts.
        """
        try:
            (windows,) = self.windows([tuple(given) if isinstance(given, list) else given])
        except (TypeError, ValueError, IndexError) as error:
            raise BundleError(f"{self._path}: {given!r:.80} is no input of {self.task.name}") from error
        ((output,),) = self.outputs([windows[:1]])
        return [float(value) for value in output.ravel()[:SMOKE]]

    def together(self, windows: Sequence[Encoding]) -> list[NDArray[np.float32]]:
        """Outputs on several windows that the graph reads as one padded batch, as other libraries would have it.

        With dynamic int8 they depend on the batch.
        """
        longest = max(len(window.ids) for window in windows)
        ids, types, mask = np.zeros((3, len(windows), longest), dtype=np.int64)
        for row, window in enumerate(windows):
            count = len(window.ids)
            ids[row, :count], types[row, :count], mask[row, :count] = window.ids, window.type_ids, 1
        feed = {"input_ids": ids, "attention_mask": mask}
        if self._typed:
            feed["token_type_ids"] = types
        arrays = self._session.run(self._outputs, feed)
        per_token = "tokens" in self.task.dimensions
        return [
            self.task.of_graph([array[row, : len(window.ids)] if per_token else array[row] for array in arrays])
            for row, window in enumerate(windows)
        ]

    def _is_plain(self, given: Any) -> bool:
        """Whether ``given`` is one text, or a list of texts, that can go the short way."""
        if not self._plain:
            return False
        texts = [given] if isinstance(given, str) else given
        return isinstance(texts, (list, tuple)) and all(isinstance(text, str) for text in texts)

    def _bounded(self, tokens: Tokens) -> Tokens:
        """What is read of an input at most: a tokenizer reads all that it is given before it cuts."""
        if self.task.overlap or not isinstance(tokens.first, str):
            return tokens
        limit = CHARACTERS * self.manifest.max_length
        second = tokens.second
        return replace(tokens, first=tokens.first[:limit], second=None if second is None else second[:limit])

    def answers(self, items: Sequence[Any], predictions: Sequence[Any], **options: Any) -> list[Any]:
        """The answers that predictions of inputs stand for."""
        given = {"tokenizer": self._encode.tokenizer, **options}
        return self.task.answers(items, predictions, self.labels, self.settings, **given)

    def _run(self, ids: Sequence[int], types: Sequence[int], index: int) -> NDArray[np.float32]:
        """The outputs on the tokens of one window; ``index`` is the number of its input, for error messages."""
        try:
            arrays = self._session.run(self._outputs, self._feed(ids, types))
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise BundleError(f"{self._graph_path}: the graph failed on item {index}: {error}") from error
        for array in arrays:
            if array.shape != self._row or not self._plain:
                self._check_shape(array.shape, len(ids))
        if self._outputs == ["logits"] and array.ndim == 2:
            row: NDArray[np.float32] = array[0]
            finite = all(map(math.isfinite, row.tolist()))  # on so few numbers NumPy takes longer
        else:
            row = self.task.of_graph([array[0] for array in arrays])
            finite = bool(np.isfinite(row).all())
        if not finite:
            raise BundleError(f"{self._graph_path}: the outputs of item {index} are not finite; the model is broken")
        return row

    def _feed(self, ids: Sequence[int], types: Sequence[int]) -> dict[str, NDArray[np.int64]]:
        mask = self._ones[:, : len(ids)]
        feed = {"input_ids": np.array([ids], dtype=np.int64), "attention_mask": mask}  # [1, tokens]
        if self._typed:
            feed["token_type_ids"] = np.array([types], dtype=np.int64)
        return feed

    def _check_shape(self, shape: tuple[int, ...], tokens: int) -> None:
        known = {"batch": 1, "labels": len(self.labels), "tokens": tokens}
        dimensions = self.task.dimensions
        if len(shape) != 1 + len(dimensions) or any(
            size != known.get(name, size) for name, size in zip(("batch", *dimensions), shape, strict=True)
        ):
            raise BundleError(
                f"{self._graph_path}: outputs of shape {shape} for {tokens} tokens and {len(self.labels)} labels"
            )

    def _open_session(self, graph: bytes, disabled_optimizers: list[str], providers: str | Sequence[str]) -> Any:
        try:
            return sessions.open_session(
                graph, threads=self.threads, disabled_optimizers=disabled_optimizers, providers=providers
            )
        except LilliputError:
            raise
        except Exception as error:  # onnxruntime's errors share no base class of their own
            version = sessions.onnxruntime().__version__
            raise BundleError(f"{self._graph_path}: onnxruntime {version} can't load it: {error}") from error


def task_of(manifest: Manifest, path: Path) -> Task:
    """The task of a bundle; raises `BundleError` for one that this version does not know, or whose labels or settings
    don't fit it."""
    if manifest.task not in tasks.names():
        raise BundleError(f"{path}: a bundle for {manifest.task!r}; this version answers {', '.join(tasks.names())}")
    task = tasks.get(manifest.task)
    task.check_labels(manifest.labels)
    task.check_settings(manifest.settings, manifest.labels)
    return task


def require_count(name: str, value: object) -> None:
    """Raise `ConfigError` unless ``value``, which a user calls ``name``, is a whole number from 1 to `MOST`."""
    if type(value) is not int or not 1 <= value <= MOST:
        raise ConfigError(f"{name}: expected a whole number from 1 to {MOST}, got {value!r}")
