"""Rows, figures and the schema of report.json."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from lilliput.benchmarks import figures, report
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.figures import Seen, Target
from lilliput.benchmarks.measured import AllThreads, Measured, Result
from lilliput.errors import ConfigError, LilliputError

Specimen = Callable[..., dict[str, Any]]
LABELS = ("negative", "positive")


def seen(answers: list[int], round_p50_ms: tuple[float, ...]) -> Measured:
    n = len(answers)
    return Measured(
        answers=np.array(answers),
        probabilities=np.where(np.eye(2)[answers] == 1, 1.0, 0.0),
        elapsed_ns=np.arange(1, n + 1) * 1_000_000,
        round_p50_ms=round_p50_ms,
        facts={"parameters": 10, "bytes": 2_000_000, "labels": list(LABELS)},
        peak_bytes=3_000_000,
        throughput_per_s=100.0,
        all_threads=AllThreads(2, 1.0, 150.0),
    )


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    gold = [0, 1, 0, 1, 0]
    models = {
        "teacher": seen([0, 1, 0, 1, 1], (8.0, 8.0, 8.0)),  # 4 of 5
        "eager": seen([0, 1, 0, 1, 1], (16.0, 20.0, 16.0)),
        "plain": seen([0, 1, 0, 1, 0], (4.0, 4.0, 4.0)),  # 5 of 5
        "student": seen([0, 1, 0, 0, 1], (2.0, 1.0, 2.0)),  # 3 of 5
    }
    entries = [
        Entry("teacher", "onnxruntime", "fp32", "none", model="t", role="teacher_fp32"),
        Entry("eager", "torch", "fp32", "none", model="t", role="teacher_eager", bytes=77),
        Entry("plain", "onnxruntime", "int8", "none", model="p", role="teacher_int8"),
        Entry("student", "onnxruntime", "int8", "none", model="s", role="student", seeds=(0, 1)),
    ]
    result = Result(1, LABELS, 5, models, Path())
    return report.rows(result, entries, gold, LABELS, teacher="teacher")


def test_a_row_compares_with_the_teacher_on_the_same_items(rows: list[dict[str, Any]]) -> None:
    student = rows[3]
    assert student["score"] == pytest.approx(0.6)
    assert student["retained"] == pytest.approx(0.75)
    assert student["retained_ci"][0] < 0.75 < student["retained_ci"][1]
    assert student["agreement"] == pytest.approx(0.8)
    assert student["mcnemar_p"] == 1.0  # one item only tells them apart
    assert student["ece"] == pytest.approx(0.4)  # certain of everything, wrong on two of five
    assert student["latency_ms"]["p50"] == pytest.approx(3.0)
    assert student["seeds"] == [0, 1]
    assert student["peak_rss_mb"] == 3.0
    assert student["all_threads"] == {"threads": 2, "p50": 1.0, "throughput_per_s": 150.0}


def test_the_teacher_retains_itself_exactly(rows: list[dict[str, Any]]) -> None:
    assert (rows[0]["retained"], rows[0]["retained_ci"]) == (1.0, [1.0, 1.0])
    assert rows[2]["retained"] == pytest.approx(1.25)  # a model may be better than the teacher


def test_speed_ups_are_medians_of_the_rounds_ratios(rows: list[dict[str, Any]]) -> None:
    student = rows[3]
    assert student["speedup_vs_teacher_eager_rounds"] == [8.0, 20.0, 8.0]
    assert student["speedup_vs_teacher_eager"] == 8.0
    assert student["speedup_vs_teacher_eager_ci"] == [8.0, 20.0]
    assert student["speedup_vs_teacher_int8"] == 2.0
    assert rows[1]["speedup_vs_teacher_eager"] == 1.0


def test_what_an_entry_states_goes_before_what_the_worker_found(rows: list[dict[str, Any]]) -> None:
    assert rows[1]["bytes"] == 77
    assert rows[0]["bytes"] == 2_000_000


def test_only_the_best_are_on_the_frontier(rows: list[dict[str, Any]]) -> None:
    # All have the same latencies of single texts here, so the most accurate one beats the rest.
    assert [row["pareto"] for row in rows] == [False, False, True, False]


def test_without_a_reference_there_is_no_speed_up() -> None:
    result = Result(1, LABELS, 2, {"a": seen([0, 1], (1.0,))}, Path())
    (row,) = report.rows(result, [Entry("a", "x", "fp32", "none")], [0, 1], LABELS, teacher="a")
    assert row["speedup_vs_teacher_int8"] is None
    assert row["speedup_vs_teacher_int8_ci"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "who"}, "teacher 'who' is not among the models measured: a"),
        ({"label_names": ("positive", "negative")}, "the models answer with"),
        ({"golds": [0]}, "1 gold labels were given for 2 texts"),
    ],
)
def test_wrong_inputs_are_named(changes: dict[str, Any], message: str) -> None:
    result = Result(1, LABELS, 2, {"a": seen([0, 1], (1.0,))}, Path())
    given = {"golds": [0, 1], "label_names": LABELS, "teacher": "a", **changes}
    with pytest.raises(ConfigError, match=message):
        report.rows(result, [Entry("a", "x", "fp32", "none")], **given)


def test_the_schema_is_valid_and_knows_every_field_that_is_written(specimen: Specimen) -> None:
    schema = json.loads(report.SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    made = specimen()
    assert set(made) == set(schema["properties"]) - {"recommended", "verdict"}  # which a search adds
    assert set(made) - set(schema["required"]) == {"scenarios"}  # older reports have none, and are still read
    row = schema["$defs"]["row"]
    assert set(made["models"][0]) == set(row["properties"])
    details = {"hits", "reliability", "slices", "structure", "sensitivity", "made"}
    assert set(row["properties"]) - set(row["required"]) == details
    assert set(made["figures"][0]) == set(schema["$defs"]["figure"]["required"])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("models", 0, "score"), 1.2, "models/0/score"),
        (("models", 0, "latency_ms", "p50"), 0, "models/0/latency_ms/p50"),
        (("figures", 2, "status"), "nearly", "figures/2/status"),
        (("surprise",), 1, "surprise"),
        (("schema",), 2, "at schema"),
    ],
)
def test_a_wrong_report_is_refused_by_place(specimen: Specimen, path: tuple, value: Any, message: str) -> None:
    made = copy.deepcopy(specimen())
    inner = made
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(LilliputError, match=message):
        report.validate(made)


def test_written_reports_can_be_read(specimen: Specimen, tmp_path: Path) -> None:
    made = specimen()
    data, page = report.write_report(made, tmp_path / "out")
    assert report.read_report(data) == made
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written == ["report.csv", "report.html", "report.json", "report.md"]


@pytest.mark.parametrize("text", ["{", '{"schema": 1}', "[]"])
def test_broken_reports_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(LilliputError, match="report"):
        report.read_report(tmp_path / "report.json")


def status(value: float | None, ci: list[float] | None = None, good: bool = True, **how: Any) -> str:
    target = Target("x", "share", 0.98, lambda _: None, **how)
    return target.status(None if value is None else Seen(value, ci), good)


def test_status_of_a_figure() -> None:
    assert status(None) == "not measured"
    assert status(0.98) == "met"
    assert status(0.979) == "short"
    assert status(0.99, [0.981, 0.999]) == "met"
    assert status(0.99, [0.975, 0.999]) == "inconclusive"
    assert status(0.979, [0.97, 0.99]) == "short"
    assert status(0.99, [0.975, 0.999], by_value=True) == "met"
    assert status(0.9, [0.8, 0.97], at_most=True) == "met"
    assert status(0.9, [0.8, 0.99], at_most=True) == "inconclusive"
    assert status(0.99, at_most=True) == "short"


def test_what_is_retained_of_a_weak_teacher_is_short() -> None:
    assert status(0.99, [0.985, 0.999], good=False, needs_teacher=True) == "short"
    assert status(0.99, [0.985, 0.999], good=False) == "met"


def test_demo_figures_by_hand(specimen: Specimen) -> None:
    # 2,000 items, 1,760 right by the teacher. The 3-layer int8 student loses round(1% of 1760) = 18 of them.
    made = {figure["id"]: figure for figure in specimen()["figures"]}
    assert list(made) == [
        "demo.minutes",
        "demo.peak_gb",
        "demo.teacher_accuracy",
        "demo.l3_retained",
        "demo.l3_speedup",
        "demo.l2_retained",
        "demo.l2_speedup",
        "demo.l2_speedup_eager",
        "demo.int8_drop_max",
        "demo.tampers_refused",
    ]
    values = {name: figure["value"] for name, figure in made.items()}
    assert values["demo.teacher_accuracy"] == pytest.approx(0.88)
    assert values["demo.l3_retained"] == pytest.approx(1742 / 1760)
    assert values["demo.l2_retained"] == pytest.approx(1716 / 1760)
    assert values["demo.l3_speedup"] == pytest.approx(4.0 / 1.6)
    assert values["demo.l2_speedup"] == pytest.approx(4.0)
    assert values["demo.l2_speedup_eager"] == pytest.approx(16.0)
    # Losses from fp32 to int8: teacher 2, three layers 18 - 14 = 4, two layers 44 - 39 = 5 of 2,000 items.
    assert values["demo.int8_drop_max"] == pytest.approx(0.25)
    assert {name: figure["status"] for name, figure in made.items()} == dict.fromkeys(made, "met")
    assert made["demo.l3_retained"]["n"] == 2000
    assert made["demo.l3_speedup"]["n"] == 10
    assert made["demo.minutes"]["direction"] == "at most"


def test_a_weak_teacher_makes_retained_figures_short(specimen: Specimen) -> None:
    made = specimen()
    weak = {**made, "teacher_floor": 0.9}
    short = {figure["id"] for figure in figures.figures(weak, report.demo_targets()) if figure["status"] == "short"}
    assert short == {"demo.l3_retained", "demo.l2_retained"}


def test_a_smoke_run_measures_no_figure(specimen: Specimen) -> None:
    made = specimen(smoke=True)
    assert {figure["status"] for figure in made["figures"]} == {"not measured"}
    assert {figure["value"] for figure in made["figures"]} == {None}


def test_figures_of_models_that_are_not_there_are_not_measured(specimen: Specimen) -> None:
    made = specimen(targets=report.demo_targets(two="student-l9"))
    found = {figure["id"]: figure["status"] for figure in made["figures"]}
    assert found["demo.l2_retained"] == found["demo.int8_drop_max"] == "not measured"
    assert found["demo.l3_retained"] == "met"
