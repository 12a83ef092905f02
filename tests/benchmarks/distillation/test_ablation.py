"""Variants of a student: what each changes, what is compared, and what the piece keeps."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lilliput import models, statistics
from lilliput.benchmarks.distillation import ablation
from lilliput.benchmarks.distillation.ablation import BASE, VARIANTS, Answers
from lilliput.benchmarks.pairs import Pairs
from lilliput.compress.distillation import check
from lilliput.config import DistillConfig
from lilliput.train.evaluate import logits_of


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_configuration(name, tmp_path):
    variant = VARIANTS[name]
    settings = {**ablation.SETTINGS, **variant.changes, "teacher": variant.teachers, "out": tmp_path}
    check(DistillConfig(**settings))
    assert name == BASE or variant != VARIANTS[BASE]


@pytest.fixture
def small(monkeypatch):
    """The tiny teacher has three layers, and a student starts from one of them."""
    monkeypatch.setattr(ablation, "SETTINGS", {"student": "layers=1", "augment": 1})


def test_rows_compare_with_the_base_on_the_same_texts(fold, small, pretended):
    with fold() as one:
        rows = ablation.measure(one, ["no-transfer", "augment-2", "two-teachers"], 1)
        folder, test = one.run.folder / "ablation-augment-2", one.dataset.test
        logits = logits_of(models.load_finetuned_classifier(folder), models.load_tokenizer(folder), test.texts, 16)
        base_hits = Answers(one).of(one.run.folder / "ablation-base")[1]
    assert list(rows) == ["base", "no-transfer", "augment-2", "two-teachers"]
    hits = logits.argmax(axis=1) == np.array(test.labels)
    assert Pairs.read(rows["augment-2"]["pairs"]) == Pairs.of(hits, base_hits)
    difference = statistics.difference(hits, base_hits)
    assert rows["augment-2"]["difference"]["value"] == pytest.approx(difference.value)
    assert rows["base"]["pairs"]["ours"] == rows["base"]["pairs"]["theirs"] == 0
    assert rows["base"]["texts"] == {"labelled": 24, "transfer": 10, "augmented": 24, "all": 58}
    assert rows["no-transfer"]["texts"] == {"labelled": 24, "augmented": 24, "all": 48}
    assert rows["augment-2"]["texts"]["augmented"] == 48
    assert sorted(pretended.trained) == ["base", "r-drop"]
    assert all(0 <= row["agreement"] <= 1 for row in rows.values())


@pytest.fixture
def command(fold, small, monkeypatch, tmp_path):
    monkeypatch.setattr(ablation, "Fold", fold)
    monkeypatch.setattr(ablation, "measure", lambda fold, names, epochs: {name: {"of": fold.number} for name in names})
    app, out = typer.Typer(), tmp_path / "ablation.json"
    app.command()(ablation.main)

    def run(*arguments):
        return CliRunner().invoke(app, ["--out", str(out), *arguments]), out

    return run


def test_the_piece_keeps_what_was_measured_before(command):
    for fold, variants in (("0", "base,online"), ("1", "base"), ("0", "relations,online")):
        done, out = command("--fold", fold, "--variants", variants, "--epochs", "2")
        assert done.exit_code == 0, done.output
    piece = json.loads(out.read_text())
    assert piece["base"] == {"student": "layers=1", "augment": 1, "epochs": 2}
    assert piece["folds"] == {
        "0": {"base": {"of": 0}, "online": {"of": 0}, "relations": {"of": 0}},
        "1": {"base": {"of": 1}},
    }


def test_other_bases_and_unknown_variants_are_refused(command):
    _, out = command("--fold", "0", "--variants", "base", "--epochs", "2")
    done, _ = command("--fold", "0", "--variants", "base", "--epochs", "3")
    assert done.exit_code == 2
    assert "measured with another base (--student layers=1 --augment 1 --epochs 2)" in done.output
    done, _ = command("--fold", "0", "--variants", "base,onlin")
    assert "--variants: 'onlin' is unknown; known are base, soft-targets" in done.output
    out.write_text("[]")
    done, _ = command("--fold", "0", "--variants", "base")
    assert "no piece of this command" in done.output


def test_the_table_pools_the_folds():
    """Of 200 texts the variant alone is right on 6, the base alone on 2: a difference of 4 in 200."""

    def row(validation, ours, theirs, seconds):
        pairs = {"both": 80, "ours": ours, "theirs": theirs, "neither": 20 - ours - theirs}
        return {"validation": validation, "agreement": 0.9, "pairs": pairs, "seconds": seconds}

    folds = {
        "0": {"base": row(0.85, 0, 0, 60), "no-transfer": row(0.8, 4, 2, 30), "relations": row(0.8, 0, 1, 60)},
        "1": {"base": row(0.87, 0, 0, 60), "no-transfer": row(0.9, 2, 0, 60)},
    }
    lines = ablation.table(folds).splitlines()
    assert lines[2] == "| base |  | 0, 1 | 86.00% | 90.00% |  | 1.0 |"
    assert lines[3].startswith(
        "| relations | `--objective logit-mse --objective relations=0.1` | 0 | 80.00% | 90.00% |"
    )
    assert lines[4].startswith("| no-transfer | without the unlabelled texts | 0, 1 | 85.00% | 90.00% | +2.00 (")
    assert lines[4].endswith(") points | 0.8 |")
    assert len(lines) == 5
