"""What scenarios ask of workers and make of their replies, with workers that only pretend."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilliput import machine
from lilliput.benchmarks import latency, scenarios
from lilliput.benchmarks.bench import Bench
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.scenarios import cold_start, energy, memory, offline, server, single_stream, sweep, threads
from lilliput.errors import ConfigError

Fake = Callable[..., Entry]
TEXTS = ["x" * length for length in range(1, 41)]


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    """Makes the situation of scenarios: entries after their single stream."""

    def make(entries: list[Entry], reference: str | None = None, **settings: Any) -> Bench:
        result = latency.run(entries, TEXTS, rounds=4, folder=tmp_path / "run", all_cores=False)
        return Bench(entries, TEXTS, result, reference, tmp_path / "scenarios", rounds=4, **settings)

    return make


def test_a_scenario_is_a_file() -> None:
    folder = Path(scenarios.__file__).parent
    files = [file.stem.replace("_", "-") for file in folder.glob("*.py") if file.stem != "__init__"]
    assert scenarios.names() == sorted(files)
    for name in scenarios.names():
        module = scenarios.get(name)
        assert module.ABOUT.endswith(".")
        assert module.COLUMNS
    with pytest.raises(ConfigError, match="--scenario multistream: unknown; known are cold-start, energy"):
        scenarios.get("multistream")


def test_single_stream_has_intervals_of_its_quantiles(fake: Fake, bench: Callable[..., Bench]) -> None:
    found = single_stream.measure(bench([fake("a", ns=2_000_000)]))
    one = found.models["a"]
    assert (one["p50"], one["p50_ci"], one["n"]) == (2.0, [2.0, 2.0], 40)
    assert single_stream.COLUMNS[0].text(one) == "2.00 (2.00 to 2.00)"


def test_offline_takes_the_best_batch_and_ratios_of_whole_times(fake: Fake, bench: Callable[..., Bench]) -> None:
    # A call costs half a text, so the largest batch that the sample fills is the best one; the other may not batch.
    entries = [fake("plain", ns=4_000_000), fake("batched", ns=2_000_000, together=True)]
    found = offline.measure(bench(entries, "plain"))
    plain, batched = found.models["plain"], found.models["batched"]
    assert (plain["size"], batched["size"]) == (1, 32)
    assert plain["per_s"] == pytest.approx(250)
    # Four rounds of 10 texts, each one call: 2 ms x (1 + 10) / 2 = 11 ms.
    assert batched["per_s"] == pytest.approx(40 / 0.044)
    assert batched["ratio"] == pytest.approx(40 / 11)
    assert batched["ratio_ci"] == pytest.approx([40 / 11, 40 / 11])
    assert (batched["changed"], batched["spread"]) == (0.0, 0.0)
    assert found.settings == {"threads": 1, "reference": "plain"}
    assert offline.COLUMNS[1].text(plain) == "text by text"


def test_offline_without_a_reference_has_no_ratio(fake: Fake, bench: Callable[..., Bench]) -> None:
    one = offline.measure(bench([fake("a")])).models["a"]
    assert one["ratio"] is None
    assert offline.COLUMNS[2].text(one) == "–"


def test_answers_are_compared_by_what_they_mean(fake: Fake, bench: Callable[..., Bench]) -> None:
    swapped = replace(fake("swapped", labels=["LABEL_0", "LABEL_1"]), outputs=("positive", "negative"))
    assert offline.measure(bench([fake("a"), swapped])).models["swapped"]["changed"] == 0.0


def test_a_model_that_fails_is_left_out_with_its_reason(fake: Fake, bench: Callable[..., Bench]) -> None:
    found = offline.measure(bench([fake("a"), fake("b", die="sized")], "b"))
    assert found.models["a"]["per_s"] > 0
    assert found.models["a"]["ratio"] is None
    why = found.models["b"]["not_measured"]
    assert "'b' ended with code 3 at 'sized'" in why
    assert why.endswith("RuntimeError: out of luck")
    assert "\n" not in why


def test_the_highest_rate_of_a_server_is_close_below_what_its_line_can_bear(
    fake: Fake, bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TRIAL_S", 1.0)
    found = server.measure(bench([fake("a", ns=1_000_000)], bound_ms=20.0))
    one = found.models["a"]
    # With answers of exactly 1 ms the line holds at any rate below 1,000 a second, and the 99% point of the wait of
    # an M/D/1 queue is 20 ms only at a load of about 0.9.
    assert 780 < one["rate_per_s"] < 1000
    assert one["kept"]
    assert one["p99_ms"] <= 20.0
    assert one["achieved_per_s"] == pytest.approx(one["rate_per_s"], rel=0.1)
    assert one["how"] == "one by one"
    kept = [trial for trial in one["trials"] if trial["p99_ms"] <= 20.0]
    lost = [trial for trial in one["trials"] if trial["p99_ms"] > 20.0]
    assert max(trial["rate_per_s"] for trial in kept) < min(trial["rate_per_s"] for trial in lost)


def test_a_bound_below_a_single_answer_leaves_no_rate(
    fake: Fake, bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TRIAL_S", 0.2)
    one = server.measure(bench([fake("a", ns=1_000_000)], bound_ms=0.5)).models["a"]
    assert (one["rate_per_s"], one["kept"]) == (0.0, False)
    assert server.COLUMNS[0].text(one) == "none"


def test_where_the_last_runs_keep_the_bound_at_no_rate_none_is_shown(
    fake: Fake, bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TRIAL_S", 0.2)
    monkeypatch.setattr(server, "FINAL_S", 0.2)
    monkeypatch.setattr(server, "highest", lambda keeps, low, high, close: 300.0)  # the trials were lucky
    one = server.measure(bench([fake("a", ns=1_000_000)], bound_ms=0.5)).models["a"]
    assert (one["rate_per_s"], one["kept"]) == (0.0, False)
    assert one["achieved_per_s"] == pytest.approx(300 * server.STEP ** (server.STEPS - 1), rel=0.5)


def test_bisection_finds_the_edge() -> None:
    assert server.highest(lambda rate: rate <= 70, 10, 100, 1.01) == pytest.approx(70, rel=0.01)
    assert server.highest(lambda rate: True, 10, 100, 1.01) == pytest.approx(100, rel=0.01)
    assert server.highest(lambda rate: rate <= 10, 10, 100, 1.01) == 10
    assert server.highest(lambda rate: False, 10, 100, 1.01) == 0.0


def test_arrivals_are_the_same_at_every_rate_but_for_the_clock() -> None:
    gaps = np.random.default_rng(3).exponential(size=20_000).tolist()
    slow, fast = server.due_ns(gaps, 10), server.due_ns(gaps, 20)
    assert np.allclose(np.array(slow), 2 * np.array(fast), atol=4)
    assert slow[-1] / 1e9 == pytest.approx(2000, rel=0.03)  # 20,000 texts at 10 a second
    between = np.diff(slow) / 1e9
    assert between.std() == pytest.approx(between.mean(), rel=0.05)  # as exponential gaps have it


def test_sweep_measures_every_length_and_batch_that_a_model_reads(fake: Fake, bench: Callable[..., Bench]) -> None:
    entries = [fake("a", ns=1_000_000, together=True), fake("short", ns=1_000_000, max_length=16)]
    found = sweep.measure(bench(entries))
    cells = {(cell["length"], cell["batch"]): cell for cell in found.models["a"]["cells"]}
    assert set(cells) == {(length, batch) for length in sweep.LENGTHS for batch in sweep.BATCHES}
    assert cells[8, 8]["ms"] == pytest.approx(4.5)  # 1 ms x (1 + 8) / 2
    assert cells[8, 8]["per_s"] == pytest.approx(8 / 0.0045)
    assert {cell["length"] for cell in found.models["short"]["cells"]} == {8, 16}
    assert (found.models["a"]["how"], found.models["short"]["how"]) == ("together", "text by text")
    shown = {column.title: column for column in sweep.COLUMNS}
    assert shown["8 x 8"].text(found.models["a"]) == "4.50"
    assert shown["32 x 8"].text(found.models["short"]) == "–"


def test_texts_of_a_sweep_are_of_frequent_words() -> None:
    words = sweep.frequent_words(["The film, the film!", "a film 2 see", "it's THE one"], count=2)
    assert words == ["the", "film"]
    texts = sweep.made_of(words, 6, 3, seed=1)
    assert [len(text.split()) for text in texts] == [6, 6, 6]
    assert texts == sweep.made_of(words, 6, 3, seed=1)
    assert sweep.frequent_words(["42"]) == ["a"]


def test_threads_go_from_one_to_all(fake: Fake, bench: Callable[..., Bench], tmp_path: Path) -> None:
    assert [threads.thread_counts(cores) for cores in (1, 2, 3, 4, 6, 8)] == [
        *([1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6], [1, 2, 4, 8])
    ]
    found = threads.measure(bench([fake("a", ns=2_000_000)]))
    first, second = found.models["a"]["points"]
    assert (first["threads"], first["p50_ms"], first["per_s"]) == (1, 2.0, pytest.approx(500))
    assert (second["threads"], second["per_s"]) == (2, pytest.approx(1000))
    assert threads.COLUMNS[2].text(found.models["a"]) == "2.0×"
    assert "a 2 " in (tmp_path / "log").read_text()  # a worker was told to use two threads


def test_cold_start_counts_from_the_start_of_a_process(fake: Fake, bench: Callable[..., Bench], tmp_path: Path) -> None:
    situation = bench([fake("a", ns=3_000_000), fake("b", die="load")][:1])
    one = cold_start.measure(situation).models["a"]
    assert len(one["processes"]["total_ms"]) == cold_start.PROCESSES
    assert one["total_ms"] > one["first_ms"] == 3.0
    assert one["import_ms"] is None  # this worker does not tell its parts
    assert (one["p50_ms"], one["p50_spread"]) == (3.0, 0.0)
    assert len((tmp_path / "log.pids").read_text().split()) == 1 + cold_start.PROCESSES


def test_a_model_that_does_not_start_is_not_measured(fake: Fake, bench: Callable[..., Bench]) -> None:
    situation = bench([fake("a")])
    broken = Bench([fake("a", die="load")], TEXTS, situation.result, None, situation.folder)
    assert "the model file is gone" in cold_start.measure(broken).models["a"]["not_measured"]


def test_memory_of_each_process(fake: Fake, bench: Callable[..., Bench]) -> None:
    one = memory.measure(bench([fake("a")])).models["a"]
    assert one == {"loaded_bytes": 4_000_000, "single_bytes": 5_000_000, "list_bytes": 5_000_000}
    assert [column.text(one) for column in memory.COLUMNS] == ["4", "5", "5"]


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Counters of one package, and of a part of it that must not be counted twice."""
    folder = tmp_path / "powercap"
    for zone, name, uj in (("intel-rapl:0", "package-0", 1_000_000), ("intel-rapl:0:0", "core", 7)):
        (folder / zone).mkdir(parents=True)
        (folder / zone / "name").write_text(f"{name}\n")
        (folder / zone / "max_energy_range_uj").write_text("262143328850\n")
        (folder / zone / "energy_uj").write_text(f"{uj}\n")
    monkeypatch.setattr(energy.counters, "__defaults__", (folder,))
    return folder


def test_energy_is_what_the_counters_moved(
    fake: Fake, bench: Callable[..., Bench], powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "SECONDS", 0.02)
    reads = iter(range(1_000_000, 10**9, 500_000))  # half a joule a reading
    monkeypatch.setattr(energy.Counter, "read", lambda counter: next(reads))
    monkeypatch.setattr(energy, "IDLE_S", 0.0)
    one = energy.measure(bench([fake("a", ns=1_000_000)])).models["a"]
    assert one["rounds"] == pytest.approx([25.0] * energy.ROUNDS)  # 0.5 J for 20 texts
    assert one["joules_per_1000"] == pytest.approx(25.0)


def test_packages_are_counted_once_and_counters_begin_anew(powercap: Path) -> None:
    (counter,) = energy.counters(powercap)
    assert counter.read() == 1_000_000
    assert counter.between(1_000_000, 3_500_000) == pytest.approx(2.5)
    assert counter.between(262143328850, 999_999) == pytest.approx(1.0)


def test_without_counters_energy_is_not_measured(
    fake: Fake, bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy.counters, "__defaults__", (tmp_path / "nowhere",))
    why = energy.measure(bench([fake("a")])).models["a"]["not_measured"]
    assert why.startswith("there are no RAPL counters in")


def test_counters_for_root_only_say_so(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(counter: energy.Counter) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(energy.Counter, "read", refuse)
    with pytest.raises(energy.Unreadable, match="is for root only"):
        energy.counters(powercap)
