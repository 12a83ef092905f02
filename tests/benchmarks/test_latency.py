"""The order of things in a benchmark run, with workers that only pretend."""

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lilliput import machine
from lilliput.benchmarks import latency
from lilliput.benchmarks.entries import Entry
from lilliput.errors import ConfigError, LilliputError

Fake = Callable[..., Entry]
TEXTS = ["x" * length for length in (3, 8, 1, 9, 4, 2, 7, 6, 5, 10)]


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)


def gone(tmp_path: Path) -> bool:
    """Whether no worker that ever started is left."""
    pids = [int(line) for line in (tmp_path / "log.pids").read_text().split()]
    assert pids
    for pid in pids:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        return False
    return True


def test_deal_gives_every_text_once_and_rounds_of_like_lengths() -> None:
    texts = ["x" * (n % 37) for n in range(300)]
    hands = latency.deal(texts, 10)
    assert sorted(index for hand in hands for index in hand) == list(range(300))
    assert {len(hand) for hand in hands} == {30}
    medians = [np.median([len(texts[index]) for index in hand]) for hand in hands]
    assert max(medians) - min(medians) <= 1  # dealt at random they would differ by several
    assert latency.deal(texts, 10) == hands


def test_answers_come_back_in_the_order_of_the_texts(fake: Fake, tmp_path: Path) -> None:
    result = latency.run([fake("a")], TEXTS, rounds=3, folder=tmp_path / "run")
    seen = result.models["a"]
    assert seen.answers.tolist() == [len(text) % 2 for text in TEXTS]
    assert seen.probabilities[:, 1].tolist() == [float(len(text) % 2) for text in TEXTS]
    assert seen.peak_bytes == 5_000_000
    assert seen.facts["bytes"] == 1000
    assert gone(tmp_path)


def test_models_take_turns_and_who_begins_rotates(fake: Fake, tmp_path: Path) -> None:
    latency.run([fake("a"), fake("b"), fake("c")], TEXTS[:9], rounds=3, folder=tmp_path / "run")
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[0] for line in lines[:9]] == list("abc") + list("bca") + list("cab")
    assert [line.split()[2] for line in lines[:9]] == ["3"] * 9
    assert Counter(line.split()[1] for line in lines) == {"1": 12, "2": 3}  # rounds, recheck; all cores


def test_speed_ups_are_ratios_of_the_rounds(fake: Fake, tmp_path: Path) -> None:
    slow = fake("slow", ns=6_000_000, slow_round_factor=2)
    result = latency.run([slow, fake("fast", ns=2_000_000)], TEXTS, rounds=4, folder=tmp_path / "run")
    assert result.speedups("fast", "slow") == (3.0, 6.0, 3.0, 3.0)
    assert result.models["slow"].p50_spread == pytest.approx(1.0)
    assert result.models["slow"].throughput_per_s == pytest.approx(1000 / 6)
    everything = result.models["slow"].all_threads
    assert everything is not None
    assert (everything.threads, everything.throughput_per_s) == (2, pytest.approx(2000 / 6))


def test_a_machine_is_noisy_when_rounds_of_the_median_model_differ(fake: Fake, tmp_path: Path) -> None:
    quiet = latency.run([fake("a"), fake("b")], TEXTS, rounds=3, folder=tmp_path / "run")
    assert (quiet.noisy, quiet.p50_spread) == (False, 0.0)
    shaken = latency.run([fake("a", slow_round_factor=1.5)], TEXTS, rounds=3, folder=tmp_path / "run")
    assert shaken.noisy
    assert shaken.p50_spread == pytest.approx(0.5)


def test_progress_counts_to_the_total(fake: Fake, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    latency.run(
        [fake("a"), fake("b")],
        TEXTS,
        rounds=2,
        folder=tmp_path / "run",
        on_progress=lambda done, total, what: seen.append((done, total)),
    )
    # For each of two models: load, two rounds, throughput, all cores.
    assert seen == [(step, 10) for step in range(1, 11)]


def test_on_one_core_the_same_process_is_all_cores(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    result = latency.run([fake("a", ns=2_000_000)], TEXTS, rounds=2, folder=tmp_path / "run")
    everything = result.models["a"].all_threads
    assert everything is not None
    assert (everything.threads, everything.p50) == (1, 2.0)
    assert len((tmp_path / "log.pids").read_text().split()) == 1


def test_all_cores_can_be_left_out(fake: Fake, tmp_path: Path) -> None:
    result = latency.run([fake("a")], TEXTS, rounds=2, folder=tmp_path / "run", all_cores=False)
    assert result.models["a"].all_threads is None


def test_samples_are_small_for_slow_models_and_small_benchmarks() -> None:
    texts = ["x"] * 3000
    assert latency._affordable(16_000_000, 16, 512, texts) == 62  # one second
    assert latency._affordable(100_000, 16, 512, texts) == 300  # a tenth of the texts
    assert latency._affordable(100_000, 16, 512, texts * 10) == 512
    assert latency._affordable(500_000_000, 16, 512, texts) == 16


def test_a_changed_answer_names_the_model(fake: Fake, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match="'fickle' changed its answer to test text 0"):
        latency.run([fake("fine"), fake("fickle", change_mind=2)], TEXTS, rounds=2, folder=tmp_path / "run")
    assert gone(tmp_path)


def test_a_worker_that_dies_leaves_its_last_words(fake: Fake, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=r"'b' ended with code 3 at 'one'(.|\n)*RuntimeError: out of luck"):
        latency.run([fake("a"), fake("b", die="one")], TEXTS, folder=tmp_path / "run")
    assert gone(tmp_path)


def test_a_worker_that_can_not_load_says_why(fake: Fake, tmp_path: Path) -> None:
    with pytest.raises(LilliputError, match=r"'b' ended with code 1 at 'load'(.|\n)*the model file is gone"):
        latency.run([fake("a"), fake("b", die="load")], TEXTS, folder=tmp_path / "run")


def test_a_worker_that_hangs_is_given_up(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilliput.benchmarks.workers.GOODBYE_S", 0.2)
    start = time.monotonic()
    with pytest.raises(LilliputError, match="'a' did not answer 'warm' in 1 s"):
        latency.run([fake("a", hang="warm")], TEXTS, folder=tmp_path / "run", limit_s=1)
    assert time.monotonic() - start < 10
    assert gone(tmp_path)


def test_a_worker_that_does_not_exist(fake: Fake, tmp_path: Path) -> None:
    entry = Entry("a", "none", "fp32", "none", {}, command=("/no/such/program",))
    with pytest.raises(LilliputError, match="'a' did not start: /no/such/program"):
        latency.run([fake("b"), entry], TEXTS, folder=tmp_path / "run")
    assert gone(tmp_path)


def test_an_interrupt_leaves_no_process(fake: Fake, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, what: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        latency.run([fake("a"), fake("b")], TEXTS, folder=tmp_path / "run", on_progress=interrupt)
    assert gone(tmp_path)


def test_models_with_other_labels_can_not_be_compared(fake: Fake, tmp_path: Path) -> None:
    result = latency.run([fake("c"), fake("d", labels=["NEGATIVE", "Positive"])], TEXTS, folder=tmp_path / "run")
    assert result.labels == ("negative", "positive")
    swapped = fake("b", labels=["positive", "negative"])
    with pytest.raises(ConfigError, match=r"'b' has the labels \['positive', 'negative'\], but 'a' has"):
        latency.run([fake("a"), swapped], TEXTS, folder=tmp_path / "run")


def test_names_must_differ_and_something_must_be_measured(fake: Fake, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="called 'a'"):
        latency.run([fake("a"), fake("a")], TEXTS, folder=tmp_path / "run")
    with pytest.raises(ConfigError, match="at least one"):
        latency.run([], TEXTS, folder=tmp_path / "run")
    with pytest.raises(ConfigError, match="at least one"):
        latency.run([fake("a")], [], folder=tmp_path / "run")
