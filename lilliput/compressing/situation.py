"""What is known of teacher and data before any candidate is made: all of it measured, and kept as a stage's result."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lilliput import encoder, models, runtime, tasks
from lilliput.compress import engine, latency
from lilliput.compress.goals import sample_of
from lilliput.config import CompressConfig
from lilliput.first_token import first_token_only
from lilliput.train import features, loop, precision
from lilliput.train.data import Dataset
from lilliput.train.evaluate import Progress, outputs_of

_BATCH, _BATCHES = 32, 4
"""Texts and batches that training is timed with."""


@dataclass(frozen=True)
class Pace:
    """Seconds that the teacher takes for a text on this machine, in batches: to train on it, and to read it; and those
    that a fresh process takes to begin."""

    train_s: float
    read_s: float
    start_s: float = 2.5


@dataclass(frozen=True)
class Situation:
    """Teacher and data, for those who propose candidates.

    Attributes:
        layers, hidden, heads, ffn, vocabulary: of the teacher.
        texts, transfer, validation, test: how many there are.
        score: the task's metric on validation at ``precision``, larger being better.
        ms, bytes: median latency of a text, and size of what an app needs.
        by_layers: predicted speedup of the teacher's first 1, 2, ... layers, from the table of latencies.
        fastest: predicted speedup with no layer at all: what tokenizer, tables and head leave.
        pace: of the teacher's training.
        export_s: seconds that its export took, gates included.
    """

    layers: int
    hidden: int
    heads: int
    ffn: int
    vocabulary: int
    texts: int
    transfer: int
    validation: int
    test: int
    score: float
    ms: float
    bytes: int
    by_layers: tuple[float, ...]
    fastest: float
    pace: Pace
    export_s: float = 30.0

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Situation:
        """The situation whose `to_dict` this is."""
        return cls(**{**plain, "by_layers": tuple(plain["by_layers"]), "pace": Pace(**plain["pace"])})

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "by_layers": list(self.by_layers)}


def milliseconds(bundle: Path, texts: Sequence[str], config: CompressConfig) -> float:
    """Median latency of single texts, by the stopwatch of candidates."""
    (timed,) = engine.compare([bundle], texts, precision=config.precision, threads=config.threads)
    return timed.ms


def score_of(bundle: Path, dataset: Dataset, precision: str) -> float:
    """The task's metric on validation of a bundle, on the path of an app; larger is better."""
    task = tasks.get(dataset.task)
    model = runtime.load(bundle, precision=precision)
    found = model.predictions(dataset.validation.inputs)
    settings = task.fit(found, dataset.validation.targets)
    return oriented(task.metrics(found, dataset.validation.targets, dataset.label_names, settings), task.name)


def oriented(metrics: dict[str, float], task: str) -> float:
    """The task's own metric, turned round where smaller is better."""
    known = tasks.get(task)
    value = float(metrics[known.metric])
    return -value if known.metric in known.falling else value


def look(
    config: CompressConfig,
    teacher: Path,
    bundle: Path,
    dataset: Dataset,
    pace: Pace,
    progress: Progress | None = None,
) -> Situation:
    """Measure the teacher, and predict what its parts would take.

    Args:
        teacher, bundle: folders of its model and its bundle.
        dataset: without its test split.
        pace: of training and reading, measured before (see `pace_of`).
    """
    model, tokenizer = models.load_finetuned(tasks.get(dataset.task), teacher), models.load_tokenizer(teacher)
    texts = sample_of(dataset, config.seed)
    table = latency.measure(
        model,
        tokenizer,
        texts,
        precision=config.precision,
        max_length=config.max_length,
        threads=config.threads,
        progress=progress,
    )
    shape, blocks = encoder.shape_of(model), encoder.block_shapes_of(model)
    whole = table.total(blocks)
    return Situation(
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        ffn=shape.ffn,
        vocabulary=shape.vocabulary,
        texts=len(dataset.train),
        transfer=len(dataset.transfer),
        validation=len(dataset.validation),
        test=len(dataset.test),
        score=score_of(bundle, dataset, config.precision),
        ms=milliseconds(bundle, texts, config),
        bytes=runtime.load(bundle, precision=config.precision).opened_bytes,
        by_layers=tuple(whole / table.total(blocks[-count:]) for count in range(1, len(blocks) + 1)),
        fastest=whole / max(table.rest(), 1e-6 * whole),
        pace=pace,
    )


def pace_of(source: str | Path, dataset: Dataset, config: CompressConfig) -> Pace:
    """Time steps of training, and reading, on real texts in the precision that both have here; and how long a process
    takes to begin."""
    task = tasks.get(dataset.task)
    tokenizer = models.load_tokenizer(source, config.revision)
    model = models.load_for(task, source, dataset.label_names, config.revision)
    models.check_length(model, config.max_length)
    device = loop.pick_device(config.device)
    model.to(device)
    draw = random.Random(f"{config.seed} pace")
    inputs = draw.choices(dataset.train.inputs, k=_BATCH * _BATCHES)
    windows = [window for (window, *_) in features.windows_of(task, tokenizer, inputs, config.max_length)]
    windows.sort(key=lambda window: len(window.ids))  # training and reading have texts of about one length in a batch
    batches = [windows[start : start + _BATCH] for start in range(0, len(windows), _BATCH)]
    bf16 = precision.bf16_is_fast(device)
    read = functools.partial(outputs_of, model, tokenizer, bf16=bf16)
    read(batches[0])
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=False, capture_output=True)
    start = time.perf_counter() - began
    step = functools.partial(_step, model, tokenizer, bf16)
    return Pace(_seconds(step, batches), _seconds(read, batches), start)


def _step(model: Any, tokenizer: Any, bf16: bool, windows: Sequence[Any]) -> None:
    """Gradients of one batch; the optimizer's step takes little beside them."""
    model.train()
    batch = features.Collate(tokenizer)([features.model_inputs(window, tokenizer) for window in windows])
    batch = batch.to(model.device) if hasattr(batch, "to") else batch
    with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16), first_token_only(model):
        loss = model(**batch).logits.float().square().mean()
        loss.backward()
    model.zero_grad(set_to_none=True)
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def _seconds(work: Any, batches: Sequence[Any]) -> float:
    """Seconds a text over all batches; of two times the shorter one, since other work on the machine only ever adds."""
    found = []
    for _ in range(2):
        began = time.perf_counter()
        for batch in batches:
            work(batch)
        found.append(time.perf_counter() - began)
    return min(found) / sum(map(len, batches))
