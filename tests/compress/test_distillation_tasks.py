"""Every task that can be distilled: a student is trained, measured, saved, and answers after loading."""

import json

import pytest
import torch
import transformers

from lilliput import encoder, models, tasks
from lilliput.compress import distillation, objectives, transfer
from lilliput.compress.distillation_loss import DistillationLoss
from lilliput.compress.predictions import kind_of
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError
from lilliput.train import sources
from lilliput.train.features import windows_of
from lilliput.train.predicting import load

pytestmark = pytest.mark.usefixtures("quick_training")

SIZES = {"train": 12, "validation": 6, "test": 6}
KINDS = (
    "single text",
    "pair of texts",
    "several labels",
    "score",
    "tags",
    "answers",
    "relations",
    "pairs",
    "triples",
    "pairs with a similarity",
)
MAX_LENGTH = 24


@pytest.fixture
def of_kind(task_rows, encoders, checkpoint, tmp_path):
    """Settings for data of a kind, with a random teacher for it."""

    def build(kind, max_length=MAX_LENGTH, **changes):
        task = tasks.get(task_rows.KINDS[kind].task)
        folder = task_rows.write(tmp_path / "rows", kind, encoders.rows, SIZES)
        settings = {"data": str(folder), "task": task.name, "max_length": max_length, **changes}
        dataset = sources.load(DistillConfig(teacher="t", out=tmp_path / "out", **settings))
        torch.manual_seed(1)
        model = models.load_for(task, checkpoint("bert"), dataset.label_names)
        tokenizer = models.load_tokenizer(checkpoint("bert"))
        models.add_tokens(model, tokenizer, task.new_tokens)
        models.note(model, task=task.name, max_length=max_length)
        models.save(model, tokenizer, tmp_path / "teacher", task)
        return tmp_path / "teacher", dataset, settings

    return build


def test_no_task_is_left_out(task_rows):
    assert set(KINDS) == set(task_rows.KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_for_every_task(of_kind, distil, tmp_path, kind):
    source, dataset, settings = of_kind(kind)
    task = tasks.get(settings["task"])
    labelled = {} if kind_of(task) == "vector" else {"hard_label_weight": 0.2}
    told = []
    result = distil(
        source,
        **settings,
        **labelled,
        stage="relations",
        epochs=2,
        learning_rate=5e-3,
        batch_size=4,
        progress=lambda done, total, what: told.append(what),
    )
    assert any("teacher reads" in what for what in told)
    assert result["texts"] == {"labelled": 12, "all": 12}
    assert task.metric in result["validation"].keys() & result["test"].keys()
    assert result["fidelity"]["n"] == result["n_test"] == 6
    scores = [
        line["score"]
        for line in map(json.loads, (tmp_path / "out/student/log.jsonl").read_text().splitlines())
        if line["event"] == "validation"
    ]
    assert len(set(scores)) == 2  # both epochs teach something

    folder = tmp_path / "out/student"
    student = load(folder)
    assert (student.task, student.max_length, student.settings) == (task, MAX_LENGTH, result["settings"])
    for split, metrics in ((dataset.validation, result["validation"]), (dataset.test, result["test"])):
        again = task.metrics(student.predictions(split.inputs), split.targets, dataset.label_names, student.settings)
        assert again == pytest.approx(metrics, abs=1e-5)
    kind_of_model = getattr(transformers, task.head)
    model, report = kind_of_model.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert encoder.shape_of(model).layers == 2
    if dataset.label_names:
        assert models.labels_of(model) == dataset.label_names


def test_every_window_of_a_long_context_is_learnt_from(of_kind, distil, tmp_path, monkeypatch):
    source, dataset, settings = of_kind("answers", max_length=16)
    tokenizer = models.load_tokenizer(source)
    windows = windows_of(tasks.get("question-answering"), tokenizer, dataset.train.inputs, 16)
    assert max(map(len, windows)) > 1
    rows = []

    def spy(self, model, batch):
        ids = (tuple(i for i in row if i) for row in batch["input_ids"].tolist())  # 0 is padding
        starts, ends = batch["start_positions"].tolist(), batch["end_positions"].tolist()
        rows.extend(zip(ids, starts, ends, batch["teacher"], strict=True))
        return original(self, model, batch)

    original = DistillationLoss.__call__
    monkeypatch.setattr(DistillationLoss, "__call__", spy)
    distil(source, **settings, hard_label_weight=0.5)
    task, teacher = tasks.get("question-answering"), models.load_finetuned(tasks.get("question-answering"), source)
    expected = sorted(
        (tuple(window.ids), *task.training(target, window).values())
        for target, found in zip(dataset.train.targets, windows, strict=True)
        for window in found
    )
    assert sorted(row[:3] for row in rows) == expected
    for ids, _, _, logits in rows[:5]:
        window = next(window for found in windows for window in found if tuple(window.ids) == ids)
        inputs = {"input_ids": [window.ids], "token_type_ids": [window.type_ids]}
        with torch.no_grad():
            said = teacher(**{name: torch.tensor(values) for name, values in inputs.items()})
        theirs = torch.stack([said.start_logits[0], said.end_logits[0]], dim=-1)
        assert (logits[: len(ids)] - theirs).abs().max() < 0.15  # it may have read in bfloat16
        assert (logits[len(ids) :] == 0).all()


@pytest.mark.parametrize(
    ("kind", "name"), [("several labels", "soft-targets"), ("tags", "decoupled"), ("answers", "soft-targets")]
)
def test_distributions_of_every_kind_of_label(of_kind, distil, kind, name):
    source, _, settings = of_kind(kind)
    assert distil(source, **settings, objective=name, temperature=2.0, batch_size=4)["n_test"] == 6


def test_directions_of_vectors(of_kind, distil):
    source, _, settings = of_kind("pairs")
    assert distil(source, **settings, objective="cosine", batch_size=4)["fidelity"]["n"] == 6


def test_a_student_whose_vectors_are_narrower_can_not_learn_them_but_their_relations(of_kind, distil, tmp_path):
    source, _, settings = of_kind("pairs")
    narrow = {"student": "layers=2,hidden=8,ffn=12", "batch_size": 4, **settings}
    with pytest.raises(ConfigError, match="--student layers=2,hidden=8,ffn=12: its vectors would have another width"):
        distil(source, **narrow)
    assert distil(source, **narrow, objective="relations")["shape"]["hidden"] == 8
    assert load(tmp_path / "out/student").predictions([("a joy",)])[0].vectors.shape == (1, 8)


def test_scores_are_matched_in_units_of_their_deviation(of_kind, distil, monkeypatch):
    """A squared error in the data's units would be 100 times as large for scores 10 times as far apart."""
    source, dataset, settings = of_kind("score")
    seen = []
    original = objectives.get("logit-mse").loss

    def spy(student, teacher, **options):
        seen.append((student.detach(), teacher.detach()))
        return original(student, teacher, **options)

    monkeypatch.setattr("lilliput.compress.objectives.logit_mse.loss", spy)
    distil(source, **settings, learning_rate=1e-12)
    task = tasks.get("regression")
    prior = task.prior(dataset.train.targets)
    model = load(source)
    said = model.predictions(dataset.train.inputs)
    wanted = sorted((one - prior["mean"]) / prior["deviation"] for one in said)
    found = sorted(value for _, teacher in seen for value in teacher.flatten().tolist())
    assert found == pytest.approx(wanted, abs=0.05)


def test_new_kinds_of_rows_do_not_mix_in_one_file(of_kind, distil, tmp_path, monkeypatch):
    """Unlabelled texts come after labelled ones, in later pieces: their columns have the same types."""
    monkeypatch.setattr(transfer, "PIECE", 5)
    for kind, line in (
        ("several labels", {"text": "a new film"}),
        ("score", {"text": "a new film"}),
        ("tags", {"tokens": ["a", "new", "film"]}),
        ("answers", {"question": "what?", "context": "a new film"}),
    ):
        task_folder = tmp_path / kind.replace(" ", "-")
        task_folder.mkdir()
        (task_folder / "more.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
        source, _, settings = of_kind(kind)
        unlabelled = {"unlabelled": task_folder / "more.jsonl", "hard_label_weight": 0.5}
        result = distil(source, **settings, **unlabelled, batch_size=4, out=f"out-{kind[:3]}")
        assert result["texts"] == {"labelled": 12, "transfer": 1, "all": 13}
        for name in ("rows", "teacher"):
            (tmp_path / name).rename(task_folder / name)


@pytest.mark.parametrize("kind", ["tags", "answers", "pairs"])
@pytest.mark.parametrize("student", ["conv", "static:width=8"])
def test_students_of_windows_answer_for_whole_texts_only(of_kind, distil, kind, student):
    source, _, settings = of_kind(kind)
    with pytest.raises(ConfigError, match=f"--student {student}: gives a text labels or a score"):
        distil(source, **settings, student=student)


def test_validation_reads_what_the_student_is_measured_on(of_kind, distil, monkeypatch):
    """The last measurement of training and the result are of the same predictions."""
    seen = []
    original = distillation.Validation.__call__

    def spy(self, model):
        seen.append(original(self, model))
        return seen[-1]

    monkeypatch.setattr(distillation.Validation, "__call__", spy)
    source, _, settings = of_kind("tags")
    result = distil(source, **settings, batch_size=4)
    assert {name: seen[-1][name] for name in result["validation"]} == pytest.approx(result["validation"], abs=1e-4)
