"""The pictures of the page that need no script: places and outlines by hand."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lilliput.benchmarks import chart, charts, page
from lilliput.benchmarks.chart import LogAxis

Specimen = Callable[..., dict[str, Any]]


def test_places_on_a_logarithmic_axis() -> None:
    axis = LogAxis(1.0, 100.0)
    assert [axis.place(value) for value in (1, 10, 100)] == pytest.approx([0, 50, 100])
    assert (axis.place(0.1), axis.place(1e6)) == (0, 100)
    assert [words for _, words in axis.ticks] == ["1", "3", "10", "30", "100"]
    assert [words for _, words in LogAxis(0.9, 12).ticks] == ["1", "2", "5", "10"]
    assert [words for _, words in chart.axis_of([2.7, 2.9]).ticks] == ["2.5", "3", "3.5"]
    assert all(len(LogAxis(low, 1.7 * low).ticks) > 1 for low in np.geomspace(0.01, 1000, 400))
    found = chart.axis_of([2.0, 8.0], 2.0)
    assert (found.low, found.high) == (1.0, 16.0)


def test_a_histogram_from_quantiles() -> None:
    # Half of the texts lie evenly (in logarithm) from 1 to 10, half from 10 to 100; two bins of one decade each.
    shares = charts.masses([1.0, 10.0, 100.0], [0.0, 0.5, 1.0], LogAxis(1.0, 100.0), bins=2)
    assert shares == pytest.approx([0.5, 0.5])
    shares = charts.masses([1.0, 10.0, 100.0], [0.0, 0.8, 1.0], LogAxis(1.0, 100.0), bins=4)
    assert shares == pytest.approx([0.4, 0.4, 0.1, 0.1])


def test_histograms_follow_the_texts_themselves() -> None:
    draw = np.random.default_rng(1)
    times = np.concatenate([draw.lognormal(0, 0.2, 3000), draw.lognormal(2, 0.1, 1000)])  # two humps
    levels = [0.001, *(percent / 100 for percent in range(1, 100)), 0.999]
    axis = LogAxis(0.3, 20.0)
    shares = charts.masses(np.quantile(times, levels).tolist(), levels, axis, bins=24)
    edges = np.exp(np.linspace(np.log(0.3), np.log(20.0), 25))
    counted = np.histogram(times, bins=edges)[0] / len(times)
    assert np.abs(np.array(shares) - counted).max() < 0.02


def test_an_outline_is_as_high_as_its_box() -> None:
    assert charts.outline([0.25, 0.5], height=10) == "M0 10V5.00H50.00V0.00H100.00V10Z"


def test_latencies_have_a_lane_a_model_with_its_percentiles(specimen: Specimen) -> None:
    made = specimen()
    picture = charts.latencies(made)
    assert [lane.name for lane in picture.lanes] == [row["name"] for row in made["models"]]
    lane = picture.lanes[7]
    assert lane.name == "student-l2 int8"
    assert lane.said == "p50 1.00, p90 1.40, p99 1.49 ms"
    assert [mark.at for mark in lane.marks] == sorted(mark.at for mark in lane.marks)
    assert "student-l2 int8: p50 1.00, " in picture.description


def test_speed_ups_leave_out_what_they_are_over(specimen: Specimen) -> None:
    picture = charts.speedups(specimen())
    assert picture is not None
    names = [lane.name for lane in picture.lanes]
    assert "teacher plain int8" not in names
    assert "TF-IDF + logistic regression" not in names
    lane = picture.lanes[names.index("student-l2 int8")]
    assert lane.said == "4.0× over plain int8, 16.0× over PyTorch"
    assert len(lane.marks) == 20
    made = specimen()
    for row in made["models"]:
        row["speedup_vs_teacher_int8_rounds"] = row["speedup_vs_teacher_eager_rounds"] = None
    assert charts.speedups(made) is None


def structured(made: dict[str, Any]) -> dict[str, Any]:
    def shape(heads: list[int], ffn: list[int], kind: str = "bert") -> dict[str, Any]:
        blocks = [{"heads": one, "ffn": other} for one, other in zip(heads, ffn, strict=True)]
        facts = {"kind": kind, "hidden": 384, "vocabulary": 30522, "head_size": 32 if blocks else None}
        return {**facts, "layers": len(blocks) or 3, "blocks": blocks}

    for row in made["models"]:
        if row["model"] == "teacher":
            row["structure"] = shape([12, 12], [1536, 1536])
        elif row["model"] == "student-l3":
            row["structure"] = shape([3, 0], [768, 16])
        elif row["model"] == "student-l2":
            row["structure"] = shape([], [], "lilliput_conv")
    return made


def test_what_is_left_of_each_model(specimen: Specimen) -> None:
    teacher, three, two = charts.shapes(structured(specimen()))
    assert teacher.name == "teacher"
    assert (teacher.heads, teacher.blocks) == (12, [(12, 1536, 100.0), (12, 1536, 100.0)])
    assert three.words == "2 blocks, 3 of 24 heads, 1 M parameters, width 384, 30,522 tokens"
    assert three.blocks == [(3, 768, 50.0), (0, 16, pytest.approx(100 * 16 / 1536))]
    assert two.words == "conv, 3 layers, 1 M parameters, width 384, 30,522 tokens"
    assert two.blocks == []


def test_slices_say_where_a_model_is_worse_than_on_the_whole(specimen: Specimen) -> None:
    made = specimen()
    part = {"by": "length", "value": "1 to 9 words", "n": 500, "score": 0.7, "ci": [0.66, 0.74], "below": 0.1}
    few = {"by": "label", "value": "odd", "n": 3}
    for row in made["models"][:2]:
        row["slices"] = [part, few]
    made["models"][1]["score"] = 0.7
    rows, parts = charts.slices(made)
    assert [row["name"] for row in rows] == [row["name"] for row in made["models"][:2]]
    (one,) = parts  # of a part with few texts nothing is known
    assert (one.by, one.value, one.n) == ("length", "1 to 9 words", 500)
    assert one.cells == [("70.0%", "66.0 to 74.0", True), ("70.0%", "66.0 to 74.0", False)]


def test_targets_of_a_search_become_lines(specimen: Specimen) -> None:
    made = specimen()
    assert page.wanted(made) == {"keep": 97.0, "ms": None}
    asked = {"speedup": 6.0, "latency": None, "size": None, "max_drop": 1.76, "precision": "int8"}
    made["recipe"]["config"] = {"compress": asked}
    # The teacher has 88% and 3.6 ms in int8: 86.24% are 98% of that.
    assert page.wanted(made) == {"keep": 98.0, "ms": 0.6}
    made["recipe"]["config"] = {"compress": {**asked, "speedup": None, "max_drop": None, "latency": 2.0}}
    assert page.wanted(made) == {"keep": 97.0, "ms": 2.0}
    made["recipe"]["config"] = {"compress": "nonsense", "members": [1]}
    assert page.wanted(made) == {"keep": 97.0, "ms": None}
    assert page.made_by(made["models"][0], made)[0] == []


def test_commands_are_the_searchs_own_where_it_knows_them(specimen: Specimen) -> None:
    made = copy.deepcopy(specimen())
    row = next(row for row in made["models"] if row["model"] == "student-l2")
    row["made"] = ["lilliput distill --student layers=2"]
    assert page.made_by(row, made)[0] == ["lilliput distill --student layers=2"]
    recipe = {"commands": ["lilliput prune --speedup 6", "lilliput export"], "exact": True}
    made["recipe"]["config"] = {"members": {"student-l2": {"recipe": recipe}}}
    commands, note = page.made_by(row, made)
    assert commands == recipe["commands"]
    assert "the very same way" in note
