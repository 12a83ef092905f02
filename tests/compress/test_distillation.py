"""Distillation: whose labels are whose, what reaches the loss, what is done again, and what comes out."""

import json
import shutil

import numpy as np
import pytest
import torch
from filelock import FileLock

from lilliput import encoder, models
from lilliput.compress import teachers
from lilliput.compress.distillation import distill_stage
from lilliput.compress.distillation_loss import DistillationLoss
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError, DataError, ModelError, RunError
from lilliput.runs import Run
from lilliput.tasks import IGNORED
from lilliput.train import sources
from lilliput.train.evaluate import logits_of

pytestmark = pytest.mark.usefixtures("quick_training")


def student_of(tmp_path, out="out"):
    return models.load_finetuned_classifier(tmp_path / out / "student")


def accuracy_by_name(folder, rows):
    """Accuracy of a saved model, worked out with the names of the labels only."""
    model, tokenizer = models.load_finetuned_classifier(folder), models.load_tokenizer(folder)
    logits = logits_of(model, tokenizer, [text for text, _ in rows], 16)
    names = models.labels_of(model)
    return np.mean([names[best] == label for best, (_, label) in zip(logits.argmax(axis=1), rows, strict=True)])


@pytest.fixture
def seen(monkeypatch):
    """Label and teacher's output of every row that reaches the loss, and its text's token ids."""
    rows = []

    def spy(self, model, batch):
        ids = [[i for i, there in zip(*row, strict=True) if there] for row in _pairs(batch)]
        rows.extend(zip(ids, batch["labels"].tolist(), batch["teacher"].tolist(), strict=True))
        return original(self, model, batch)

    original = DistillationLoss.__call__
    monkeypatch.setattr(DistillationLoss, "__call__", spy)
    return rows


def _pairs(batch):
    return zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True)


@pytest.fixture
def read(monkeypatch):
    """The numbers of windows that teachers read, a number a time; training is left out."""
    counts = []

    def counted(model, tokenizer, windows, **options):
        counts.append(len(windows))
        return original(model, tokenizer, windows, **options)

    original = teachers.outputs_of
    monkeypatch.setattr(teachers, "outputs_of", counted)
    return counts


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_a_student_of_every_architecture(distil, save_teacher, encoders, tmp_path, architecture):
    teacher = save_teacher(architecture)
    result = distil(teacher)
    folder = tmp_path / "out/student"
    assert encoder.shape_of(student_of(tmp_path)).layers == 2
    assert result["initial_layers"] == (0, 2)  # of 3
    assert result["shape"] == {"layers": 2, "hidden": 16, "heads": 2, "ffn": 24, "vocabulary": 512}
    assert result["parameters"] == sum(weight.numel() for weight in student_of(tmp_path).parameters())
    assert result["teachers"] == {str(teacher): 1.0}
    # The 10 unlabelled texts of the data folder are transfer text.
    assert result["texts"] == {"labelled": 24, "transfer": 10, "all": 34}
    assert result["test"]["accuracy"] == pytest.approx(accuracy_by_name(folder, encoders.rows(8, 32)))
    assert result["validation"]["accuracy"] == pytest.approx(accuracy_by_name(folder, encoders.rows(8, 24)))
    assert result["n_test"] == result["fidelity"]["n"] == 8
    assert result["fidelity"]["teacher"]["value"] == pytest.approx(accuracy_by_name(teacher, encoders.rows(8, 32)))
    assert result["fidelity"]["student"]["value"] == pytest.approx(result["test"]["accuracy"])
    saved = json.loads((folder / "result.json").read_text())
    assert saved["initial_layers"] == [0, 2]
    assert (folder / "departures.csv").exists()
    assert not (folder / "checkpoints").exists()


@pytest.mark.parametrize("names", [("positive", "negative"), ("Positive", "NEGATIVE")])
def test_a_teacher_whose_labels_are_in_another_order(distil, save_teacher, encoders, tmp_path, names):
    teacher = save_teacher(labels=names)
    result = distil(teacher, hard_label_weight=0.5, epochs=2)
    assert models.labels_of(student_of(tmp_path)) == names[::-1]  # the data's order
    rows = [(text, {"positive": names[0], "negative": names[1]}[label]) for text, label in encoders.rows(8, 32)]
    assert result["test"]["accuracy"] == pytest.approx(accuracy_by_name(tmp_path / "out/student", rows))
    assert result["fidelity"]["teacher"]["value"] == pytest.approx(accuracy_by_name(teacher, rows))


def test_a_teacher_that_never_got_label_names_takes_the_data_s(distil, save_teacher, encoders, tmp_path):
    result = distil(save_teacher(labels=None))
    assert models.labels_of(student_of(tmp_path)) == ("negative", "positive")
    assert result["test"]["accuracy"] == pytest.approx(accuracy_by_name(tmp_path / "out/student", encoders.rows(8, 32)))


def test_labels_and_teacher_s_outputs_reach_the_loss_for_the_right_text(distil, save_teacher, encoders, seen):
    source = save_teacher(labels=("positive", "negative"))
    distil(source, augment=1)
    labels = [label for _, label, _ in seen]
    # 12 texts of each label; 10 transfer texts and 24 changed copies have none.
    assert (labels.count(0), labels.count(1), labels.count(IGNORED)) == (12, 12, 34)
    model, tokenizer = models.load_finetuned_classifier(source), models.load_tokenizer(source)
    rows = encoders.rows(24)
    expected = logits_of(model, tokenizer, [text for text, _ in rows], 16)[:, ::-1]  # in the data's order
    for (text, label), logits in zip(rows, expected, strict=True):
        ids = tokenizer(text, truncation=True, max_length=16)["input_ids"]
        found = next(row for row in seen if row[0] == ids and row[1] != IGNORED)
        assert found[1] == ("negative", "positive").index(label)
        assert np.abs(np.array(found[2]) - logits).max() < 0.05  # the teacher may have read in bfloat16


def test_a_larger_student_can_be_where_a_smaller_one_starts(distil, save_teacher, tmp_path):
    source = save_teacher()
    distil(source, out="large", student="layers=3")
    large = tmp_path / "large/student"
    result = distil(source, out="small", student="layers=1", initial_model=str(large), learning_rate=1e-12)
    assert result["initial_layers"] == (1,)
    ours = encoder.blocks_of(student_of(tmp_path, "small"))[0]
    theirs = encoder.blocks_of(student_of(tmp_path, "large"))[1]
    assert torch.allclose(ours.query.weight, theirs.query.weight, atol=1e-6)
    other = save_teacher(labels=("a", "b"))
    with pytest.raises(ModelError, match=r"--initial-model .*teacher-1: its labels are not the teacher's"):
        distil(source, out="other", initial_model=str(other))


# --- what training does ----------------------------------------------------------------------------------------------


def test_a_student_comes_near_its_teacher(distil, save_teacher):
    one = distil(save_teacher(), out="one", learning_rate=1e-6, student="layers=3")
    assert one["fidelity"]["agreement"]["value"] == 1.0  # all layers of the teacher, hardly changed
    source = save_teacher(seed=5)
    far = distil(source, out="far", learning_rate=1e-6, student="layers=1")
    near = distil(source, out="near", epochs=12, learning_rate=5e-3, student="layers=1", augment=1)
    loyal = [some["fidelity"]["probability_loyalty"]["value"] for some in (far, near)]
    assert loyal[1] > loyal[0]
    assert near["texts"]["all"] == 58


def test_the_epoch_that_is_nearest_to_the_teacher_is_kept(distil, save_teacher, tmp_path):
    source = save_teacher()
    result = distil(source, epochs=3, learning_rate=0.3)
    log = [json.loads(line) for line in (tmp_path / "out/student/log.jsonl").read_text().splitlines()]
    measured = [line for line in log if line["event"] == "validation"]
    assert [line["epoch"] for line in measured] == [1, 2, 3]
    assert result["best_epoch"] == max(measured, key=lambda line: line["score"])["epoch"]
    best = next(line for line in measured if line["epoch"] == result["best_epoch"])
    tokenizer = models.load_tokenizer(source)
    texts = [cells.split(",")[0] for cells in (tmp_path / "data/validation.csv").read_text().splitlines()[1:]]
    ours, theirs = (
        logits_of(model, tokenizer, texts, 16)
        for model in (student_of(tmp_path), models.load_finetuned_classifier(source))
    )
    apart = ours - theirs
    apart -= apart.mean(axis=1, keepdims=True)  # what is added to all logits decides nothing
    assert best["score"] == pytest.approx(-np.square(apart).mean(), rel=0.05)  # bfloat16, perhaps
    assert best["agreement"] == pytest.approx((ours.argmax(1) == theirs.argmax(1)).mean())


@pytest.mark.parametrize("trained", [False, True])
def test_word_embeddings_stay_the_teacher_s_unless_they_are_trained(distil, save_teacher, tmp_path, trained):
    source = save_teacher()
    distil(source, train_embeddings=trained, stage=("hidden-states",))
    theirs = models.load_finetuned_classifier(source)
    ours, before = (encoder.word_embeddings_of(model).weight for model in (student_of(tmp_path), theirs))
    assert torch.equal(ours, before) is not trained
    assert not torch.equal(student_of(tmp_path).classifier.weight, theirs.classifier.weight)


def test_stages_follow_each_other(distil, save_teacher, tmp_path):
    told = []
    distil(
        save_teacher(),
        stage=("hidden-states,embeddings,epochs=2", "relations=0.5,learning-rate=1e-2"),
        progress=lambda done, total, what: told.append(what),
    )
    folder = tmp_path / "out/student"
    logs = [
        [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for name in ("log-stage-1.jsonl", "log-stage-2.jsonl", "log.jsonl")
    ]
    assert [sum(line["event"] == "validation" for line in log) for log in logs] == [2, 1, 1]
    assert [("agreement" in log[-1]) for log in logs] == [False, False, True]
    firsts = [what for i, what in enumerate(told) if what not in told[:i]]
    assert [what.split(", ")[-2:] for what in firsts if "epoch" in what] == [
        ["stage 1", "epoch 1"],
        ["stage 1", "epoch 2"],
        ["stage 2", "epoch 1"],
        ["student", "epoch 1"],
    ]


def test_a_stage_begins_with_what_the_one_before_has_learnt(distil, save_teacher, tmp_path):
    """A last stage without steps worth the name leaves what a first one has learnt of the teacher's layers."""
    source = save_teacher()
    idle = {"learning_rate": 1e-12, "student": "layers=1", "reconstruct": False}
    distil(source, out="without", **idle)
    distil(source, out="with", stage=("hidden-states,learning-rate=1e-2,epochs=4",), mapping="last", **idle)
    tokenizer, teacher = models.load_tokenizer(source), models.load_finetuned_classifier(source)
    batch = tokenizer("the film was a joy", return_tensors="pt")
    with torch.no_grad():
        wanted = teacher(**batch, output_hidden_states=True).hidden_states[-1]
        far, near = (
            (student_of(tmp_path, out)(**batch, output_hidden_states=True).hidden_states[-1] - wanted).square().mean()
            for out in ("without", "with")
        )
    assert near < 0.7 * far


def test_projections_go_on_in_the_next_stage(distil, save_teacher, monkeypatch):
    seen = []
    original = DistillationLoss.go_on

    def spy(self, beside):
        fresh = self.matching.hidden.weight.clone()
        original(self, beside)
        seen.append((fresh, beside["hidden.weight"], self.matching.hidden.weight.clone()))

    monkeypatch.setattr(DistillationLoss, "go_on", spy)
    narrow = {"student": "layers=2,hidden=8,ffn=12", "objective": ("logit-mse", "hidden-states")}
    distil(save_teacher(), **narrow, stage="hidden-states,learning-rate=1e-2")
    ((fresh, kept, now),) = seen
    assert torch.equal(kept, now)
    assert not torch.allclose(fresh, now, atol=1e-2)
    assert (kept.T @ kept - torch.eye(8)).abs().max() > 1e-3  # it was orthonormal, and has been trained


def test_online_changes_need_no_reading_beforehand(distil, save_teacher, read, tmp_path):
    distil(save_teacher(), augment_online=0.5)
    assert read == [8, 8]  # validation, for the distance to the teacher; the test, for the fidelity in the end
    assert student_of(tmp_path).config.num_labels == 2


# --- again -----------------------------------------------------------------------------------------------------------


def test_the_same_command_again_does_nothing(distil, save_teacher, read):
    source = save_teacher()
    assert not distil(source)["reused"]
    read.clear()
    assert distil(source)["reused"]
    assert read == []


def test_another_setting_reuses_the_teacher_s_outputs_and_only_new_texts_are_read(distil, save_teacher, read):
    source = save_teacher()
    distil(source)
    assert sum(read) == 24 + 10 + 8 + 8  # training, transfer, validation, test
    read.clear()
    assert not distil(source, temperature=2.0, objective="soft-targets")["reused"]
    assert not distil(source, student="layers=1", seed=1)["reused"]
    assert read == []
    distil(source, augment=1)
    assert len(read) == 1
    assert 0 < read[0] <= 24  # changed copies can be equal to each other, or to a text that is there
    read.clear()
    distil(source, augment=2)  # the first copies are the same as before
    assert len(read) == 1
    assert 0 < read[0] <= 24


def test_a_teacher_or_a_file_elsewhere_with_the_same_content_is_the_same(distil, save_teacher, tmp_path):
    source, extra = save_teacher(), tmp_path / "more.txt"
    extra.write_text("an unheard of film\n", encoding="utf-8")
    assert distil(source, unlabelled=extra)["texts"]["transfer"] == 11
    source.rename(tmp_path / "moved")
    extra.rename(tmp_path / "moved.txt")
    assert distil(tmp_path / "moved", unlabelled=tmp_path / "moved.txt")["reused"]
    (tmp_path / "moved.txt").write_text("an unheard of movie\n", encoding="utf-8")
    assert not distil(tmp_path / "moved", unlabelled=tmp_path / "moved.txt")["reused"]


def test_students_of_one_run_share_the_teacher_s_outputs(save_teacher, data, read, tmp_path):
    settings = {"data": str(data), "epochs": 1, "max_length": 16, "device": "cpu", "out": tmp_path / "out"}
    source = save_teacher()
    with Run(tmp_path / "out", "distill") as run:
        for layers in (1, 2):
            config = DistillConfig(teacher=str(source), student=f"layers={layers}", **settings)
            distill_stage(run, f"student-l{layers}", config, sources.load(config))
            assert bool(read) is (layers == 1)
            read.clear()
    assert {path.name for path in (tmp_path / "out").glob("student-*")} == {"student-l1", "student-l2"}


def test_runs_can_share_the_teacher_s_outputs(distil, save_teacher, read, tmp_path):
    source, shared = save_teacher(), {"teacher_outputs": tmp_path / "said"}
    distil(source, out="a", **shared)
    assert sum(read) == 24 + 10 + 8 + 8
    read.clear()
    assert not distil(source, out="b", student="layers=1", **shared)["reused"]
    assert read == []
    assert not (tmp_path / "a/teacher-outputs").exists()
    with FileLock(tmp_path / "said/.lock"), pytest.raises(RunError, match=r"--teacher-outputs .*said: another run"):
        distil(source, out="c", **shared)


# --- what does not fit -----------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused(distil, save_teacher, tmp_path):
    source = save_teacher()
    for changes, message in (
        ({"student": "width=3"}, "--student width=3: must be layers=N"),
        ({"objective": "mse"}, "--objective mse: unknown; known are .*logit-mse"),
        ({"stage": "mse"}, "--objective mse: unknown; known are .*logit-mse"),
        ({"max_length": 41}, "--max-length 41: this model reads at most 40 tokens"),
        ({"unlabelled": tmp_path / "no.txt"}, r"--unlabelled .*no\.txt: no such file"),
        ({"unlabelled": tmp_path / "no.txt", "data": "sentiment"}, "--unlabelled: the embedded data bring their own"),
        ({"task": "token-classification", "augment_online": 0.1}, "--augment-online 0.1: works with single texts"),
        ({"task": "relation-extraction", "augment_online": 0.1}, "--augment-online 0.1: works with single texts"),
        ({"task": "sentence-embedding", "hard_label_weight": 0.1}, "--hard-label-weight 0.1: there are no labels"),
        ({"task": "regression", "objective": "soft-targets"}, "--objective soft-targets: says nothing of a score"),
        ({"task": "chess"}, "--task chess: unknown"),
        ({"stage": "hidden-states", "mapping": "first"}, "--mapping first: unknown"),
        ({"stage": "hidden-states", "mapping": "0,3"}, "--mapping 0,3: the teacher's layers are numbered 0 to 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            distil(source, **changes)
    with pytest.raises(ModelError, match=r"teacher-1: its labels are a, b, but the data's are negative, positive"):
        distil(save_teacher(labels=("a", "b")))
    with pytest.raises(ModelError, match="no such folder"):
        distil(tmp_path / "nowhere")
    with pytest.raises(DataError, match="does not exist"):
        distil(source, data=str(tmp_path / "nowhere"))


def test_what_can_not_be_compared_is_refused_before_the_teacher_reads(distil, save_teacher, read):
    with pytest.raises(ConfigError, match="--mapping 5: the teacher's layers"):
        distil(save_teacher(), student="layers=1", stage="hidden-states", mapping="5")
    assert read == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": "attention-maps", "student": "layers=2,hidden=8,heads=1,ffn=12"}, "attention-maps"),
        ({"stage": "relations", "relation_heads": 3}, "relation-heads"),
        ({"objective": "loss_of_two:fails"}, r"--objective loss_of_two:fails: fails on two tokens \(KeyError: 'no'\)"),
    ],
)
def test_losses_are_tried_before_the_teacher_reads(distil, save_teacher, read, tmp_path, monkeypatch, changes, message):
    (tmp_path / "loss_of_two.py").write_text("def fails(student, teacher, **options):\n    raise KeyError('no')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=message):
        distil(save_teacher(), **changes)
    assert read == []


def test_a_teacher_whose_outputs_are_no_numbers_is_refused(distil, save_teacher, tmp_path):
    source = save_teacher()
    model = models.load_finetuned_classifier(source)
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    model.save_pretrained(source)
    with pytest.raises(ModelError, match=r"--teacher .*teacher-0: its outputs are not finite; train it again"):
        distil(source)
    assert not list((tmp_path / "out/teacher-outputs").rglob("*.npy"))


def test_what_is_left_of_the_teacher_s_outputs_can_be_deleted(distil, save_teacher, tmp_path):
    source = save_teacher()
    distil(source)
    shutil.rmtree(tmp_path / "out/teacher-outputs")
    assert distil(source)["reused"]
    assert not distil(source, seed=1)["reused"]
