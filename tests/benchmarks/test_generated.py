"""Generated data: what the test set promises, rows that the tasks can read, and the command on a tiny model."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from random import Random

import pytest

pytest.importorskip("faker")

from typer.testing import CliRunner

from lilliput import tasks
from lilliput.benchmarks.training.generated import __main__ as command
from lilliput.benchmarks.training.generated import ner, ner_grammar, qa, relations, sentences, values
from lilliput.benchmarks.training.generated.sentences import Part
from lilliput.errors import DataError

SMALL = {"train": 400, "validation": 100, "test": 200}


@pytest.fixture(scope="module")
def made():
    return {"ner": ner.generate(0, SMALL), "qa": qa.generate(0, SMALL), "relation": relations.generate(0, SMALL)}


@pytest.mark.parametrize("name", ["ner", "qa", "relation"])
def test_no_template_and_no_string_of_the_test_set_occurs_elsewhere(made, name):
    parts = made[name]
    sentences.disjoint(parts)
    test = parts["test"]
    assert len(test.templates) >= 25
    assert len(test.strings) > 200
    earlier = parts["train"].templates | parts["validation"].templates
    assert not test.templates & earlier
    every = " ".join(sentences.plain(text) for part in ("train", "validation") for text in parts[part].texts)
    assert not [one for one in test.strings if re.search(rf"\b{re.escape(sentences.plain(one))}\b", every)]


@pytest.mark.parametrize("name", ["ner", "qa", "relation"])
def test_tasks_can_read_every_row(made, name):
    task = tasks.get(command.MEASUREMENTS[name].task)
    for part in made[name].values():
        for row in part.rows:
            named = {role: row.keys() & set(column.usual) for role, column in task.columns.items()}
            item, target = task.read({role: row[min(keys)] for role, keys in named.items() if keys})
            assert item
            assert target is not None


def test_whole_sets_are_large_and_varied():
    parts = ner.generate(1)
    assert len(parts["train"].rows) >= 3000
    assert len(parts["test"].rows) >= 3000
    assert sum(len(part.templates) for part in parts.values()) >= 100
    tags = Counter(tag for row in parts["test"].rows for tag in row["tags"])
    assert min(tags[f"B-{kind}"] for kind in ("PER", "LOC", "ORG", "DATE")) > 200
    texts = parts["train"].texts
    assert 0.2 < sum(text == text.lower() for text in texts) / len(texts) < 0.3
    sentences.disjoint(parts)


def test_the_grammar_makes_whole_templates_that_hardly_repeat():
    draw = Random(5)
    made = [ner_grammar.template(draw) for _ in range(1000)]
    assert len(set(made)) > 800
    assert not set(made) & set(ner.TEMPLATES["test"] + ner.TEMPLATES["validation"])
    for text in made:
        assert set(re.findall(r"{(.*?)}", text)) <= {"PER", "LOC", "ORG", "DATE", "thing", "job", "n"}
        assert not re.search(r"[<>]|,[,.;:?!]|  ", text), text
        assert text[0] in '{"' or text[0].isupper()
    assert ner_grammar.template(Random(2)) == ner_grammar.template(Random(2))


def test_questions_have_distractors_and_some_no_answer(made):
    rows = made["qa"]["test"].rows
    assert 0.15 < sum(not row["answers"]["text"] for row in rows) / len(rows) < 0.35
    for row in rows:
        for answer, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
            assert row["context"][start:].startswith(answer)
    assert sum(row["context"].count(".") for row in rows) / len(rows) > 3


def test_relations_go_both_ways(made):
    found = Counter(row["relation"] for row in made["relation"]["train"].rows)
    assert len(found) == 2 * 6 + 1 + 1
    assert min(found.values()) >= 10


def test_a_shared_template_or_string_is_refused():
    train = Part(texts=["Ann left Rome."], templates={"{PER} left {LOC}."}, strings={"Ann", "Rome"})
    sentences.disjoint({"train": train, "test": Part(texts=["x"], templates={"other"}, strings={"An"})})
    with pytest.raises(DataError, match="generated test: 'Rome' is also in the texts of an earlier part"):
        sentences.disjoint({"train": train, "test": Part(strings={"Rome"})})
    with pytest.raises(DataError, match=r"generated test: has the template '\{PER\} left \{LOC\}.' in common"):
        sentences.disjoint({"train": train, "test": Part(templates=set(train.templates))})


def test_the_same_seed_makes_the_same_strings_whatever_the_order_of_sets():
    code = (
        "import hashlib; from lilliput.benchmarks.training.generated import values;"
        "print(hashlib.sha256(repr(values.parts(3, frozenset({'long'}))).encode()).hexdigest())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in ("1", "2")
    }
    assert len(outputs) == 1
    assert values.parts(3, frozenset({"long"})) != values.parts(4, frozenset({"long"}))


def test_the_command_writes_a_figure(encoders, tiny, tmp_path, monkeypatch, quick_training):
    """The whole command, on little data and a tiny model: what it reaches counts for nothing here."""
    small = {"train": 60, "validation": 20, "test": 40}
    model = encoders.save(tmp_path / "model", "bert", tiny.tokenizer, layers=1)
    settings = {"model": str(model), "epochs": 1, "max_length": 40, "device": "cpu"}
    for name, generate in (("ner", ner.generate), ("qa", qa.generate), ("relation", relations.generate)):
        chosen = command.MEASUREMENTS[name]
        tiny = command.Measurement(chosen.figure, chosen.task, lambda seed, g=generate: g(seed, small), settings)
        monkeypatch.setitem(command.MEASUREMENTS, name, tiny)
        out = tmp_path / f"{name}.json"
        result = CliRunner().invoke(command.app, [name, "--out", str(out), "--work", str(tmp_path / "work")])
        assert result.exit_code == 0, result.output
        piece = json.loads(out.read_text())
        (figure,) = piece["figures"]
        assert figure["id"] == f"train.{name}_f1"
        assert figure["unit"] == "share"
        assert 0 <= figure["value"] <= 1
        assert figure["value"] == pytest.approx(piece["test"]["macro_f1" if name == "relation" else "f1"])
        assert figure["ci"][0] <= figure["value"] <= figure["ci"][1]
        assert figure["seeds"] == [0]
        assert figure["n"] == 40
    result = CliRunner().invoke(command.app, ["nonsense", "--out", str(tmp_path / "x.json")])
    assert result.exit_code == 2
    assert "expected one of ner, qa, relation" in result.output
