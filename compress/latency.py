"""Milliseconds of blocks of any shape on this machine, measured once through the real engine and kept on disk.

The latency of a text is taken to add up: a part for the tokenizer, tables, head and Python, and for each block a part
for its heads, one for its neurons and one for the rest of it. With T(h, f) the time of a graph whose n middle blocks
all have h heads and f neurons, H and F the most of them, and T() that of the graph without middle blocks,

    attention(h) = (T(h, F/2) - T(0, F/2)) / n,    feed_forward(f) = (T(H/2, f) - T(H/2, 0)) / n,
    block        = (T(H/2, F/2) - T()) / n - attention(H/2) - feed_forward(F/2),

and the same for the last block, which a classifier computes for one token, with n = 1. The sum is then exact where
either heads or neurons are half of the most, in whose neighbourhood plans lie. ``block`` may come out below zero: two
halves together need more of the processor's caches than each by itself. Between measured sizes and lengths the table is
linear. Caches are also why a model of fewer blocks than the measured one is up to 10% faster than the table says, and
one of larger blocks slower: measure what was chosen (`lilliput.compress.engine.compare`).

All graphs of a batch are timed in turns, a few calls each, and the lower quartile of a graph's calls counts: other
processes of the machine only ever make a call longer. One thread on the CPU is timed by the processor time that it
takes, which is its latency on a machine that has nothing else to do.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from lilliput import encoder, timing
from lilliput.compress import block_graph, engine, latency_cache
from lilliput.compress.block_graph import BlockGraph
from lilliput.compress.engine import Statistic
from lilliput.compress.latency_table import Curve, LatencyTable, parse
from lilliput.errors import ConfigError
from lilliput.types import BlockShape, Precision

LENGTHS = (0.1, 0.5, 0.9)
"""Quantiles of the texts' lengths at which graphs are timed."""
SIZES = 9
"""Sizes of each half that are timed at most, 0 and the largest among them."""
TEXTS = 200
"""Texts that time the tokenizer at most."""
CALLS, WARM_CALLS = 4, 1
LEAST_ROUNDS, MOST_ROUNDS = 4, 16
BUDGET_S = 60.0
"""Seconds of timing that the number of rounds is chosen for."""
QUARTILE = 0.25
BATCH_BYTES = 512 << 20
"""Graphs that are held in memory at a time; a session takes two to three times its graph."""
Progress = Callable[[int, int, str], None]
Shapes = tuple[BlockShape | None, ...]


def measure(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    precision: Precision,
    max_length: int,
    threads: int = 1,
    device: str = "cpu",
    statistic: Statistic = "p50",
    shape: BlockShape | None = None,
    progress: Progress | None = None,
) -> LatencyTable:
    """The table for ``model``'s hidden size on this machine: from the cache, or measured now and put there.

    Args:
        model: its weights and its number of layers do not matter. For another hidden size give a model that has it.
        texts: whose lengths count.
        shape: the most heads and neurons that the table is to know; those of the model when None.

    Raises:
        ConfigError: there are no texts, or ONNX Runtime can't use the device.
        ModelError: no block of the model has both heads and neurons.
    """
    if not texts:
        raise ConfigError("latency: give at least one text, whose length the model will be timed at")
    shapes = encoder.block_shapes_of(model)
    largest = shape or BlockShape(max(one.heads for one in shapes), max(one.ffn for one in shapes))
    encode = engine.text_encoder(tokenizer, max_length)
    tokens = [len(encode(text, number)[0]) for number, text in enumerate(texts)]
    settings = {"precision": precision, "threads": threads, "device": device}
    key = latency_cache.key(model, tokenizer, texts, {**settings, "shape": asdict(largest), "max_length": max_length})
    if (kept := latency_cache.read(key, parse)) is not None:
        return replace(kept, statistic=statistic)
    graph = BlockGraph.of(model, encoder.input_names_of(model, tokenizer), precision)
    plan, lengths = _Plan(largest, graph.depth), _nodes(tokens)
    times = _Stopwatch(graph, settings, lengths, progress).all(plan.graphs())
    middle, last = _side(plan, times, False), _side(plan, times, True)
    table = LatencyTable(
        heads=(middle[0], last[0]),
        neurons=(middle[1], last[1]),
        block_ms=(middle[2], last[2]),
        rest_ms=_rest(graph, tokenizer, texts, max_length, settings),
        weights=_weights(tokens, lengths),
        lengths=lengths,
    )
    latency_cache.write(key, asdict(table))
    return replace(table, statistic=statistic)


def _nodes(tokens: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted({int(value) for value in np.quantile(tokens, LENGTHS, method="nearest")}))


def _sizes(largest: int, count: int, grain: int) -> list[int]:
    """0, the smallest size above, half of the largest, the largest, and some between: multiples of ``grain``."""
    least = max(1, largest // 32 // grain * grain)
    between = (round(value / grain) * grain for value in np.linspace(least, largest, count - 1))
    return sorted({0, least, _half(largest), largest, *(size for size in between if 0 < size < largest)})


def _half(largest: int) -> int:
    return max(1, largest // 2)


@dataclass(frozen=True)
class _Plan:
    """Which graphs are timed: those of ``n`` middle blocks alike and a last one."""

    largest: BlockShape
    depth: int

    @property
    def half(self) -> BlockShape:
        return BlockShape(_half(self.largest.heads), _half(self.largest.ffn))

    def sizes(self, last: bool) -> tuple[list[int], list[int]]:
        """Timed numbers of heads, and of neurons; of the last block, which costs little, few."""
        count = 4 if last else SIZES
        grain = 16 if self.largest.ffn >= 16 * SIZES else 1
        return _sizes(self.largest.heads, count, 1), _sizes(self.largest.ffn, count, grain)

    def graph(self, shape: BlockShape | None, last: bool) -> Shapes:
        """The blocks of the graph that tells of ``shape`` in the middle, or at the end; None: of no block there."""
        if last:
            return (*[None] * (self.depth - 1), shape)
        return (*[shape] * (self.depth - 1), self.half)

    def graphs(self) -> list[Shapes]:
        """All graphs, each once, the one of half sizes first."""
        found: list[Shapes] = [(self.half,) * self.depth]
        for last in (False, True):
            heads, neurons = self.sizes(last)
            shapes = [BlockShape(size, self.half.ffn) for size in heads]
            shapes += [BlockShape(self.half.heads, size) for size in neurons]
            found += [self.graph(shape, last) for shape in (None, *shapes)]
        return list(dict.fromkeys(found))


class _Stopwatch:
    """Times graphs in turns."""

    def __init__(
        self,
        graph: BlockGraph,
        settings: Mapping[str, Any],
        lengths: Sequence[int],
        progress: Progress | None,
    ) -> None:
        draw = np.random.default_rng(0)
        self._graph, self._settings, self._progress = graph, settings, progress
        self._time = _clock(settings)
        self._feeds = [block_graph.feed(graph.inputs, tokens, graph.vocabulary, draw) for tokens in lengths]

    def all(self, graphs: Sequence[Shapes]) -> dict[Shapes, NDArray[np.float64]]:
        """Milliseconds of each graph at each length.

        The first graph is timed in every batch: a batch in which it took longer met a slower machine, and the times of
        that batch are scaled down.
        """
        times: dict[Shapes, NDArray[np.float64]] = {}
        rest, reference = list(graphs[1:]), graphs[0]
        while rest:
            batch, sessions = [reference], [self._open(reference)[0]]
            held = 0
            while rest and held < BATCH_BYTES:
                session, size = self._open(rest[0])
                batch.append(rest.pop(0))
                sessions.append(session)
                held += size
            found = self._take_turns(sessions, len(graphs))
            scale = times.get(reference, found[0]) / found[0]
            times |= {shapes: ms * scale for shapes, ms in zip(batch, found, strict=True)}
            del sessions
            gc.collect()
            if self._progress:
                self._progress(len(times), len(graphs), "latency of blocks")
        return times

    def _open(self, shapes: Shapes) -> tuple[Any, int]:
        graph = self._graph.resized(shapes)
        return engine.open_session(graph, **self._settings), len(graph)

    def _take_turns(self, sessions: Sequence[Any], graphs: int) -> list[NDArray[np.float64]]:
        expected = sum(timing.warm_up(self._call(sessions[0]), [feed], seconds=0.1) for feed in self._feeds)
        one_round = graphs * expected * (CALLS + WARM_CALLS) / timing.NS_PER_S
        rounds = min(max(int(BUDGET_S / one_round), LEAST_ROUNDS), MOST_ROUNDS)
        elapsed = np.empty((len(sessions), len(self._feeds), rounds, CALLS))
        for number in range(rounds):
            for which, session in enumerate(sessions):
                for length, feed in enumerate(self._feeds):
                    self._time(self._call(session), [feed] * WARM_CALLS)
                    elapsed[which, length, number] = self._time(self._call(session), [feed] * CALLS)
        quartile = np.quantile(elapsed.reshape(*elapsed.shape[:2], -1), QUARTILE, axis=2)
        return list(quartile / timing.NS_PER_MS)  # [sessions] of [lengths]

    def _call(self, session: Any) -> Callable[[Any], Any]:
        return lambda feed: session.run(["logits"], feed)


def _clock(settings: Mapping[str, Any]) -> Callable[[Callable[[Any], Any], Sequence[Any]], list[int]]:
    """A function that calls another one on each item and returns the nanoseconds that each call took."""
    if settings["threads"] > 1 or settings["device"] != "cpu":
        return lambda function, items: timing.time_each(function, items)[1]

    def processor_time(function: Callable[[Any], Any], items: Sequence[Any]) -> list[int]:
        elapsed = []
        for item in items:
            start = time.thread_time_ns()
            function(item)
            elapsed.append(time.thread_time_ns() - start)
        return elapsed

    return processor_time


def _curve(sizes: Sequence[int], times: Sequence[NDArray[np.float64]], blocks: int) -> Curve:
    """The curve of measured times, made to rise where noise makes it fall."""
    rising = [isotonic_regression(row).x for row in np.array(times).T / blocks]  # [lengths][sizes]
    return Curve(tuple(sizes), tuple(tuple(float(ms - row[0]) for ms in row) for row in rising))


def _side(
    plan: _Plan, times: Mapping[Shapes, NDArray[np.float64]], last: bool
) -> tuple[Curve, Curve, tuple[float, ...]]:
    """Heads, neurons and the rest of a middle block, or of the last one: the equations of the module's text."""
    blocks, half = 1 if last else plan.depth - 1, plan.half
    heads, neurons = plan.sizes(last)
    attention = [times[plan.graph(BlockShape(size, half.ffn), last)] for size in heads]
    feed_forward = [times[plan.graph(BlockShape(half.heads, size), last)] for size in neurons]
    curves = _curve(heads, attention, blocks), _curve(neurons, feed_forward, blocks)
    whole = (times[plan.graph(half, last)] - times[plan.graph(None, last)]) / blocks
    beside = whole - curves[0].at(half.heads) - curves[1].at(half.ffn)
    return *curves, tuple(beside.tolist())


def _rest(
    graph: BlockGraph, tokenizer: Any, texts: Sequence[str], max_length: int, settings: Mapping[str, Any]
) -> dict[str, float]:
    """Latency of a model without blocks for real texts, tokenizer included, in the lower quartile of some rounds.

    On another device than the CPU the session is that device's.
    """
    session = engine.open_session(graph.resized([None] * graph.depth), **settings)
    app = engine.App(session, tokenizer, max_length, graph.vocabulary)
    sample = sorted(texts, key=len)[:: -(-len(texts) // TEXTS)]
    timing.warm_up(app, sample)
    elapsed = [_clock(settings)(app, sample) for _ in range(LEAST_ROUNDS)]
    quartile = np.quantile(elapsed, QUARTILE, axis=0).tolist()
    return {statistic: engine.summary(quartile, statistic) for statistic in get_args(Statistic)}


def _weights(tokens: Sequence[int], lengths: Sequence[int]) -> dict[str, tuple[float, ...]]:
    """What share of the texts each measured length stands for, by statistic.

    For the mean a text between two measured lengths counts for both, for the nearer one more; one outside them counts
    as the straight line through the two nearest has it.
    """
    middle = int(np.quantile(tokens, 0.5, method="nearest"))
    median = tuple(float(length == middle) for length in lengths)
    if len(lengths) == 1:
        return {"p50": median, "mean": (1.0,)}
    right = np.clip(np.searchsorted(lengths, tokens), 1, len(lengths) - 1)  # [texts]
    low, high = np.take(lengths, right - 1), np.take(lengths, right)
    share = (np.asarray(tokens) - low) / (high - low)
    total = np.bincount(right, share, len(lengths)) + np.bincount(right - 1, 1 - share, len(lengths))
    return {"p50": median, "mean": tuple((total / len(tokens)).tolist())}
