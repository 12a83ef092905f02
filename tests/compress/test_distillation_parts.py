"""Distillation: what a student is fitted on, which texts it reads, and which teacher it is compared with."""

import pytest
import torch

from lilliput import models
from lilliput.compress import distillation

pytestmark = pytest.mark.usefixtures("quick_training")


def test_a_student_is_fitted_on_no_more_texts_than_memory_has_room_for(distil, save_teacher, monkeypatch):
    seen, source = [], save_teacher()
    original = distillation.students.build
    monkeypatch.setattr(
        distillation.students,
        "build",
        lambda *given, batches, **named: seen.append(batches) or original(*given, batches=batches, **named),
    )
    distil(source)
    monkeypatch.setattr(distillation, "FITTED_BYTES", 16 * sum(seen[0].lengths) * 16 // 2)  # hidden 16; half of all
    distil(source, seed=1)
    assert list(map(len, seen)) == [24, 12]


def test_an_objective_that_was_changed_is_another_one(distil, save_teacher, tmp_path, monkeypatch):
    source, file = save_teacher(), tmp_path / "loss_to_change.py"
    monkeypatch.syspath_prepend(tmp_path)
    file.write_text("def gap(student, teacher, **options):\n    return (student - teacher).abs().mean()\n")
    assert not distil(source, objective="loss_to_change:gap")["reused"]
    assert distil(source, objective="loss_to_change:gap")["reused"]
    file.write_text(file.read_text().replace("abs", "square"))
    assert not distil(source, objective="loss_to_change:gap")["reused"]


def test_the_unlabelled_file_of_a_folder_is_read_as_a_stream(distil, save_teacher, data, monkeypatch):
    kept = []
    original = distillation.distill_stage

    def spy(run, name, config, dataset, *more, **named):
        kept.append(len(dataset.transfer))
        return original(run, name, config, dataset, *more, **named)

    monkeypatch.setattr(distillation, "distill_stage", spy)
    assert distil(save_teacher())["texts"]["transfer"] == 10
    assert kept == [0]


def test_a_student_is_compared_with_the_teacher_that_counts_most(distil, save_teacher, monkeypatch):
    monkeypatch.setattr(distillation.teachers, "weigh", lambda *_: (0.2, 0.8))
    first, second = save_teacher(), save_teacher()
    model = models.load_finetuned_classifier(second)
    with torch.no_grad():
        model.classifier.bias[1] = 50.0  # says positive whatever it reads
    model.save_pretrained(second)
    result = distil(first, second)
    assert result["fidelity"]["teacher"]["value"] == pytest.approx(0.5)
