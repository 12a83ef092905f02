"""Folds are pooled, pieces are judged, and the page gets its tables."""

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lilliput.benchmarks import pieces
from lilliput.benchmarks.distillation import targets
from lilliput.benchmarks.distillation.family import FAMILY, flags
from lilliput.benchmarks.pieces import Figure

ROOT = Path(__file__).parents[3]


def student(name, both, ours, theirs, neither, **changes):
    return {
        "settings": json.loads(json.dumps(FAMILY[name])),
        "pairs": {"both": both, "ours": ours, "theirs": theirs, "neither": neither},
        "agreement": 0.9,
        "seconds": 120.0,
        "bytes": 5_000_000,
        "parameters": 12_300_000,
        "precision": "int8",
        **changes,
    }


FOLDS = [
    {"fold": 0, "students": {"l2": student("l2", 80, 5, 10, 5), "l3": student("l3", 90, 0, 0, 10)}},
    {"fold": 2, "students": {"l2": student("l2", 70, 10, 10, 10, agreement=0.8, seconds=60.0, precision="fp32")}},
]


def test_students_are_pooled_over_the_folds_that_have_them():
    found = targets.pooled(FOLDS)
    assert list(found) == ["l3", "l2"]
    two = found["l2"]
    assert two["folds"] == [0, 2]
    assert two["pairs"] == {"both": 150, "ours": 15, "theirs": 20, "neither": 15}
    assert two["retained"]["value"] == pytest.approx(165 / 170)
    assert two["retained"]["low"] < 165 / 170 < two["retained"]["high"]
    assert two["accuracy"]["value"] == pytest.approx(165 / 200)
    assert two["teacher"]["value"] == pytest.approx(170 / 200)
    assert two["agreement"] == pytest.approx(0.85)
    assert two["seconds"] == 90
    assert two["precisions"] == ["fp32", "int8"]
    assert found["l3"]["retained"]["value"] == 1
    figures = {figure.id: figure for figure in targets.figures_of(found)}
    assert figures["distill.l2_retained"].value == pytest.approx(165 / 170)
    assert figures["distill.l2_retained"].n == 200
    assert list(figures["distill.l2_retained"].seeds) == [0, 2]
    assert list(figures["distill.l3_retained"].seeds) == [0]


def test_a_student_of_other_settings_is_another_student():
    old = {"fold": 1, "students": {"l2": student("l2", 1, 9, 90, 0, settings={"student": "layers=2"})}}
    assert targets.pooled([FOLDS[0], old, FOLDS[1]]) == targets.pooled(FOLDS)
    assert targets.pooled([old]) == {}


def test_the_table_of_the_family():
    found = targets.pooled(FOLDS)
    found["l3"]["retained"] = {"value": 1.0, "low": 0.96, "high": 1.0425}
    table = targets.family_table(found, {"distill.l3_speedup": {"value": 2.64}}).splitlines()
    kept = "100.00% (96.00% to 104.25%)"
    assert table[2] == f"| l3 | `{flags(FAMILY['l3'])}` | 0 | 12.3M | 5.0 | 90.00% | {kept} | 90.0% | 2.6 | 2.0 |"
    assert table[3].startswith(f"| l2 (fp32, int8) | `{flags(FAMILY['l2'])}` | 0, 2 | ")
    assert table[3].endswith(" | 85.0% |  | 1.5 |")


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"student": "layers=2", "train_embeddings": True}, "--student layers=2 --train-embeddings"),
        ({"objective": ("logit-mse", "relations=0.1")}, "--objective logit-mse --objective relations=0.1"),
        ({"initial_layers": (2, 5), "learning_rate": 3e-4}, "--initial-layers 2,5 --learning-rate 0.0003"),
    ],
)
def test_settings_are_shown_as_flags(settings, shown):
    assert flags(settings) == shown


def test_every_member_has_its_targets():
    named = {target.id for target in targets.TARGETS}
    assert {f"distill.{name}_{what}" for name in FAMILY for what in ("retained", "speedup")} < named


@pytest.fixture
def command(tmp_path):
    folder, app = tmp_path / "distill", typer.Typer()
    app.command()(targets.main)
    for one in FOLDS:
        pieces.write(folder / f"fold-{one['fold']}.json", [], **one)
    speedup = Figure("distill.l2_speedup", 4.0, "times", (3.9, 4.1), 40, (0,))
    pieces.write(folder / "speed.json", [speedup], noisy=True, p50_spread=0.377)
    page = tmp_path / "distill.md"
    shutil.copy(ROOT / "docs" / "distill.md", page)
    arguments = [str(folder), "--out", str(tmp_path / "distill.json"), "--page", str(page)]
    return lambda: CliRunner().invoke(app, arguments), folder, tmp_path / "distill.json", page


def test_the_command_judges_every_promise_and_writes_the_page(command):
    run, folder, out, page = command
    for _ in range(2):  # the pooled piece of before is no hindrance
        done = run()
        assert done.exit_code == 0, done.output
    judged = {figure["id"]: figure for figure in json.loads(out.read_text())["figures"]}
    assert list(judged) == [target.id for target in targets.TARGETS]
    assert judged["distill.l2_speedup"]["status"] == "met"
    assert judged["distill.l2_retained"]["status"] == "short"
    assert judged["distill.l2_retained"]["seeds"] == [0, 2]
    assert judged["distill.l2_minutes"]["status"] == "not measured"
    assert set(json.loads(out.read_text())["pieces"]) == {"fold-0", "fold-2", "pooled", "speed"}
    assert "distill.l2_speedup: 4.0 times, met" in done.output
    text = page.read_text(encoding="utf-8")
    assert "| distill.l2_speedup | 4 (3.9 to 4.1) times | ≥ 3.6 | met | `" in text
    assert "| l3 | `" in text
    family, _, rest = text.partition("<!-- table: distill-family -->")[2].partition("<!-- /table -->")
    assert "Speeds are of fold 0, on " in family
    busy = ". The machine was busy in that run: p50 spread of 38% between rounds."
    assert busy in family
    assert busy in rest.partition("<!-- table: distill -->")[2].partition("<!-- /table -->")[0]
    assert json.loads((folder / "pooled.json").read_text())["students"]["l3"]["folds"] == [0]


def test_what_is_no_piece_is_refused(command):
    run, folder, _, _ = command
    (folder / "fold-1.json").write_text("nonsense")
    done = run()
    assert done.exit_code == 2
    assert "fold-1.json: no piece of a measurement" in done.output
