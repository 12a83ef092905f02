"""What a worker does for scenarios, beside single texts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lilliput
from lilliput import timing
from lilliput.benchmarks import hosted
from lilliput.benchmarks.hosted import Hosted
from lilliput.benchmarks.peers import bundle

TEXTS = ["a joy from start to finish", "an awful movie", "not good", "the film was great and long and good", "bad"]


class Stub:
    """Answers with the length's parity, and keeps how it was asked."""

    def __init__(self) -> None:
        self.labels = ["even", "odd"]
        self.asked: list[Any] = []

    def one(self, text: str) -> np.ndarray:
        self.asked.append(text)
        return np.eye(2)[len(text) % 2]

    def batch(self, texts: list[str]) -> np.ndarray:
        self.asked.append(list(texts))
        return np.eye(2)[[len(text) % 2 for text in texts]]


def host(peer: Any = None) -> tuple[Hosted, Any]:
    peer = peer or Stub()
    return Hosted(peer, {"options": {}, "threads": 1}), peer


def test_sized_answers_short_texts_first_and_gives_answers_in_the_order_asked() -> None:
    host_, peer = host()
    reply = host_.sized({"texts": ["xxxx", "x", "xxx", "xx", "xxxxx"], "size": 2})
    assert peer.asked == [["x", "xx"], ["xxx", "xxxx"], ["xxxxx"]]
    assert reply["answers"] == [0, 1, 1, 0, 1]
    assert len(reply["calls"]) == 3
    assert reply["ns"] >= sum(reply["calls"]) > 0


def test_a_size_of_one_asks_one_by_one_and_none_is_the_list_call() -> None:
    host_, peer = host()
    host_.sized({"texts": ["xx", "x"], "size": 1})
    assert peer.asked == ["xx", "x"]
    host_.sized({"texts": ["xx", "x"], "size": None})
    assert peer.asked[2:] == [["xx", "x"]]
    assert host_.sized({"texts": [], "size": 8})["calls"] == []


class Clock:
    """A clock that only moves when somebody sleeps, or a text is answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        monkeypatch.setattr(timing, "clock", self.read)
        monkeypatch.setattr(hosted.time, "sleep", lambda seconds: self.move(round(seconds * 1e9)))

    def read(self) -> int:
        self.now += 1  # looking takes a nanosecond, so that waiting ends
        return self.now

    def move(self, ns: int) -> None:
        self.now += ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Slow(Stub):
    """Takes a millisecond a call."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def one(self, text: str) -> np.ndarray:
        self.clock.move(1_000_000)
        return super().one(text)

    def batch(self, texts: list[str]) -> np.ndarray:
        self.clock.move(1_000_000)
        return super().batch(texts)


def test_a_server_keeps_its_line_and_counts_from_when_a_text_was_due(clock: Clock) -> None:
    host_, peer = host(Slow(clock))
    # Due at 0, 0.5 and 5 ms: the second waits half a millisecond for the first, the third for nothing.
    due = [0, 500_000, 5_000_000]
    reply = host_.serve({"texts": ["a", "bb", "c"], "due_ns": due, "most": 1})
    assert peer.asked == ["a", "bb", "c"]
    assert [round(ns / 1e5) for ns in reply["ns"]] == [10, 15, 10]
    assert reply["calls"] == 3
    assert round(reply["busy_ns"] / 1e5) == 30
    assert round(reply["total_ns"] / 1e5) == 60


def test_a_server_that_may_answers_what_waits_together(clock: Clock) -> None:
    host_, peer = host(Slow(clock))
    due = [0, 100_000, 200_000, 300_000, 9_000_000]
    reply = host_.serve({"texts": list("abcde"), "due_ns": due, "most": 2})
    # The first comes alone; of the three that wait then, two go together.
    assert peer.asked == ["a", ["b", "c"], "d", "e"]
    assert [round(ns / 1e5) for ns in reply["ns"]] == [10, 19, 18, 27, 10]


def test_texts_go_through_an_fp32_graph_together_as_they_do_alone(tiny_bundle: Path) -> None:
    options = {"bundle": str(tiny_bundle), "precision": "fp32"}
    peer = bundle.load(options, 1)
    host_ = Hosted(peer, {"options": options, "threads": 1})
    assert host_.batching({}) == {"together": True, "why": None}
    together = host_._answer(TEXTS, 8)
    assert together == pytest.approx(np.stack([peer.one(text) for text in TEXTS]), abs=1e-6)
    assert host_.sized({"texts": TEXTS, "size": 3})["answers"] == together.argmax(axis=1).tolist()


def test_dynamic_int8_is_never_batched(tiny_bundle: Path) -> None:
    options = {"bundle": str(tiny_bundle), "precision": "int8"}
    model = lilliput.load(tiny_bundle, precision="int8")
    assert hosted.is_dynamic(model.manifest, "int8")
    assert not hosted.is_dynamic(model.manifest, "fp32")
    host_ = Hosted(bundle.load(options, 1), {"options": options, "threads": 1})
    batching = host_.batching({})
    assert batching["together"] is False
    assert "run alone" in batching["why"]
    expected = [model.labels.index(answer["label"]) for answer in model(TEXTS)]
    assert host_.sized({"texts": TEXTS, "size": 4})["answers"] == expected


def test_memory_of_this_process() -> None:
    host_, _ = host()
    found = host_.memory({})
    if not Path("/proc/self/statm").exists():
        pytest.skip("resident memory is read from Linux's /proc")
    assert 10_000_000 < found["rss_bytes"] <= found["peak_bytes"]
