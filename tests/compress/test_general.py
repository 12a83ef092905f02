"""An encoder is distilled on raw text, and a student for a task starts from it."""

import json

import pytest
import torch

from lilliput import encoder, models, tasks
from lilliput.compress import distill
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError

pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.fixture
def corpus(encoders, tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(text for text, _ in encoders.rows(200)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def run(corpus, tmp_path):
    def run(teacher, **changes):
        settings = {"student": "layers=2", "epochs": 2, "batch_size": 8, "max_length": 16, "device": "cpu"}
        settings |= {"corpus": str(corpus), "objective": ("relations", "embeddings"), "learning_rate": 3e-3}
        names = teacher if isinstance(teacher, tuple) else str(teacher)
        return distill(DistillConfig(teacher=names, **{**settings, "out": tmp_path / "general", **changes}))

    return run


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["event"] == "train"]


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_a_general_student_is_an_encoder_that_comes_near_its_teacher(run, checkpoint, tmp_path, architecture):
    result = run(checkpoint(architecture), epochs=6)
    folder = tmp_path / "general" / "student"
    assert result["shape"]["layers"] == 2
    assert result["documents"] + result["held_out_documents"] == 200
    student = models.load_for(tasks.get("sentence-embedding"), folder, ())
    assert encoder.shape_of(student).layers == 2
    seen = losses(folder)
    assert seen[-1] < seen[0]
    assert run(checkpoint(architecture), epochs=6)["reused"]


def test_a_student_for_a_task_starts_from_it_with_the_teacher_s_head(run, checkpoint, encoders, tmp_path):
    run(checkpoint("bert"))
    data = encoders.data_set(tmp_path / "data")
    settings = {"epochs": 1, "batch_size": 8, "max_length": 16, "device": "cpu", "learning_rate": 1e-8}
    distill(
        DistillConfig(
            teacher=str(checkpoint("bert")),
            initial_model=str(tmp_path / "general/student"),
            student="layers=2",
            data=str(data),
            out=tmp_path / "task",
            **settings,
        )
    )
    general = models.load_for(tasks.get("sentence-embedding"), tmp_path / "general/student", ())
    student = models.load_finetuned_classifier(tmp_path / "task/student")
    teacher = models.load_finetuned_classifier(checkpoint("bert"))
    for ours, theirs in zip(encoder.blocks_of(student), encoder.blocks_of(general), strict=True):
        assert torch.allclose(ours.query.weight, theirs.query.weight, atol=1e-5)  # hardly trained
    assert torch.allclose(student.classifier.weight, teacher.classifier.weight, atol=1e-5)
    assert torch.allclose(student.bert.pooler.dense.weight, teacher.bert.pooler.dense.weight, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": ("logit-mse",)}, "--objective logit-mse: compares predictions"),
        ({"stage": ("embeddings",)}, "--stage: one is enough"),
        ({"teacher": ("a", "b")}, "--teacher: one is enough"),
        ({"student": "layers=x"}, "--student layers=x"),
        ({"initial_model": "assistant"}, "--initial-model assistant: has no part"),
        ({"rounding": "int8"}, "--rounding int8: has no part"),
        ({"augment": 2}, "--augment 2: has no part"),
        ({"data": "mine.csv"}, "--data mine.csv: has no part"),
        ({"task": "regression"}, "--task regression: has no part"),
        ({"reconstruct": False}, "--no-reconstruct: has no part"),
        ({"student": "static"}, "--student static: has no layers like the teacher's"),
        ({"mapping": "frst"}, "--mapping frst: unknown"),
    ],
)
def test_what_does_not_fit_is_refused(run, checkpoint, changes, message):
    with pytest.raises(ConfigError, match=message):
        run(**{"teacher": checkpoint("bert"), **changes})
