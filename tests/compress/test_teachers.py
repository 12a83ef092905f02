"""Teachers: what they say, what it is kept by, and how much each of several counts."""

import numpy as np
import pytest
import torch

from lilliput import encoder, models, tasks
from lilliput.compress import teachers
from lilliput.compress.distillation_loss import DistillationLoss, WithTeacher
from lilliput.compress.teachers import Teacher, answer, keys_of, load, weigh
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError, ModelError
from lilliput.train import sources
from lilliput.train.evaluate import logits_of
from lilliput.train.features import Collate, model_inputs, windows_of

TASK = tasks.get("classification")
TEXTS = [f"the film {i} was 漢字 😀" for i in range(10)]


@pytest.fixture
def config(data, tmp_path):
    def build(*sources, **changes):
        settings = {"out": tmp_path / "out", "data": str(data), "max_length": 16, "device": "cpu"}
        return DistillConfig(teacher=tuple(map(str, sources)), **{**settings, **changes})

    return build


@pytest.fixture
def loaded(config, tmp_path):
    def load_all(*names, **changes):
        made = config(*names, **changes)
        return load(made, tasks.get(made.task), sources.load(made), tmp_path / "cache")

    return load_all


@pytest.fixture
def dataset(config):
    return sources.load(config("t"))


@pytest.fixture
def read(monkeypatch):
    """The windows that teachers read; ``read.fail`` stops them after so many."""

    class Read(list):
        fail = None

    def counted(model, tokenizer, windows, **options):
        if read.fail is not None and len(read) >= read.fail:
            raise KeyboardInterrupt
        read.extend(windows)
        return original(model, tokenizer, windows, **options)

    original, read = teachers.outputs_of, Read()
    monkeypatch.setattr(teachers, "outputs_of", counted)
    monkeypatch.setattr(teachers.precision, "autocasts", lambda *_: False)
    return read


def keys(inputs, teacher):
    windows = windows_of(TASK, teacher.tokenizer, inputs, 16)
    return np.array(keys_of(TASK, inputs, windows), dtype=np.int64)


# --- what one says ---------------------------------------------------------------------------------------------------


def test_outputs_are_the_model_s_in_the_order_of_the_data_s_labels(loaded, save_teacher):
    source = save_teacher(labels=("positive", "negative"))
    (teacher,) = loaded(source)
    assert models.labels_of(teacher.model) == ("negative", "positive")
    expected = logits_of(models.load_finetuned_classifier(source), teacher.tokenizer, TEXTS, 16)[:, ::-1]
    assert np.abs(np.stack(teacher.outputs(TEXTS)) - expected).max() < 1e-5
    assert np.abs(np.stack(teacher.predict(TEXTS)) - expected).max() < 1e-5
    assert not teacher.model.training
    assert not any(weight.requires_grad for weight in teacher.model.parameters())


def test_what_was_read_is_not_read_again(loaded, save_teacher, read):
    source = save_teacher()
    (teacher,) = loaded(source)
    first = teacher.outputs(TEXTS)
    assert len(read) == 10
    read.clear()
    assert np.array_equal(teacher.outputs(TEXTS[::-1]), first[::-1])
    (again,) = loaded(source)
    assert np.array_equal(again.outputs(TEXTS), first)
    again.read(TEXTS, keys(TEXTS, again))
    assert len(read) == 0
    again.read([*TEXTS, "another"], keys([*TEXTS, "another"], again))
    assert len(read) == 1


def test_an_interrupted_reading_goes_on_with_the_next_piece(loaded, save_teacher, read):
    source = save_teacher()
    (teacher,) = loaded(source)

    def read_all(teacher):
        for piece in (TEXTS[:4], TEXTS[4:8], TEXTS[8:]):
            teacher.read(piece, keys(piece, teacher))

    read.fail = 8
    with pytest.raises(KeyboardInterrupt):
        read_all(teacher)
    read.fail = None
    read.clear()
    (again,) = loaded(source)
    read_all(again)
    assert [window.ids for window in read] == [again.tokenizer(text)["input_ids"] for text in TEXTS[8:]]
    assert np.allclose([again.store[key] for key in keys(TEXTS, again)], again.outputs(TEXTS))


def test_another_teacher_order_of_labels_or_length_is_another_reading(loaded, save_teacher, read):
    teachers_of = [
        loaded(save_teacher()),
        loaded(save_teacher(seed=1)),
        loaded(save_teacher(labels=("positive", "negative"))),
        loaded(save_teacher(), max_length=8),
    ]
    folders = {one.store.folder for (one,) in teachers_of}
    assert len(folders) == 4
    for (one,) in teachers_of:
        read.clear()
        one.outputs(TEXTS)
        assert len(read) == 10


def test_progress_counts_all_texts(loaded, save_teacher, read):
    (teacher,) = loaded(save_teacher())
    seen = []
    teacher.read(TEXTS[:4], keys(TEXTS[:4], teacher), lambda *some: seen.append(some), 6, 20)
    assert seen == [(10, 20, "teacher reads the texts")]


def test_outputs_that_are_no_numbers_are_refused_by_name(loaded, save_teacher):
    source = save_teacher()
    (teacher,) = loaded(source)
    with torch.no_grad():
        encoder.word_embeddings_of(teacher.model).weight[:] = float("inf")
    with pytest.raises(ModelError, match=r"--teacher .*teacher-0: its outputs are not finite; train it again"):
        teacher.outputs(TEXTS)


# --- several ---------------------------------------------------------------------------------------------------------


def good_and_bad(save_teacher, dataset):
    """Two teachers: the second one answers the opposite of the first, whose answers are made the data's."""
    source = save_teacher(seed=3)
    model, tokenizer = models.load_finetuned_classifier(source), models.load_tokenizer(source)
    logits = logits_of(model, tokenizer, dataset.validation.inputs, 16)
    with torch.no_grad():  # both labels on as many texts
        model.classifier.bias[1] -= float(np.median(logits[:, 1] - logits[:, 0]))
    model.save_pretrained(source)
    logits = logits_of(model, tokenizer, dataset.validation.inputs, 16)
    dataset.validation.targets[:] = logits.argmax(1).tolist()
    opposite = save_teacher(seed=3)
    with torch.no_grad():
        model.classifier.weight.neg_()
        model.classifier.bias.neg_()
    model.save_pretrained(opposite)
    return source, opposite


def test_a_good_teacher_counts_and_a_bad_one_does_not(config, save_teacher, dataset, tmp_path):
    good, bad = good_and_bad(save_teacher, dataset)
    for names, expected in (((good, bad), (1.0, 0.0)), ((bad, good), (0.0, 1.0))):
        some = load(config(*names), TASK, dataset, tmp_path / "cache")
        assert weigh(some, dataset) == expected


class Says:
    """A teacher of made-up answers."""

    def __init__(self, tokenizer, task, answers):
        self.tokenizer, self.task, self.max_length, self.answers = tokenizer, task, 16, answers

    def outputs(self, inputs):
        return [np.array(one, dtype=np.float32) for one in self.answers]


def test_teachers_that_are_right_on_different_texts_share_the_weight(dataset, checkpoint):
    """Each is four times as sure where it is right as where it is wrong: their mean is right everywhere unless one
    counts four times as much as the other. Of equally good draws the first teacher's is taken: 3 of 4, 7 of 9, 11 of
    14, 15 of 19, and the last draw is the other's.
    """
    split = dataset.validation
    tokenizer = models.load_tokenizer(checkpoint("bert"))

    def sure_where(own):
        def of(row, target):
            right = 2 * target - 1
            return (0, 4 * right) if own(row) else (0, -right)

        return Says(tokenizer, TASK, [of(row, target) for row, target in enumerate(split.targets)])

    some = [sure_where(lambda row: row % 2 == 0), sure_where(lambda row: row % 2 == 1)]
    assert weigh(some, dataset) == (0.75, 0.25)


def test_where_teachers_are_equal_the_first_counts(dataset, checkpoint):
    tokenizer = models.load_tokenizer(checkpoint("bert"))
    some = [Says(tokenizer, TASK, [(0.0, 1.0)] * 4 + [(1.0, 0.0)] * 4)] * 3
    assert weigh(some, dataset) == (1.0, 0.0, 0.0)
    assert weigh(some[:1], dataset) == (1.0,)


def test_where_draws_are_equal_the_teacher_that_is_better_alone_counts(dataset, checkpoint):
    """The mean of a sure and right teacher with an unsure and wrong one is right too, but it is not better."""
    tokenizer = models.load_tokenizer(checkpoint("bert"))
    signs = [2 * target - 1 for target in dataset.validation.targets]
    bad, good = (Says(tokenizer, TASK, [(0.0, size * sign) for sign in signs]) for size in (-1.0, 4.0))
    assert weigh([bad, good], dataset) == (0.0, 1.0)
    assert weigh([good, bad], dataset) == (1.0, 0.0)


def test_a_figure_that_is_better_when_smaller_is_made_smaller(dataset, checkpoint, monkeypatch):
    task = tasks.get("regression")
    monkeypatch.setattr(type(task), "metric", "rmse")
    dataset.validation.targets[:] = [float(n) for n in range(8)]
    tokenizer = models.load_tokenizer(checkpoint("bert"))
    near, far = (Says(tokenizer, task, [[n + shift] for n in range(8)]) for shift in (0.0, 5.0))
    assert weigh([far, near], dataset) == (0.0, 1.0)


@pytest.fixture
def two(loaded, save_teacher):
    return loaded(save_teacher(), save_teacher(seed=1))


def batch_of(teacher, texts=TEXTS[:3]):
    windows = [window for (window,) in windows_of(TASK, teacher.tokenizer, texts, 16)]
    keyed = keys(texts, teacher).tolist()
    rows = [
        {**model_inputs(w, teacher.tokenizer), "labels": 0, "key": key} for w, key in zip(windows, keyed, strict=True)
    ]
    return rows, Collate(teacher.tokenizer)


def test_the_mean_of_several_teachers_reaches_the_batch(two):
    rows, pad = batch_of(two[0])
    for teacher in two:
        teacher.read(TEXTS[:3], keys(TEXTS[:3], two[0]))
    batch = WithTeacher(pad, two, (0.25, 0.75))(rows)
    one, other = ([teacher.store[row["key"]] for row in rows] for teacher in two)
    assert batch["teacher"].dtype == torch.float32
    assert np.allclose(batch["teacher"], 0.25 * np.stack(one) + 0.75 * np.stack(other), atol=1e-6)
    assert "key" not in batch


def test_a_teacher_without_weight_is_not_asked(two):
    rows, pad = batch_of(two[0])
    two[1].read(TEXTS[:3], keys(TEXTS[:3], two[0]))
    batch = WithTeacher(pad, two, (0.0, 1.0))(rows)
    assert np.allclose(batch["teacher"], [two[1].store[row["key"]] for row in rows])


def test_answers_now_are_the_mean_of_the_answers(two):
    rows, pad = batch_of(two[0])
    inputs = pad([{name: value for name, value in row.items() if name not in ("key", "labels")} for row in rows])
    with torch.no_grad():
        found = answer(two, (0.25, 0.75), dict(inputs))
    one, other = (np.stack(teacher.outputs(TEXTS[:3])) for teacher in two)
    assert np.allclose(found, 0.25 * one + 0.75 * other, atol=1e-5)


def test_teachers_of_other_architectures_answer_on_the_tokens_of_the_first(loaded, save_teacher):
    some = loaded(save_teacher(), save_teacher("distilbert"))  # which knows no token types
    rows, pad = batch_of(some[0])
    inputs = pad([{name: value for name, value in row.items() if name not in ("key", "labels")} for row in rows])
    with torch.no_grad():
        found = answer(some, (0.5, 0.5), dict(inputs))
    one, other = (np.stack(teacher.outputs(TEXTS[:3])) for teacher in some)
    assert np.allclose(found, (one + other) / 2, atol=1e-5)


@pytest.mark.usefixtures("quick_training")
def test_a_student_of_two_teachers(distil, save_teacher, monkeypatch):
    seen = []
    original = DistillationLoss.__call__
    monkeypatch.setattr(
        DistillationLoss,
        "__call__",
        lambda self, model, batch: (seen.append(batch["teacher"]), original(self, model, batch))[1],
    )
    monkeypatch.setattr(teachers, "weigh", lambda *_: (0.5, 0.5))
    one, other = save_teacher(), save_teacher("roberta", seed=1)  # each reads with its own tokenizer
    result = distil(one, other)
    assert result["teachers"] == {str(one): 0.5, str(other): 0.5}
    assert sum(map(len, seen)) == 34
    assert distil(one, other)["reused"]
    assert not distil(other, one)["reused"]  # the first one's tokenizer is the student's


# --- what does not go together ---------------------------------------------------------------------------------------


def test_another_tokenizer_is_refused_where_tokens_must_be_the_same(loaded, save_teacher):
    one, other = save_teacher(), save_teacher("roberta")
    assert len(loaded(one, other)) == 2
    with pytest.raises(ConfigError, match=r"--teacher .*teacher-1: must have the tokenizer of .*teacher-0, token"):
        loaded(one, other, augment_online=0.5)


def test_a_teacher_is_named_once(loaded, save_teacher):
    with pytest.raises(ConfigError, match=r"--teacher .*teacher-1: the same model as another teacher; name it once"):
        loaded(save_teacher(), save_teacher())


def test_a_text_that_another_teacher_splits_elsewhere_is_refused(loaded, save_teacher):
    (teacher,) = loaded(save_teacher())
    with pytest.raises(ConfigError, match=r"--teacher .*: it splits long texts in other places than the first teacher"):
        teacher.read(TEXTS[:2], keys(TEXTS[:3], teacher))


def test_a_model_for_another_task_or_length_is_refused(config, loaded, save_teacher, tmp_path):
    source = save_teacher()
    made = config(source, task="token-classification")
    dataset = sources.load(config(source))
    with pytest.raises(ModelError, match="made for BertForSequenceClassification, not for token classification"):
        Teacher(str(source), made, tasks.get(made.task), dataset, tmp_path / "cache")
    with pytest.raises(ModelError, match="its labels are a, b, but the data's are negative, positive"):
        loaded(save_teacher(labels=("a", "b")))
