"""What a pruned model is to come to: costs for the search, a limit, and what a model really has."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lilliput import encoder, runtime
from lilliput.compress import engine, latency
from lilliput.compress.cost import ByteCost, Cost, Facts, MacCost, ParameterCost
from lilliput.compress.interpolated_cost import InterpolatedCost
from lilliput.compress.narrowing import narrow
from lilliput.config import TARGETS, PruneConfig
from lilliput.errors import ConfigError
from lilliput.train.data import Dataset
from lilliput.train.evaluate import Progress

TIMED = 200
"""Texts that latencies are measured on at most."""

Pair = tuple[Any, Any]
"""A model and its tokenizer."""


@dataclass(frozen=True)
class Goal:
    """A target of ``lilliput prune``, in the unit of its costs.

    Attributes:
        flag: the target as the user gave it.
        cost_at: the costs of models whose residual stream has the given number of dimensions.
        whole: what the unpruned model costs.
        limit: what the pruned one may cost at most.
        reached: a cost in the unit of the target, such as a speedup.
        measure: what a model really costs; None where the costs are exact.
    """

    flag: str
    cost_at: Callable[[int], Cost]
    whole: float
    limit: float
    reached: Callable[[float], float]
    measure: Callable[[Any], float] | None = None

    def on_the_way(self, share: float) -> Goal:
        """A goal so far on the way from the unpruned model, 0, to this one, 1: equal factors for equal shares."""
        return replace(self, limit=self.whole * (self.limit / self.whole) ** share)


def goal_of(
    config: PruneConfig,
    unpruned: Pair,
    dataset: Dataset,
    lengths: Sequence[int],
    scratch: Path,
    *,
    trimmed: Callable[[Pair], Pair] = lambda pair: pair,
    progress: Progress | None = None,
) -> Goal | None:
    """The goal that a configuration names; None where only the vocabulary is to be cut.

    Args:
        unpruned: what the target is relative to.
        lengths: tokens of the texts.
        scratch: folder for models that are timed, which may go when the goal does.
        trimmed: cuts the vocabulary of a model, for targets that it counts for.

    Raises:
        ConfigError: the target can't be measured for this task, or asks for no pruning at all.
    """
    given = [name for name in TARGETS if getattr(config, name) is not None]
    if not given:
        return None
    flag, value = f"--{given[0]} {getattr(config, given[0]):g}", float(getattr(config, given[0]))
    if given[0] in ("speedup", "latency", "size") and config.task != "classification":
        raise ConfigError(
            f"{flag}: bundles, which this is measured on, are made for classification so far; give --parameters or "
            "--flops"
        )
    facts = Facts.of(unpruned[0])
    if given[0] == "flops":
        goal = _flops(flag, value, MacCost(facts, tuple(lengths)), unpruned[0])
    elif given[0] == "parameters":
        rows = encoder.word_embeddings_of(trimmed(unpruned)[0]).num_embeddings
        goal = _parameters(flag, value, facts, rows, unpruned[0])
    elif given[0] == "size":
        goal = _size(flag, value, config, unpruned, dataset, trimmed, scratch)
    else:
        goal = _latency(flag, value, config, unpruned, dataset, scratch, progress)
    if goal.limit >= goal.whole:
        raise ConfigError(
            f"{flag}: the model has {goal.whole:.4g} {goal.cost_at(facts.hidden).unit} already; ask for less"
        )
    return goal


def _flops(flag: str, share: float, cost: MacCost, model: Any) -> Goal:
    rest, whole = cost.rest(), cost.total(encoder.block_shapes_of(model))
    return Goal(
        flag,
        lambda hidden: replace(cost, facts=cost.facts.for_hidden(hidden)),
        whole,
        rest + share * (whole - rest),
        lambda spent: (spent - rest) / (whole - rest),
    )


def _parameters(flag: str, share: float, facts: Facts, rows: int, model: Any) -> Goal:
    whole = ParameterCost(facts).total(encoder.block_shapes_of(model))
    return Goal(
        flag,
        lambda hidden: ParameterCost(facts.for_hidden(hidden).for_vocabulary(rows)),
        whole,
        share * whole,
        lambda spent: spent / whole,
    )


def _size(
    flag: str,
    limit: float,
    config: PruneConfig,
    unpruned: Pair,
    dataset: Dataset,
    trimmed: Callable[[Pair], Pair],
    scratch: Path,
) -> Goal:
    texts, number = timed_texts(config, unpruned[1], dataset), itertools.count()

    def measure(model: Any) -> float:
        small, tokenizer = trimmed((model, unpruned[1]))
        folder = engine.runnable(
            small, tokenizer, config.precision, texts, scratch / f"{next(number)}", max_length=config.max_length
        )
        return float(runtime.load(folder, precision=config.precision).opened_bytes)

    small = trimmed(unpruned)[0]
    facts, shapes = Facts.of(small), encoder.block_shapes_of(small)
    whole = measure(unpruned[0])
    files = round(
        whole - ByteCost(facts, config.precision).total(shapes)
    )  # tokenizer, manifest, and what else there is
    return Goal(
        flag,
        lambda hidden: ByteCost(facts.for_hidden(hidden), config.precision, files),
        whole,
        limit,
        lambda spent: spent,
        measure,
    )


def _latency(
    flag: str,
    value: float,
    config: PruneConfig,
    unpruned: Pair,
    dataset: Dataset,
    scratch: Path,
    progress: Progress | None,
) -> Goal:
    texts = timed_texts(config, unpruned[1], dataset)
    device = "cuda" if config.device == "cuda" else "cpu"
    costs = _Tables(unpruned, texts, config, device, progress)
    whole = costs(encoder.shape_of(unpruned[0]).hidden).total(encoder.block_shapes_of(unpruned[0]))
    bundle = functools.partial(engine.runnable, precision=config.precision, texts=texts, max_length=config.max_length)
    number = itertools.count()

    def timed(model: Any) -> engine.Timed:
        names = [scratch / f"{name}" for name in ("unpruned", next(number))]
        if not names[0].exists():
            bundle(unpruned[0], unpruned[1], folder=names[0])
        bundle(model, unpruned[1], folder=names[1])
        return engine.compare(names, texts, precision=config.precision, threads=config.threads)[1]

    if config.speedup is not None:
        goal = Goal(
            flag, costs, whole, whole / value, lambda spent: whole / spent, lambda m: whole / timed(m).speedup.value
        )
    else:
        goal = Goal(flag, costs, whole, value, lambda spent: spent, lambda m: timed(m).ms)
    return goal if device == "cpu" else replace(goal, measure=None)  # what apps run is on the CPU


class _Tables:
    """Measured latencies at any hidden size: of three sizes a table each, and between them in proportion."""

    def __init__(
        self, unpruned: Pair, texts: Sequence[str], config: PruneConfig, device: str, progress: Progress | None
    ) -> None:
        self.model, self.tokenizer = unpruned
        self.measure = functools.partial(
            latency.measure,
            tokenizer=self.tokenizer,
            texts=texts,
            precision=config.precision,
            max_length=config.max_length,
            threads=config.threads,
            device=device,
            progress=progress,
        )
        shape, size = encoder.shape_of(self.model), encoder.head_size_of(self.model)
        self.full = shape.hidden
        heads = shape.hidden // size
        self.sizes = sorted({size * max(1, heads // part) for part in (4, 2)} | {shape.hidden})
        self.tables: dict[int, Cost] = {}

    def __call__(self, hidden: int) -> Cost:
        """The costs at a hidden size."""
        if hidden in self.sizes:
            return self._table(hidden)
        above = next((size for size in self.sizes if size > hidden), self.sizes[-1])
        below = self.sizes[max(0, self.sizes.index(above) - 1)]
        if above == below:
            above = self.sizes[1]
        return InterpolatedCost(self._table(below), self._table(above), (hidden - below) / (above - below))

    def _table(self, hidden: int) -> Cost:
        if hidden not in self.tables:
            model = self.model if hidden == self.full else _of_width(self.model, hidden)
            self.tables[hidden] = self.measure(model)
        return self.tables[hidden]


def _of_width(model: Any, hidden: int) -> Any:
    """A model of another hidden size, with as many neurons: for the stopwatch."""
    whole = encoder.shape_of(model)
    heads = hidden // encoder.head_size_of(model)
    return narrow(encoder.keep_layers(model, range(whole.layers)), replace(whole, hidden=hidden, heads=heads))


def sample_of(dataset: Dataset, seed: int) -> list[str]:
    """Some training texts, as they come."""
    texts = dataset.train.texts
    return random.Random(f"{seed} timing").sample(texts, min(TIMED, len(texts)))


def timed_texts(config: PruneConfig, tokenizer: Any, dataset: Dataset) -> list[str]:
    """Training texts to measure on; with ``--lengths`` texts of so many tokens, made of their words."""
    sample = sample_of(dataset, config.seed)
    if not config.lengths:
        return sample
    words = itertools.cycle(" ".join(sample).split())
    return [
        _of_length(tokenizer, words, length)
        for length in config.lengths
        for _ in range(max(1, 60 // len(config.lengths)))
    ]


def _of_length(tokenizer: Any, words: Any, length: int) -> str:
    """A text of ``length`` tokens, or as near below as whole words come."""
    text = next(words)
    while True:
        longer = f"{text} {next(words)}"
        if len(tokenizer(longer)["input_ids"]) > length:
            return text
        text = longer


def corrected(seen: Sequence[tuple[float, float]], aim: float) -> float:
    """The estimated cost at which the measured one will be ``aim``.

    One attempt tells by which factor the two differ. More tell a straight line, the least squares of all: what is there
    in every model may be what was estimated wrongly. Its slope is at least a quarter of that factor and at most four
    times it, as attempts close to each other differ by the noise of the stopwatch alone.

    Args:
        seen: estimated and measured cost of each attempt, the last one last.
    """
    estimated, measured = np.array(seen).T
    factor = measured[-1] / estimated[-1]
    spread = estimated - estimated.mean()
    if not (spread**2).sum():
        return float(aim / factor)
    slope = np.clip((spread * measured).sum() / (spread**2).sum(), factor / 4, 4 * factor)
    nearest = np.abs(measured - aim).argmin()
    found = estimated[nearest] + (aim - measured[nearest]) / slope
    return float(np.clip(found, estimated[nearest] / 2, estimated[nearest] * 2))
