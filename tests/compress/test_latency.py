"""The table from made-up times whose sums are known, its cache, and one real measurement of a tiny model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lilliput.compress import block_graph, engine, latency
from lilliput.compress.block_graph import BlockGraph
from lilliput.compress.latency_table import Curve, LatencyTable
from lilliput.errors import ConfigError
from lilliput.types import BlockShape

TEXTS = ["a joy", "an awful movie", "a joy from start to finish", "not good , not bad !", "it"]


def linear_ms(graph: tuple[BlockShape | None, ...], tokens: int) -> float:
    """Milliseconds of a made-up machine: 5 for the rest; a middle block 1 + 2 h + f / 4, the last one a tenth of it."""
    costs = [0.0 if shape is None else 1 + 2 * shape.heads + shape.ffn / 4 for shape in graph]
    return tokens * (5 + sum(costs[:-1]) + costs[-1] / 10)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Replaces graphs and stopwatch by `linear_ms`, and the share of the tokenizer; counts measurements."""
    taken: list[int] = []

    def times(self: Any, graphs: Any) -> dict[Any, Any]:
        taken.append(len(graphs))
        lengths = [feed["input_ids"].shape[1] for feed in self._feeds]
        return {graph: np.array([linear_ms(graph, tokens) for tokens in lengths]) for graph in graphs}

    graph = SimpleNamespace(depth=3, inputs=("input_ids", "attention_mask"), vocabulary=10)
    monkeypatch.setattr(BlockGraph, "of", lambda *_: graph)
    monkeypatch.setattr(latency._Stopwatch, "all", times)
    monkeypatch.setattr(latency, "_rest", lambda *_: {"p50": 5.0, "mean": 6.0})
    monkeypatch.setenv("LILLIPUT_CACHE", str(tmp_path / "cache"))
    return taken


@pytest.fixture
def measured(encoders: ModuleType, tiny: ModuleType) -> Callable[..., LatencyTable]:
    """Measures a tiny BERT of 2 heads and 24 neurons."""

    def measure(seed: int = 0, texts: list[str] = TEXTS, **changes: Any) -> LatencyTable:
        model, tokenizer = encoders.classifier("bert", seed=seed), encoders.tokenizer("bert", tiny.tokenizer)
        return latency.measure(model, tokenizer, texts, **{"precision": "fp32", "max_length": 24, **changes})

    return measure


def test_the_table_takes_the_sum_apart(made_up: list[int], measured: Callable[..., LatencyTable]) -> None:
    """Five texts of 3, 4, 5, 8 and 8 tokens: the median one has 5, the mean is 5.6."""
    table = measured()
    assert table.unit == "ms"
    assert table.lengths == (3, 5, 8)
    for statistic, tokens, rest in (("p50", 5, 5.0), ("mean", 5.6, 6.0)):
        of = replace(table, statistic=statistic)
        assert of.rest() == rest
        for last, share in ((False, 1.0), (True, 0.1)):
            assert of.attention(1, last) == pytest.approx(2 * tokens * share)
            assert of.feed_forward(7, last) == pytest.approx(7 / 4 * tokens * share)
            assert of.block(last) == pytest.approx(tokens * share)
            assert of.attention(0, last) == of.feed_forward(0, last) == 0
        plan = [BlockShape(2, 24), BlockShape(0, 3), BlockShape(1, 9)]
        assert of.total(plan) == pytest.approx(rest + tokens * ((1 + 4 + 6) + (1 + 3 / 4) + (1 + 2 + 9 / 4) / 10))


def test_it_is_measured_once_for_all_weights(made_up: list[int], measured: Callable[..., LatencyTable]) -> None:
    first = measured()
    assert measured(seed=1) == first
    assert replace(measured(statistic="mean"), statistic="p50") == first
    assert len(made_up) == 1
    measured(threads=2)
    measured(precision="int8")
    measured(texts=TEXTS[:3])
    assert measured(shape=BlockShape(4, 48)).attention(4, last=False) == pytest.approx(
        4 * first.attention(1, last=False)
    )
    assert len(made_up) == 5


@pytest.mark.parametrize("broken", ["", "[]", "{}", "null", "cut", "nan", "short"])
def test_a_broken_cache_is_measured_anew(
    made_up: list[int], measured: Callable[..., LatencyTable], tmp_path: Path, broken: str
) -> None:
    first = measured()
    (path,) = (tmp_path / "cache" / "latency").iterdir()
    whole = path.read_text(encoding="utf-8")
    content = json.loads(whole)
    if broken == "nan":
        content["block_ms"][0][0] = float("nan")
    elif broken == "short":
        content["heads"][0]["ms"][0].pop()
    path.write_text({"cut": whole[:-20], "nan": json.dumps(content), "short": json.dumps(content)}.get(broken, broken))
    assert measured() == first
    assert len(made_up) == 2
    assert path.read_text(encoding="utf-8") == whole


def test_a_cache_that_can_not_be_written_is_done_without(
    made_up: list[int], measured: Callable[..., LatencyTable], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("in the way")
    assert measured() == measured()
    assert len(made_up) == 2


def test_curves_are_straight_between_sizes_and_beyond() -> None:
    curve = Curve((0, 2, 10), ((0.0, 4.0, 8.0), (0.0, 1.0, 1.0)))
    assert [curve.at(size).tolist() for size in (0, 1, 2, 6, 12)] == [[0, 0], [2, 0.5], [4, 1], [6, 1], [9, 1]]


def test_noise_does_not_make_more_heads_cheaper() -> None:
    times = [np.array([value]) for value in (1.0, 3.0, 2.0, 6.0)]
    assert latency._curve((0, 1, 2, 3), times, blocks=2).ms == ((0.0, 0.75, 0.75, 2.5),)


def test_sizes_hold_nothing_the_half_and_the_whole() -> None:
    assert latency._sizes(12, 9, 1) == [0, 1, 3, 4, 6, 7, 9, 10, 12]
    assert latency._sizes(1, 9, 1) == [0, 1]
    assert latency._sizes(1536, 9, 16) == [0, 48, 256, 480, 688, 768, 896, 1104, 1328, 1536]


def test_a_real_machine_is_measured_through_the_engine(
    measured: Callable[..., LatencyTable], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LILLIPUT_CACHE", str(tmp_path))
    monkeypatch.setattr(latency, "BUDGET_S", 0.1)
    monkeypatch.setattr(latency, "BATCH_BYTES", 200_000)  # several batches
    steps: list[tuple[int, int]] = []
    table = measured(precision="int8", progress=lambda done, total, _: steps.append((done, total)))
    assert table.rest() > 0
    assert table.total([BlockShape(2, 24)] * 3) > table.rest()
    assert len(steps) > 1
    assert steps[-1][0] == steps[-1][1]
    assert measured(precision="int8") == table


def test_texts_and_devices_are_checked(measured: Callable[..., LatencyTable], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="at least one text"):
        measured(texts=[])
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match=r"provider cuda: this onnxruntime has cpu"):
        engine.open_session(b"", precision="fp32", device="cuda")


def test_bundles_are_timed_side_by_side(
    tiny_bundle: Path, encoders: ModuleType, tiny: ModuleType, tmp_path: Path
) -> None:
    model, tokenizer = encoders.classifier("roberta", layers=1), encoders.tokenizer("roberta", tiny.tokenizer)
    other = engine.runnable(model, tokenizer, "fp32", TEXTS, tmp_path / "other", max_length=24)
    first, second = engine.compare([tiny_bundle, other], TEXTS, precision="fp32", rounds=9, statistic="mean")
    assert first.speedup.value == first.speedup.low == first.speedup.high == 1
    assert second.speedup.low <= second.speedup.value <= second.speedup.high
    assert second.speedup.low > 0
    assert second.ms > 0
    with pytest.raises(ConfigError, match="at least one bundle"):
        engine.compare([], TEXTS)


@pytest.mark.parametrize("start", range(4))
def test_pauses_of_the_machine_do_not_count(monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    """Answers take 40 and 10 by a clock made by hand; a pause of 500 hits a tenth of all calls, ten in a row."""
    calls = itertools.count(25 * start)

    def time_each(answer: Any, items: Any) -> tuple[list[Any], list[int]]:
        return [], [answer(item) + (500 if next(calls) // 10 % 10 == 0 else 0) for item in items]

    monkeypatch.setattr(engine.timing, "time_each", time_each)
    monkeypatch.setattr(engine.timing, "warm_up", lambda *_: 0)
    monkeypatch.setattr(engine, "_answering", lambda path, *_: lambda text: int(path.name) * len(text))
    texts = ["a" * (4 + number % 3) for number in range(60)]
    slow, fast = engine.compare([Path("40"), Path("10")], texts)
    assert (slow.ms, fast.ms) == pytest.approx((200 / 1e6, 50 / 1e6))
    assert fast.speedup.value == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("ms", "texts", "repeats"),
    [
        (4.0, 200, 3),  # 6 x 4 ms x 200 x 3 = 14 s
        (16.0, 69, 3),  # 20 s / (6 x 16 ms x 3) = 69 texts
        (24.0, 64, 2),  # 46 texts would do; 20 s / (6 x 24 ms x 64) = 2.2 answers
        (400.0, 64, 1),
    ],
)
def test_slow_models_answer_fewer_texts(ms: float, texts: int, repeats: int) -> None:
    """Of texts of 1 to 200 letters in any order, the kept ones have the same middle length, and stay in order."""
    lengths = np.random.default_rng(0).permutation(np.arange(1, 201))
    every = ["a" * length for length in lengths]
    found = engine._affordable(every, 6 * ms / 1000)
    assert (len(found[0]), found[1]) == (texts, repeats)
    kept = [len(text) for text in found[0]]
    assert np.median(kept) == pytest.approx(100.5, abs=1)
    assert (min(kept), max(kept)) == (pytest.approx(1, abs=2), pytest.approx(200, abs=2))
    assert kept == [length for length in lengths if length in set(kept)]


def test_few_texts_are_all_answered() -> None:
    assert engine._affordable(["b", "a", "b"], 60.0) == (["b", "a", "b"], 1)


def test_the_stopwatch_runs_what_the_runtime_runs(tiny_bundle: Path, tiny: ModuleType) -> None:
    """Same answers by a bundle's graph behind `App` and through `lilliput.runtime`."""
    from lilliput import runtime

    graph = (tiny_bundle / "onnx/model.onnx").read_bytes()
    session = engine.open_session(graph, precision="fp32")
    app = engine.App(session, tiny.tokenizer(), tiny.MAX_LENGTH, vocabulary=1 << 20)
    texts = list(tiny.SMOKE_TEXTS)
    expected = runtime.load(tiny_bundle, precision="fp32", workers=1).logits(texts)
    assert np.array_equal(np.concatenate([app(text) for text in texts]), expected)


def test_the_feeds_have_the_texts_lengths() -> None:
    feed = block_graph.feed(("input_ids", "attention_mask"), 6, 10, np.random.default_rng(0))
    assert {name: value.shape for name, value in feed.items()} == {"input_ids": (1, 6), "attention_mask": (1, 6)}
    assert feed["input_ids"].max() < 10
