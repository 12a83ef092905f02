"""Distillation: what is mixed into the loss, whose labels are whose, and what comes out."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lilliput import encoder, models
from lilliput.compress import distill, distillation, objectives
from lilliput.compress.distillation import NO_LABEL, DistillationLoss
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError, ModelError
from lilliput.train.evaluate import logits_of

pytestmark = pytest.mark.usefixtures("quick_training")

STUDENT = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
TEACHER = torch.tensor([[1.0, -1.0], [2.0, 0.0], [0.0, 3.0]])
SOFT = (1 + 1 + 0 + 0 + 0 + 4) / 6  # mean squared difference of the logits


def loss(weight, labels, objective="logit-mse", temperature=1.0):
    def model(**inputs):
        assert set(inputs) == {"input_ids"}
        return SimpleNamespace(logits=STUDENT)

    batch = {"input_ids": torch.zeros(3, 4), "teacher_logits": TEACHER.clone(), "labels": torch.tensor(labels)}
    return DistillationLoss(objectives.get(objective), temperature, weight)(model, batch).item()


# --- the loss --------------------------------------------------------------------------------------------------------


def test_without_weight_labels_do_not_count():
    assert loss(0.0, [0, 1, 1]) == loss(0.0, [1, 0, 0]) == pytest.approx(SOFT)


def test_hard_labels_are_mixed_in_by_their_weight():
    # Cross-entropies: log 2; label 1 of (2, 0): log(1 + e^2); label 1 of (0, 1): log(1 + e^-1).
    hard = (np.log(2) + np.log1p(np.exp(2)) + np.log1p(np.exp(-1))) / 3
    assert loss(1.0, [0, 1, 1]) == pytest.approx(hard)
    assert loss(0.25, [0, 1, 1]) == pytest.approx(0.75 * SOFT + 0.25 * hard)


def test_texts_without_a_label_count_in_the_soft_part_only():
    hard = np.log1p(np.exp(-1))  # of the third text alone
    assert loss(0.25, [NO_LABEL, NO_LABEL, 1]) == pytest.approx(0.75 * SOFT + 0.25 * hard)


def test_a_batch_without_labels_has_the_soft_part_alone():
    assert loss(0.25, [NO_LABEL] * 3) == pytest.approx(SOFT)


def test_objective_and_temperature_are_passed_on():
    expected = objectives.get("soft-targets")(STUDENT, TEACHER, 3.0).item()
    assert loss(0.0, [0, 1, 1], "soft-targets", 3.0) == pytest.approx(expected)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def data(encoders, tmp_path):
    return encoders.data_set(tmp_path / "data")


@pytest.fixture
def teacher(encoders, tiny, tmp_path):
    def save(**changes):
        folder = tmp_path / "teacher-{}".format(len(list(tmp_path.glob("teacher-*"))))
        return encoders.save(folder, changes.pop("architecture", "bert"), tiny.tokenizer, **changes)

    return save


@pytest.fixture
def run(data, tmp_path):
    def run(teacher, out="out", **changes):
        settings = {"student": "layers=2", "epochs": 1, "batch_size": 8, "max_length": 16, "device": "cpu"}
        settings |= {"data": str(data), "out": tmp_path / out, "learning_rate": 1e-3}
        return distill(DistillConfig(teacher=str(teacher), **{**settings, **changes}))

    return run


def accuracy_by_name(folder, rows):
    """Accuracy of a saved model, worked out with the names of the labels only."""
    model, tokenizer = models.load_finetuned_classifier(folder), models.load_tokenizer(folder)
    logits = logits_of(model, tokenizer, [text for text, _ in rows], 16)
    names = models.labels_of(model)
    return np.mean([names[best] == label for best, (_, label) in zip(logits.argmax(axis=1), rows, strict=True)])


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_a_student_of_every_architecture(run, teacher, encoders, tmp_path, architecture):
    result = run(teacher(architecture=architecture))
    student = models.load_finetuned_classifier(tmp_path / "out" / "student")
    assert encoder.shape_of(student).layers == 2
    assert result["initial_layers"] == (0, 2)  # of 3
    assert result["shape"] == {"layers": 2, "hidden": 16, "heads": 2, "ffn": 24, "vocabulary": 512}
    # The 10 unlabelled texts of the data folder are transfer text.
    assert result["texts"] == {"labelled": 24, "transfer": 10, "all": 34}
    assert result["test_accuracy"] == pytest.approx(accuracy_by_name(tmp_path / "out/student", encoders.rows(8, 32)))
    assert result["n_test"] == 8
    saved = json.loads((tmp_path / "out/student/result.json").read_text())
    assert saved["initial_layers"] == [0, 2]
    assert not (tmp_path / "out/student/checkpoints").exists()


@pytest.mark.parametrize("names", [("positive", "negative"), ("Positive", "NEGATIVE")])
def test_a_teacher_whose_labels_are_in_another_order(run, teacher, encoders, tmp_path, names):
    result = run(teacher(labels=names), hard_label_weight=0.5, epochs=2)
    student = models.load_finetuned_classifier(tmp_path / "out" / "student")
    assert models.labels_of(student) == names
    rows = [(text, {"positive": names[0], "negative": names[1]}[label]) for text, label in encoders.rows(8, 32)]
    assert result["test_accuracy"] == pytest.approx(accuracy_by_name(tmp_path / "out/student", rows))


def test_labels_and_teacher_s_logits_reach_the_loss_in_the_teacher_s_order(run, teacher, encoders, monkeypatch):
    seen = []

    def spy(self, model, batch):
        seen.extend(zip(batch["labels"].tolist(), batch["teacher_logits"].tolist(), strict=True))
        return original(self, model, batch)

    original = DistillationLoss.__call__
    monkeypatch.setattr(DistillationLoss, "__call__", spy)
    source = teacher(labels=("positive", "negative"))
    run(source, augment=1)
    labels = [label for label, _ in seen]
    # 12 texts of each label; 10 transfer texts and 24 augmented ones have none. Negative is the teacher's second label.
    assert (labels.count(0), labels.count(1), labels.count(NO_LABEL)) == (12, 12, 34)
    model, tokenizer = models.load_finetuned_classifier(source), models.load_tokenizer(source)
    for text, label in encoders.rows(24):
        expected = logits_of(model, tokenizer, [text], 16)[0]
        nearest = min(seen, key=lambda pair: np.abs(np.array(pair[1]) - expected).max() + (pair[0] == NO_LABEL))
        assert np.abs(np.array(nearest[1]) - expected).max() < 0.05  # the teacher may have read in bfloat16
        assert nearest[0] == {"positive": 0, "negative": 1}[label]


def test_a_teacher_that_never_got_label_names_takes_the_data_s(run, teacher, encoders, tmp_path):
    result = run(teacher(labels=None))
    student = models.load_finetuned_classifier(tmp_path / "out" / "student")
    assert models.labels_of(student) == ("negative", "positive")
    assert result["test_accuracy"] == pytest.approx(accuracy_by_name(tmp_path / "out/student", encoders.rows(8, 32)))


def test_a_student_comes_near_its_teacher(run, teacher):
    one = run(teacher(), out="one", epochs=1, learning_rate=1e-6, student="layers=3")
    assert one["validation_agreement"] == 1.0  # all layers of the teacher, hardly changed
    far = run(teacher(seed=5), out="far", epochs=1, learning_rate=1e-6, student="layers=1")
    near = run(teacher(seed=5), out="near", epochs=12, learning_rate=5e-3, student="layers=1", augment=1)
    assert near["validation_agreement"] >= far["validation_agreement"]
    assert near["texts"]["all"] == 58


@pytest.mark.parametrize("trained", [False, True])
def test_word_embeddings_stay_the_teacher_s_unless_they_are_trained(run, teacher, tmp_path, trained):
    source = teacher()
    run(source, train_embeddings=trained)
    student = models.load_finetuned_classifier(tmp_path / "out" / "student")
    theirs = encoder.word_embeddings_of(models.load_finetuned_classifier(source)).weight
    assert torch.equal(encoder.word_embeddings_of(student).weight, theirs) is not trained
    assert not torch.equal(student.classifier.weight, models.load_finetuned_classifier(source).classifier.weight)


def test_the_same_command_again_does_nothing_and_another_setting_reuses_the_teacher_s_outputs(
    run, teacher, monkeypatch
):
    source, read = teacher(), []
    original = distillation.teacher_logits.__globals__["logits_of"]

    def counted(*args, **options):
        read.append(1)
        return original(*args, **options)

    monkeypatch.setitem(distillation.teacher_logits.__globals__, "logits_of", counted)
    first = run(source)
    assert (first["reused"], len(read)) == (False, 1)
    assert run(source)["reused"]
    assert not run(source, temperature=2.0, objective="soft-targets")["reused"]
    assert len(read) == 1


def test_a_teacher_elsewhere_with_the_same_weights_is_the_same_teacher(run, teacher, tmp_path):
    source = teacher()
    run(source)
    source.rename(tmp_path / "moved")
    assert run(tmp_path / "moved")["reused"]


def test_what_does_not_fit_is_refused(run, teacher, encoders, tmp_path):
    source = teacher()
    with pytest.raises(ConfigError, match="--student width=3: must be layers=N"):
        run(source, student="width=3")
    with pytest.raises(ConfigError, match="--objective mse: unknown; known are logit-mse, soft-targets"):
        run(source, objective="mse")
    with pytest.raises(ConfigError, match="--max-length 41: this model reads at most 40 tokens"):
        run(source, max_length=41)
    with pytest.raises(ModelError, match=r"teacher-1: its labels are a, b, but the data's are negative, positive"):
        run(teacher(labels=("a", "b")))
    with pytest.raises(ModelError, match="no such folder"):
        run(tmp_path / "nowhere")
