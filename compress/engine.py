"""The engine that apps run, for the stopwatch: sessions, bundles without gates, bundles timed side by side."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lilliput import bundle, encoder, models, runtime, sessions, timing
from lilliput.errors import ConfigError
from lilliput.export import onnx, quantize
from lilliput.export.to_bundle import DISABLED_OPTIMIZERS
from lilliput.statistics import Estimate, median_interval
from lilliput.tokenization import TextEncoder
from lilliput.types import ONNX_FILES, Precision

Statistic = Literal["p50", "mean"]

_SAMPLES = 32
_REPEATS = 3
"""Answers to a text in a round, of which the quickest counts."""
_TURN = 20
"""Texts that a bundle answers before it is the next one's turn."""
_TURN_WARM = 3
"""Untimed answers at the begin of a turn: the model before has filled the caches."""
_LONGEST_S = 20.0
"""Seconds of timing; slow models answer fewer texts, and those less often."""
_LEAST_TEXTS = 64


def open_session(graph: bytes, *, precision: Precision, threads: int = 1, device: str = "cpu") -> Any:
    """A session with the settings of `lilliput.runtime`, on any device.

    Raises:
        ConfigError: ONNX Runtime can't use the device here.
    """
    return sessions.open_session(
        graph, threads=threads, disabled_optimizers=DISABLED_OPTIMIZERS[precision], providers=device
    )


class App:
    """A graph behind a tokenizer, as `lilliput.runtime` runs it, whatever the shape of its output.

    Args:
        tokenizer: a fast tokenizer of transformers.
        vocabulary: rows of the graph's token table; ids beyond read the last one.
    """

    def __init__(self, session: Any, tokenizer: Any, max_length: int, vocabulary: int) -> None:
        self._session, self._last = session, vocabulary - 1
        self._inputs = [value.name for value in session.get_inputs()]
        self._encode = text_encoder(tokenizer, max_length)

    def __call__(self, text: str) -> NDArray[np.float32]:
        """The graph's first output for a text."""
        ids, types = self._encode(text, 0)
        input_ids = np.minimum(np.array([ids], dtype=np.int64), self._last)  # [1, tokens]
        feed = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.array([types], dtype=np.int64)
        answer: NDArray[np.float32] = self._session.run(["logits"], feed)[0]
        return answer


def text_encoder(tokenizer: Any, max_length: int) -> TextEncoder:
    """The tokenizer of an app, from one of transformers."""
    serialized = tokenizer.backend_tokenizer.to_str().encode()
    return TextEncoder(serialized, max_length=max_length, path=Path("tokenizer.json"))


def runnable(
    model: Any, tokenizer: Any, precision: Precision, texts: Sequence[str], folder: Path, *, max_length: int
) -> Path:
    """Write a bundle of a classifier to be timed, not shipped: one graph, no weights beside it, no gates.

    Args:
        texts: show the quantizer how large activations are; the first 32 count.
        folder: does not exist yet.

    Returns:
        ``folder``, which `lilliput.runtime.load` opens.
    """
    model = model.eval().to("cpu")
    inputs = encoder.input_names_of(model, tokenizer)
    folder.mkdir(parents=True)
    graph, exported = folder / ONNX_FILES[precision], folder / ONNX_FILES["fp32"]
    with torch.no_grad():
        onnx.export_onnx(model, inputs, exported)
    if precision == "int8":
        feeds = [
            {name: encoded[name].astype(np.int64) for name in inputs}
            for text in texts[:_SAMPLES]
            for encoded in [tokenizer(text, truncation=True, max_length=max_length, return_tensors="np")]
        ]
        quantize.quantize_int8(exported, graph, feeds)
        exported.unlink()
    models.save_tokenizer(tokenizer, folder)
    described = {"file": ONNX_FILES[precision], **onnx.describe(graph)}
    bundle.write_manifest(
        folder,
        name=folder.name,
        task="classification",
        architecture=model.config.model_type,
        labels=models.labels_of(model),
        max_length=max_length,
        inputs=inputs,
        settings={},
        graphs={precision: {**described, "disabled_optimizers": DISABLED_OPTIMIZERS[precision]}},
        parameters=sum(weights.numel() for weights in model.parameters()),
        provenance={},
        recipe={},
        seeds=(),
        versions={},
        smoke=[],
    )
    return folder


@dataclass(frozen=True)
class Timed:
    """Latency of one bundle: milliseconds a text, and the first bundle's latency over its own (2.0: twice as fast)."""

    ms: float
    speedup: Estimate


def compare(
    bundles: Sequence[Path],
    texts: Sequence[str],
    *,
    precision: Precision | None = None,
    threads: int = 1,
    rounds: int = 6,
    statistic: Statistic = "p50",
) -> list[Timed]:
    """Answer texts with several bundles that take turns, tokenizer included, through `lilliput.runtime`.

    In each round every bundle answers all texts `_REPEATS` times, and of a text the quickest answer counts: other work
    on the machine only ever makes one longer, and a small model suffers more from a pause of some milliseconds. A turn
    is a few texts long, who begins rotates, and the answers to a text lie turns of the others apart: what slows the
    machine for a while seldom meets all of them. The speedup is the median over rounds of the ratio in a round, with
    its 95% interval. Where that would take longer than `_LONGEST_S`, texts of evenly spaced lengths stand for all,
    `_LEAST_TEXTS` of them at least, and are then answered less often.

    Args:
        statistic: of the latencies of the texts.

    Raises:
        ConfigError: no texts or no bundles.
    """
    if not bundles or not texts:
        raise ConfigError("latency: give at least one bundle and one text to measure it on")
    answer = [_answering(path, precision, threads) for path in bundles]
    once = sum(timing.warm_up(one, texts) for one in answer) / timing.NS_PER_S
    texts, repeats = _affordable(texts, rounds * once * (1 + _TURN_WARM / _TURN))
    found = np.array([_round(answer, texts, repeats, statistic, number) for number in range(rounds)])
    # found: [rounds, bundles]
    return [
        Timed(float(np.median(latencies)), median_interval((found[:, 0] / latencies).tolist())) for latencies in found.T
    ]


def _affordable(texts: Sequence[str], seconds: float) -> tuple[list[str], int]:
    """Texts, and how often each is answered in a round, so that the time is `_LONGEST_S` where that is possible.

    Args:
        seconds: of answering one text once in all rounds, by all bundles.
    """
    wanted = int(_LONGEST_S / max(seconds * _REPEATS, 1e-9))
    count = min(len(texts), max(_LEAST_TEXTS, wanted))
    by_length = sorted(range(len(texts)), key=lambda index: (len(texts[index]), index))
    kept = sorted(by_length[(2 * place + 1) * len(texts) // (2 * count)] for place in range(count))
    repeats = int(_LONGEST_S / max(seconds * count, 1e-9))
    return [texts[index] for index in kept], min(_REPEATS, max(1, repeats))


def _round(answer: Sequence[Any], texts: Sequence[str], repeats: int, statistic: Statistic, number: int) -> list[float]:
    """Milliseconds of every bundle in a round."""
    quickest = np.full((len(answer), len(texts)), np.iinfo(np.int64).max)
    turns = range(0, len(texts), _TURN)
    for repeat, start in itertools.product(range(repeats), turns):
        hand = slice(start, start + _TURN)
        for turn in range(len(answer)):
            which = (number + repeat + start // _TURN + turn) % len(answer)
            timing.time_each(answer[which], texts[hand][:_TURN_WARM])
            elapsed = timing.time_each(answer[which], texts[hand])[1]
            quickest[which, hand] = np.minimum(quickest[which, hand], elapsed)
    return [summary(one.tolist(), statistic) for one in quickest]


def summary(nanoseconds: Sequence[int], statistic: Statistic) -> float:
    """Median or mean of some latencies, in milliseconds."""
    if statistic == "mean":
        return float(np.mean(nanoseconds)) / timing.NS_PER_MS
    return timing.percentiles(nanoseconds).p50


def _answering(path: Path, precision: Precision | None, threads: int) -> Any:
    model = runtime.load(path, precision=precision, threads=threads, workers=1)
    return lambda text: model.logits([text])
