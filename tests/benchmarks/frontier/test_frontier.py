"""Pooling, choosing and judging of the frontier, on pieces made by hand."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, replace

import numpy as np
import pytest

from lilliput.benchmarks.evidence import packed
from lilliput.benchmarks.folds import chosen
from lilliput.benchmarks.frontier import picture, search, targets
from lilliput.benchmarks.frontier.speed import NAMES, TEACHER
from lilliput.benchmarks.frontier.targets import best, figures_of, models_table, points
from lilliput.benchmarks.pairs import Pairs
from lilliput.errors import ConfigError

N = 1000


def cut(fold, **wrong):
    """A piece of the pruned models of a fold: the teacher is right on all texts, a model is wrong on some."""
    models = {}
    for name, (count, size) in wrong.items():
        ours = np.arange(N) >= count
        models[name] = {
            "pairs": asdict(Pairs.of(ours, np.ones(N, bool))),
            "right": packed(ours),
            "accuracy": {},
            "agreement": 1.0,
            "seconds": 60.0,
            "bytes": size,
            "parameters": 10,
            "precision": "int8",
            "blocks": [[1, 2]],
        }
    return {"fold": fold, "n_test": N, "teacher": {"bytes": 90e6}, "models": models}


def timed(fold, spread=0.1, **times):
    """A piece of speeds: the teacher takes 12 ms in each of 8 rounds."""
    rows = {TEACHER: 12.0, **times}
    models = {name: {"p50_ms": ms, "round_p50_ms": [ms] * 8} for name, ms in rows.items()}
    machine = {"cpu": "a processor", "cores": 1 + fold}
    return {"fold": fold, "models": models, "machine": machine, "noisy": spread > 0.15, "p50_spread": spread}


CUTS = [cut(0, x4=(4, 15e6), x8=(20, 3e6), x16=(46, 2e6)), cut(1, x4=(14, 15e6), x8=(44, 3e6), x16=(50, 2e6))]
SPEEDS = [timed(0, x4=3.0, x8=2.0, x16=0.8), timed(1, spread=0.684, x4=3.0, x8=1.5, x16=0.8)]


def test_what_is_kept_is_pooled_and_the_fastest_that_keeps_enough_is_taken():
    found = points(CUTS, [], SPEEDS)
    kept = {one.name: one.retained.value for one in found}
    assert kept == {"x4": pytest.approx(0.991), "x8": pytest.approx(0.968), "x16": pytest.approx(0.952)}
    figures = {figure.id: figure for figure in figures_of(found)}
    assert figures["frontier.speedup_at_99"].value == pytest.approx(4)
    assert figures["frontier.speedup_at_97"].value == pytest.approx(4)  # x8 keeps 96.8%
    assert figures["frontier.speedup_at_95"].value == pytest.approx(15)
    assert figures["frontier.speedup_at_935"].value == pytest.approx(15)
    assert figures["frontier.size_ratio_at_97"].value == pytest.approx(6)
    assert figures["frontier.speedup_at_99"].seeds == (0, 1)


def test_a_share_that_no_model_keeps_has_no_figure():
    found = points([cut(0, x8=(60, 3e6))], [], [timed(0, x8=2.0)])
    assert [figure.id for figure in figures_of(found)] == ["frontier.speedup_at_935"]


def test_a_model_that_was_not_timed_has_a_row_and_no_star():
    found = points(CUTS, [], [timed(0, x4=3.0)])
    assert best(found) == {"x4"}
    rows = models_table(found, []).splitlines()
    assert sum("not measured" in row for row in rows) == 2
    assert "x4 ★" in rows[-1]
    assert "`lilliput prune --speedup 4" in rows[-1]


def test_speeds_say_where_they_come_from():
    under = models_table(points(CUTS, [], SPEEDS), SPEEDS).split("\n\n")[1:]
    assert under == [
        "Speeds are of fold 0, on a processor with 1 core.",
        "Speeds are of fold 1, on a processor with 2 cores. "
        "The machine was busy in that run: p50 spread of 68% between rounds.",
    ]


def test_a_model_that_is_beaten_has_no_star():
    found = points([cut(0, x4=(10, 9e6), x8=(20, 3e6))], [], [timed(0, x4=1.0, x8=2.0)])
    assert best(found) == {"x4"}


def test_the_picture_says_what_it_shows():
    found = points(CUTS, [], SPEEDS)
    image = picture.draw(found, best(found))
    root = ElementTree.fromstring(image)
    space = "{http://www.w3.org/2000/svg}"
    assert "x4: 99.1% kept at 4.0 times" in root.findtext(f"{space}title")
    circles = {float(circle.get("cx")): float(circle.get("cy")) for circle in root.iter(f"{space}circle")}
    assert len(circles) == 3
    assert sorted(circles.values()) == [circles[x] for x in sorted(circles)]  # the faster, the lower


def test_names_of_points_that_lie_together_stand_apart():
    one = points(CUTS, [], SPEEDS)[0]
    image = picture.draw([replace(one, name=name) for name in ("first", "second", "third")], set())
    texts = ElementTree.fromstring(image).iter("{http://www.w3.org/2000/svg}text")
    places = {text.text: (text.get("x"), text.get("y")) for text in texts if text.text in ("first", "second", "third")}
    assert len(set(places.values())) == 3


def test_the_distance_from_the_target_has_an_interval_that_is_never_negative():
    found = {"evidence": {"speedup": {"value": 6.3, "low": 5.7, "high": 6.6}}, "seconds": 32 * 60}
    error, over = search.figures_of(found, 6, 30, 0)
    assert error.value == pytest.approx(0.05)
    assert error.ci == (0.0, pytest.approx(0.1))
    assert over.value == pytest.approx(2)
    error, over = search.figures_of({**found, "evidence": {"speedup": dict(value=7.5, low=7.2, high=9)}}, 6, 60, 0)
    assert error.ci == (pytest.approx(0.2), pytest.approx(0.5))
    assert over.value == 0


def test_the_pages_get_tables_and_picture(tmp_path):
    described = {"figures": [], "command": "python -m a", "commit": "b"}
    for name in ("prune", "frontier"):
        (tmp_path / name).mkdir()
    for number in (0, 1):
        (tmp_path / f"prune/fold-{number}.json").write_text(json.dumps({**CUTS[number], **described}))
        (tmp_path / f"frontier/speed-{number}.json").write_text(json.dumps({**SPEEDS[number], **described}))
    page = tmp_path / "page.md"
    page.write_text("<!-- table: frontier -->\n<!-- /table -->\n<!-- table: frontier-models -->\n<!-- /table -->\n")
    readme = tmp_path / "readme.md"
    readme.write_text("before\n<!-- table: headline -->\n<!-- /table -->\nafter\n")
    targets.main(tmp_path, tmp_path / "frontier.json", page, readme)
    assert "| frontier.speedup_at_95 | 15 (15 to 15) times | ≥ 13 | met |" in page.read_text()
    for text in (page.read_text(), readme.read_text()):
        assert "Speeds are of fold 1, on a processor with 2 cores. The machine was busy in that run" in text
    assert (tmp_path / "frontier.svg").read_text().startswith("<svg")
    shown = [line.split(" | ")[0].strip("| ") for line in readme.read_text().splitlines() if line.startswith("| x")]
    assert shown == [
        one.name for one in targets.points_of(tmp_path) if one.name in targets.best(targets.points_of(tmp_path))
    ]
    judged = {one["id"]: one for one in json.loads((tmp_path / "frontier.json").read_text())["figures"]}
    assert judged["frontier.speedup_at_97"]["status"] == "short"
    assert judged["frontier.p50_spread"]["status"] == "not measured"


def test_unknown_models_are_named():
    with pytest.raises(ConfigError, match="'x5' is unknown"):
        chosen("x4,x5", NAMES)
