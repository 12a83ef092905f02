"""Tokenize, run the graph, name the labels: a bundle's model in an app, without PyTorch.

Every text runs alone and at its own length. Dynamic int8 takes its scales from the whole batch, so a padded batch would
let a text's answer depend on its neighbours; alone, the answer is the same bits however the caller groups the texts.
Lists are answered by several threads instead. A `Model` may be called from any number of threads at once.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilliput import tasks
from lilliput.bundle import Bundle, Manifest
from lilliput.errors import BundleError, ConfigError, InputError, MissingDependencyError
from lilliput.machine import usable_cores
from lilliput.tasks.classification import Classification
from lilliput.tokenization import TextEncoder

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_OUTPUT = ["logits"]


def load(
    bundle: str | os.PathLike[str], *, precision: str | None = None, threads: int = 1, workers: int | None = None
) -> Model:
    """Load the model of a bundle.

    Args:
        bundle: the folder.
        precision: which of the bundle's graphs to use; int8 if the bundle ships it, else fp32, when None.
        threads: threads of ONNX Runtime that work on one text.
        workers: texts of a list that are answered at a time; usable cores // ``threads`` when None.

    Raises:
        ConfigError: ``threads`` or ``workers`` is not a whole number above zero.
        BundleError: there is no bundle, it lacks the precision, or its graph or tokenizer can't be used.
        IntegrityError: a file differs from the manifest. Nothing of it was parsed.
        MissingDependencyError: onnxruntime is not installed.
    """
    if not isinstance(bundle, (str, os.PathLike)):
        raise ConfigError(f"bundle: expected the path of a folder, got {type(bundle).__name__}")
    _require_positive("threads", threads)
    workers = max(1, usable_cores() // threads) if workers is None else workers
    _require_positive("workers", workers)
    opened = Bundle.open(bundle)
    graphs = opened.manifest.graphs
    chosen = precision or ("int8" if "int8" in graphs else "fp32")
    if chosen not in graphs:
        raise BundleError(f"{opened.path}: no {chosen} graph; this bundle ships {', '.join(sorted(graphs))}")
    return Model(opened, precision=chosen, threads=threads, workers=workers)


class Model:
    """A loaded model. Made by `load`.

    ``labels`` are the names of the columns of the logits, ``opened_bytes`` the sum of the sizes of the files that
    loading opened, manifest included.
    """

    def __init__(self, bundle: Bundle, *, precision: str, threads: int, workers: int) -> None:
        manifest = bundle.manifest
        graph = manifest.graphs[precision]
        self.manifest: Manifest = manifest
        self.labels = manifest.labels
        self.precision = precision
        self.threads = threads
        self.workers = workers
        names = (graph["file"], "tokenizer.json")
        self.opened_bytes = bundle.manifest_size + sum(
            manifest.files[name].size for name in names if name in manifest.files
        )
        self._path = bundle.path
        self._graph_path = bundle.path / graph["file"]
        self._task = _classification(manifest.task, bundle.path)
        self._task.check_labels(manifest.labels)
        serialized, weights = bundle.read("tokenizer.json"), bundle.read(graph["file"])  # both hashed, none parsed yet
        self._encode = TextEncoder(serialized, max_length=manifest.max_length, path=bundle.path / "tokenizer.json")
        self._typed = "token_type_ids" in manifest.inputs
        self._session = self._open_session(weights, graph["disabled_optimizers"])

    def __repr__(self) -> str:
        return (
            f"<lilliput.Model {self.manifest.name!r}: {self.manifest.task}, {len(self.labels)} labels, "
            f"{self.precision}, threads={self.threads}, workers={self.workers}, {str(self._path)!r}>"
        )

    def __call__(self, texts: str | list[str] | tuple[str, ...], top_k: int | None = 1) -> list[Any]:
        """Answer one text or several.

        Args:
            texts: a string, or a list or tuple of strings. Of each the first ``manifest.max_length`` tokens count.
            top_k: how many labels a text gets, best first; None for all.

        Returns:
            For a string ``[{"label", "score"}]`` (with ``top_k`` other than 1, that many of them). For a list one
            answer a text, in order: ``{"label", "score"}``, or a list of those when ``top_k`` is not 1.

        Raises:
            InputError: a text is not a string, or holds a lone surrogate; the message names its index.
            ConfigError: ``top_k`` is neither None nor a whole number above zero.
        """
        if isinstance(texts, str):
            answers = self._task.postprocess(self.logits([texts]), self.labels, top_k)
            return answers if top_k == 1 else list(answers[0])
        return self._task.postprocess(self.logits(texts), self.labels, top_k)

    def logits(self, texts: list[str] | tuple[str, ...]) -> NDArray[np.float32]:
        """The graph's outputs for several texts, float32 [n, labels]; 0 rows for an empty list.

        Raises:
            InputError: a text is not a string, or holds a lone surrogate; the message names its index.
            BundleError: the graph fails on a text, or its outputs are not finite.
        """
        if not isinstance(texts, (list, tuple)):
            raise InputError(f"expected a string, or a list or tuple of strings, got {type(texts).__name__}")
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"item {index} is {type(text).__name__}, expected a string")
        result = np.empty((len(texts), len(self.labels)), dtype=np.float32)

        def answer(index: int) -> None:
            result[index] = self._run(texts[index], index)

        _for_each(len(texts), self.workers, answer)
        return result

    def _run(self, text: str, index: int) -> NDArray[np.float32]:
        """The logits of one text, float32 [labels]; ``index`` is for error messages."""
        ids, types = self._encode(text, index)
        input_ids = np.array([ids], dtype=np.int64)  # [1, tokens]
        feed = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
        if self._typed:
            feed["token_type_ids"] = np.array([types], dtype=np.int64)
        try:
            logits: NDArray[np.float32] = self._session.run(_OUTPUT, feed)[0]
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise BundleError(f"{self._graph_path}: the graph failed on item {index}: {error}") from error
        if logits.shape != (1, len(self.labels)):
            raise BundleError(f"{self._graph_path}: logits of shape {logits.shape} for {len(self.labels)} labels")
        if not all(map(math.isfinite, logits[0].tolist())):  # on so few numbers NumPy takes longer
            raise BundleError(f"{self._graph_path}: the logits of item {index} are not finite; the model is broken")
        row: NDArray[np.float32] = logits[0]
        return row

    def _open_session(self, graph: bytes, disabled_optimizers: list[str]) -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError(
                "onnxruntime is not installed: pip install '.[cpu]' in Lilliput's folder, or '.[gpu]' for CUDA "
                "(only one of the two: they overwrite each other)"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4  # what fails is raised; it need not be printed too
        # Waiting threads that spin gain some 20% on an idle machine, but beside another busy process they make one
        # text in ten five times slower, and an app is such a process itself.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled_optimizers
            )
        except Exception as error:  # onnxruntime's errors share no base class of their own
            raise BundleError(
                f"{self._graph_path}: onnxruntime {onnxruntime.__version__} can't load it: {error}"
            ) from error
        inputs = {value.name for value in session.get_inputs()}
        if inputs != set(self.manifest.inputs) or not {"input_ids", "attention_mask"} <= inputs <= set(_INPUTS):
            raise BundleError(
                f"{self._graph_path}: inputs {sorted(inputs)}; the manifest says {sorted(self.manifest.inputs)}, "
                f"and this version can feed {', '.join(_INPUTS)}"
            )
        if _OUTPUT[0] not in {value.name for value in session.get_outputs()}:
            raise BundleError(f"{self._graph_path}: no output called {_OUTPUT[0]!r}")
        return session


def _classification(name: str, path: Path) -> Classification:
    """The task of a bundle; raises `BundleError` for one whose bundles this version does not answer with."""
    task = tasks.get(name)
    if type(task) is not Classification:
        raise BundleError(f"{path}: a bundle for {name}; this version answers with bundles for classification only")
    return task


def _require_positive(name: str, value: object) -> None:
    if type(value) is not int or value < 1:
        raise ConfigError(f"{name}: expected a whole number above zero, got {value!r}")


def _for_each(count: int, workers: int, work: Callable[[int], None]) -> None:
    """Call ``work(0) ... work(count - 1)`` in up to ``workers`` threads, the caller's among them.

    Indices are handed out in order and a failure stops the handing out, so the error raised is that of the lowest
    failing index, as in a plain loop. No queue of tasks: memory does not grow with ``count``.
    """
    if workers == 1 or count < 2:
        for index in range(count):
            work(index)
        return
    indices = iter(range(count))
    failures: list[tuple[int, BaseException]] = []
    hand_out = threading.Lock()
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            with hand_out:
                index = next(indices, None)
            if index is None:
                return
            try:
                work(index)
            except KeyboardInterrupt:  # reaches the caller's thread only
                raise
            except BaseException as error:
                failures.append((index, error))
                stop.set()

    helpers = [threading.Thread(target=loop, name="lilliput", daemon=True) for _ in range(min(workers, count) - 1)]
    try:
        for helper in helpers:
            helper.start()
        loop()
    finally:
        stop.set()  # also when Ctrl-C lands here: helpers end with the text at hand
        for helper in helpers:
            if helper.ident is not None:
                helper.join()
    if failures:
        raise min(failures, key=lambda failure: failure[0])[1]
