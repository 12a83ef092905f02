"""The family on one fold of tiny models: what is made, once; what is counted; what a piece keeps."""

import json
import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import lilliput
from lilliput.benchmarks.distillation import students
from lilliput.benchmarks.folds import BUNDLE
from lilliput.errors import ConfigError


def right(bundle, precision, split):
    """Which texts a bundle answers rightly, by the labels that an app sees."""
    model = lilliput.load(bundle, precision=precision)
    names = [answer["label"] for answer in model(split.texts)]
    return np.array([model.labels.index(name) == gold for name, gold in zip(names, split.labels, strict=True)])


def test_a_fold_is_measured_pair_by_pair(fold, pretended):
    with fold() as one:
        found = students.measure(one, ["l2"])
        test = one.dataset.test
        ours = right(one.bundle("l2").folder / BUNDLE, "int8", test)
        theirs = right(one.teacher_bundle().folder / BUNDLE, "fp32", test)
    assert pretended.trained == ["r-drop"]
    assert pretended.exported == [("teacher", ("fp32",)), ("l2", ("fp32", "int8"))]
    student = found["students"]["l2"]
    assert student["pairs"] == {
        "both": int((ours & theirs).sum()),
        "ours": int((ours & ~theirs).sum()),
        "theirs": int((~ours & theirs).sum()),
        "neither": int((~ours & ~theirs).sum()),
    }
    assert student["accuracy"]["value"] == ours.mean()
    assert found["teacher"]["accuracy"]["value"] == theirs.mean()
    assert found["n_test"] == 8
    assert student["precision"] == "int8"
    assert student["refused"] is None
    assert [one["precision"] for one in student["parity"]] == ["fp32", "int8"]
    assert student["texts"] == {"labelled": 24, "transfer": 10, "all": 34}
    assert set(student["fidelity"]["ece"]) == {"student", "teacher"}
    assert json.loads(json.dumps(found)) == found


def test_what_is_there_is_not_made_again(fold, pretended):
    with fold() as one:
        students.measure(one, ["l2"])
        before = one.student("l2").folder.stat().st_mtime_ns
    exported = list(pretended.exported)
    with fold() as again:
        students.measure(again, ["l2"])
        assert again.student("l2").reused
        assert again.student("l2").folder.stat().st_mtime_ns == before
        stores = [path for path in (again.run.folder / "teacher-outputs").iterdir() if path.is_dir()]
        assert len(stores) in (1, 2)  # shared by the students; in two precisions with fast bfloat16
    assert pretended.exported == exported


def test_a_student_without_int8_is_measured_in_fp32_and_says_so(fold, pretended):
    pretended.refused = "l2"
    with fold() as one:
        student = students.measure(one, ["l2"])["students"]["l2"]
        ours = right(one.bundle("l2").folder / BUNDLE, "fp32", one.dataset.test)
    assert student["precision"] == "fp32"
    assert student["refused"].startswith("l2: the int8 graph agrees with the torch model on 90.00%")
    assert student["accuracy"]["value"] == ours.mean()
    assert pretended.exported[1:] == [("l2", ("fp32", "int8")), ("l2", ("fp32",))]


def test_no_such_fold(fold):
    with pytest.raises(ConfigError, match=r"--fold 3: expected one of 0, 1, 2"):
        fold(3)


@pytest.fixture
def command(fold, monkeypatch, tmp_path):
    """Runs the command on the tiny fold; what it gave, and where the piece is."""
    monkeypatch.setattr(students, "Fold", fold)
    app, out = typer.Typer(), tmp_path / "fold-0.json"
    app.command()(students.main)

    def run(*arguments):
        return CliRunner().invoke(app, ["--fold", "0", "--out", str(out), *arguments]), out

    return run


def test_with_only_the_piece_keeps_the_others_in_the_order_of_the_family(command, pretended):
    done, out = command("--only", "l2")
    assert done.exit_code == 0, done.output
    assert re.search(r"l2: int8 0\.\d{4}, agreement \d\.\d{4}$", done.output, re.MULTILINE)
    first = json.loads(out.read_text())
    done, _ = command("--only", "l3")
    assert done.exit_code == 0, done.output
    second = json.loads(out.read_text())
    assert list(second["students"]) == ["l3", "l2"]
    assert second["students"]["l2"] == first["students"]["l2"]
    assert second["figures"] == []
    assert second["fold"] == 0


def test_a_piece_of_another_teacher_is_not_mixed_in(command):
    _, out = command("--only", "l3")
    piece = json.loads(out.read_text())
    piece["teacher"]["fingerprint"] = "another"
    out.write_text(json.dumps(piece))
    done, _ = command("--only", "l3")
    assert done.exit_code == 2
    assert "measured on another fold or with another teacher" in done.output
    out.write_text("{}")
    done, _ = command("--only", "l3")
    assert "no piece of this command" in done.output


def test_an_unknown_student_is_refused(command):
    done, _ = command("--only", "l3,l9")
    assert done.exit_code == 2
    assert "error: --only: 'l9' is unknown; known are l3, l2, l1, seq, static" in done.output
