"""Teachers: what they say of texts, kept on disk, and how much each of several counts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding
from torch import Tensor

from lilliput import classifier_head, encoder, models
from lilliput.compress import predictions
from lilliput.compress.teacher_outputs import Keys, TeacherOutputs, key_of
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError, ModelError
from lilliput.runs import digest
from lilliput.tasks import Task
from lilliput.train import loop, precision
from lilliput.train.data import Dataset
from lilliput.train.evaluate import Progress, array_of, outputs_of
from lilliput.train.features import windows_of

ROUNDS = 20
"""Draws of the selection that weighs several teachers: a weight is a multiple of 1/20."""


class Teacher:
    """A fine-tuned model whose answers students learn.

    Its labels are put into the data's order, so that those of several teachers mean the same.

    Attributes:
        model: in evaluation mode, without gradients.
        fingerprint: of its files.
        store: its outputs on the windows that it has read.

    Raises:
        ModelError: no usable model for the task, or its labels are not the data's.
        ConfigError: it can't read texts of the length asked for.
    """

    def __init__(self, source: str, config: DistillConfig, task: Task, dataset: Dataset, cache: Path) -> None:
        revision = config.revision
        self.name = source
        self.task = task
        self.max_length = config.max_length
        self.tokenizer = models.load_tokenizer(source, revision)
        self.model = models.load_finetuned(task, source, revision)
        models.check_length(self.model, config.max_length)
        self.tokenizer.model_max_length = config.max_length
        order: tuple[int, ...] = ()
        if dataset.label_names:
            order = models.match_labels(self.model, dataset.label_names, source)
            classifier_head.reorder_labels(self.model, order)
        self.model.requires_grad_(False).eval().to(loop.pick_device(config.device))
        self.fingerprint = models.fingerprint(source, revision)
        self._identity = [self.fingerprint, order, config.max_length, task.name]
        self._cache = cache
        self.exact = self._store(bf16=False)
        self.bf16 = precision.autocasts(next(self.model.parameters()).device, cache)
        self.store = self._store(bf16=True) if self.bf16 else self.exact

    def _store(self, bf16: bool) -> TeacherOutputs:
        kind = predictions.kind_of(self.task)
        widths = {"span": 2, "vector": encoder.shape_of(self.model).hidden}
        return TeacherOutputs(
            self._cache / digest([*self._identity, bf16])[:16],
            widths.get(kind, self.model.config.num_labels),
            kind in ("tokens", "span"),
        )

    def read(
        self, inputs: Sequence[Any], keys: Keys, progress: Progress | None = None, done: int = 0, total: int = 0
    ) -> None:
        """Compute and keep the outputs of those windows of ``inputs`` that ``store`` lacks.

        Args:
            keys: of the windows, all those of the first input first.
            done, total: inputs before these, and all that there are, for progress.

        Raises:
            ConfigError: this teacher's tokenizer reads an input in other windows than the keys are of.
        """
        if len(self.store.lacking(keys)) == 0:
            return
        windows = list(itertools.chain(*windows_of(self.task, self.tokenizer, inputs, self.max_length)))
        if len(windows) != len(keys):
            raise ConfigError(f"--teacher {self.name}: it splits long texts in other places than the first teacher")

        def report(count: int, of: int, what: str) -> None:
            if progress:
                progress(done + len(inputs) * count // of, total, what)

        self._fill(self.store, windows, keys, self.bf16, report)

    def _fill(
        self,
        store: TeacherOutputs,
        windows: Sequence[Encoding],
        keys: Keys,
        bf16: bool = False,
        progress: Progress | None = None,
    ) -> None:
        lacking = store.lacking(keys)
        if not len(lacking):
            return

        def compute() -> list[NDArray[np.float32]]:
            some, what = [windows[i] for i in lacking], "teacher reads the texts"
            found = outputs_of(self.model, self.tokenizer, some, bf16=bf16, progress=progress, what=what)
            if not all(np.isfinite(output).all() for output in found):
                raise ModelError(f"--teacher {self.name}: its outputs are not finite; train it again")
            return found

        store.add(keys[lacking], compute)

    def outputs(self, inputs: Sequence[Any]) -> list[NDArray[np.float32]]:
        """Outputs in float32 on every window of ``inputs``; what was asked about before is not read again."""
        windows = windows_of(self.task, self.tokenizer, inputs, self.max_length)
        keys = np.array(keys_of(self.task, inputs, windows), dtype=np.int64)
        self._fill(self.exact, list(itertools.chain(*windows)), keys)
        return [self.exact[key] for key in keys.tolist()]

    def predict(self, inputs: Sequence[Any]) -> list[Any]:
        """Predictions from `outputs`, before anything is fitted on validation."""
        windows = windows_of(self.task, self.tokenizer, inputs, self.max_length)
        found = iter(self.outputs(inputs))
        return [
            self.task.predict(item, some, [next(found) for _ in some], {})
            for item, some in zip(inputs, windows, strict=True)
        ]


def keys_of(task: Task, inputs: Sequence[Any], windows: Sequence[Sequence[Encoding]]) -> list[int]:
    """The key of every window of ``inputs``, those of the first one first."""
    keys = []
    for item, found in zip(inputs, windows, strict=True):
        parts = task.parts(item)
        if task.grouped:  # one window a text
            keys += [key_of(task.tokens(part), 0) for part in parts]
        else:
            keys += [key_of(task.tokens(parts[0]), number) for number in range(len(found))]
    return keys


def load(config: DistillConfig, task: Task, dataset: Dataset, cache: Path) -> list[Teacher]:
    """The teachers of a configuration.

    Raises:
        ConfigError: two teachers are the same model, or several must answer token by token and don't have the same
            tokenizer.
    """
    found = [Teacher(source, config, task, dataset, cache) for source in config.teacher]
    first = found[0]
    for number, other in enumerate(found[1:], start=1):
        if any(other.store.folder == one.store.folder for one in found[:number]):
            raise ConfigError(f"--teacher {other.name}: the same model as another teacher; name it once")
        alike = other.tokenizer.get_vocab() == first.tokenizer.get_vocab()
        if not alike and (first.store.per_token or config.augment_online):
            raise ConfigError(f"--teacher {other.name}: must have the tokenizer of {first.name}, token for token")
        if other.store.width != first.store.width:
            raise ConfigError(f"--teacher {other.name}: its vectors have another width than those of {first.name}")
    return found


def weigh(teachers: Sequence[Teacher], dataset: Dataset) -> tuple[float, ...]:
    """How much each teacher counts in the mean of their outputs, chosen on the validation split; the sum is 1.

    Teachers are drawn one after the other, each time the one that makes the mean of those drawn so far best, and may
    be drawn again: the weight is the share of the draws. Of draws that are equally good the one is taken whose teacher
    is the best alone. Reference: Caruana, Niculescu-Mizil, Crew & Ksikes, "Ensemble
    Selection from Libraries of Models", ICML 2004, section 2.
    """
    if len(teachers) == 1:
        return (1.0,)
    task, split = teachers[0].task, dataset.validation
    windows = windows_of(task, teachers[0].tokenizer, split.inputs, teachers[0].max_length)
    answers = [teacher.outputs(split.inputs) for teacher in teachers]

    def score(drawn: Sequence[int]) -> float:
        means = iter([np.mean([answers[i][row] for i in drawn], axis=0) for row in range(len(answers[0]))])
        found = [
            task.predict(item, some, [next(means) for _ in some], {})
            for item, some in zip(split.inputs, windows, strict=True)
        ]
        value = task.metrics(found, split.targets, dataset.label_names, task.fit(found, split.targets))[task.metric]
        return -value if task.metric in task.falling else value

    alone = [score([one]) for one in range(len(teachers))]
    drawn: list[int] = []
    for _ in range(ROUNDS):
        drawn.append(max(range(len(teachers)), key=lambda one: (score([*drawn, one]), alone[one])))
    return tuple(drawn.count(number) / ROUNDS for number in range(len(teachers)))


def answer(teachers: Sequence[Teacher], weights: Sequence[float], inputs: dict[str, Tensor]) -> Tensor:
    """The weighted mean of the teachers' outputs on a batch of the first one's tokens, computed now."""
    mask = inputs["attention_mask"]
    found: Any = 0
    for teacher, weight in zip(teachers, weights, strict=True):
        if weight:  # not every architecture reads token types
            read = {name: inputs[name] for name in teacher.tokenizer.model_input_names if name in inputs}
            found = found + weight * array_of(teacher.model(**read), mask)
    return found
