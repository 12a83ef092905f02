"""The texts that a student reads: which ones, each once, encoded as for training, and never all in memory."""

import dataclasses
import itertools
import tracemalloc

import numpy as np
import pytest

from lilliput import models, tasks
from lilliput.compress import transfer
from lilliput.compress.teacher_outputs import key_of
from lilliput.compress.transfer import Example, Transfer
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError, DataError
from lilliput.tasks import Tokens
from lilliput.train import features, sources
from lilliput.train.data import Split

TEXT = tasks.get("classification")
SIZES = {"train": 12, "validation": 6, "test": 6}


@pytest.fixture
def config(data, tmp_path):
    def build(**changes):
        return DistillConfig(**{"teacher": "t", "out": tmp_path / "out", "data": str(data), **changes})

    return build


@pytest.fixture
def texts(config):
    """The examples of a configuration."""

    def build(**changes):
        made = config(**changes)
        return Transfer(sources.load(made), tasks.get(made.task), made)

    return build


@pytest.fixture
def tokenizer(checkpoint):
    return models.load_tokenizer(checkpoint("bert"))


def write(examples, tokenizer, tmp_path, labels=2, readers=(), **options):
    return transfer.write(examples, tokenizer, 16, labels, tmp_path / "rows/texts.arrow", readers, **options)


# --- which texts -----------------------------------------------------------------------------------------------------


def test_labelled_unlabelled_and_changed_texts_in_this_order(texts, encoders, data):
    every = texts(augment=2)
    found = list(every)
    assert [(one.input, ("negative", "positive")[one.target]) for one in found[:24]] == encoders.rows(24)
    assert found[0].place == f"{data}/train.csv:2"
    assert [one.input for one in found[24:34]] == [text for text, _ in encoders.rows(10, 40)]
    assert [one.source for one in found] == ["labelled"] * 24 + ["transfer"] * 10 + ["augmented"] * 48
    assert {one.target for one in found[24:]} == {None}
    assert every.counts == {"labelled": 24, "transfer": 10, "augmented": 48}
    assert list(every) == found  # another pass is the same one
    assert every.counts.total() == 82
    assert found[34 + 24 + 3].place == "changed copy of training row 3"


def test_changed_copies_depend_on_the_seed_alone_and_come_before_more_copies(texts):
    one, two, other = (
        [example.input for example in texts(**settings) if example.source == "augmented"]
        for settings in ({"augment": 1}, {"augment": 2}, {"augment": 1, "seed": 1})
    )
    assert two[:24] == one
    assert other != one


def test_an_unlabelled_file_gives_each_text_that_no_split_has_once(texts, encoders, tmp_path):
    held = [encoders.rows(1, start)[0][0] for start in (0, 24, 32, 40)]  # training, validation, test, transfer
    lines = [*held, "a new film", "  A NEW   film ", "another one", "\0", "another one"]
    path = tmp_path / "more.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    every = texts(unlabelled=path)
    added = [one for one in every if one.place.startswith(str(path))]
    assert [(one.input, one.target, one.source) for one in added] == [
        ("a new film", None, "transfer"),
        ("another one", None, "transfer"),
    ]
    assert [one.place for one in added] == [f"{path}:5", f"{path}:7"]
    assert every.counts == {"labelled": 24, "transfer": 12}
    assert every.rejected == {"text that is there already": 6, "NUL byte": 1}
    list(every)  # a second pass does not count twice
    assert every.rejected == {"text that is there already": 6, "NUL byte": 1}


def test_texts_of_another_domain_s_test_are_left_out(config, tmp_path):
    made = config(unlabelled=tmp_path / "more.csv")
    (tmp_path / "more.csv").write_text("text\nfar away\nnear by\n", encoding="utf-8")
    dataset = dataclasses.replace(sources.load(made), out_of_domain={"letters": Split(["Far  away"], [0])})
    added = [one.input for one in Transfer(dataset, TEXT, made) if str(tmp_path / "more") in one.place]
    assert added == ["near by"]


def test_named_columns_are_read_and_missing_ones_refused(texts, tmp_path):
    path = tmp_path / "more.csv"
    path.write_text("id,remark\n1,a new film\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"more\.csv:1: .*no text column"):
        list(texts(unlabelled=path))
    empty = tmp_path / "empty.txt"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"empty\.txt"):
        list(texts(unlabelled=empty))


@pytest.fixture
def of_kind(task_rows, encoders, tmp_path):
    """The examples of data of a kind."""

    def build(kind, **changes):
        folder = task_rows.write(tmp_path / f"data-{kind}", kind, encoders.rows, SIZES)
        settings = {"teacher": "t", "out": tmp_path / "out", "data": str(folder), "task": task_rows.KINDS[kind].task}
        made = DistillConfig(**settings, **changes)
        return Transfer(sources.load(made), tasks.get(made.task), made)

    return build


def test_texts_of_another_form_are_refused(of_kind, texts, tmp_path):
    path = tmp_path / "more.jsonl"
    path.write_text('{"text": "a new film"}\n', encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"--unlabelled .*more\.jsonl: holds single texts, but the training data pairs"
    ):
        list(of_kind("pair of texts", unlabelled=path))
    path.write_text('{"premise": "a new film", "hypothesis": "it is new"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="holds pairs of texts, but the training data single texts"):
        list(texts(unlabelled=path))


@pytest.mark.parametrize("flag", ["augment", "augment_online"])
def test_pairs_are_not_changed(of_kind, flag):
    with pytest.raises(ConfigError, match=f"--{flag.replace('_', '-')} 1.*: works with single texts, which these data"):
        of_kind("pair of texts", **{flag: 1})


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["single text", "pair of texts", "several labels", "score", "tags", "answers"])
def test_rows_are_those_of_training_with_a_key(of_kind, tokenizer, tmp_path, kind):
    every = of_kind(kind)
    task, train = every.task, every.dataset.train
    rows = write(every, tokenizer, tmp_path, labels=len(every.dataset.label_names)).to_list()
    expected = features.encode(train, task, tokenizer, 16).to_list()
    assert [row["key"] for row in rows] == [
        key_of(task.tokens(item), number)
        for item, windows in zip(train.inputs, features.windows_of(task, tokenizer, train.inputs, 16), strict=True)
        for number in range(len(windows))
    ]
    assert [{name: value for name, value in row.items() if name != "key"} for row in rows] == [
        {**row, "labels": float(row["labels"])} if kind == "score" else row for row in expected
    ]


def test_a_row_without_a_label_is_marked(texts, tokenizer, tmp_path):
    rows = write(texts(), tokenizer, tmp_path)
    assert len(rows) == 34
    assert [label == -100 for label in rows["labels"]] == [False] * 24 + [True] * 10
    assert rows["row"][:] == list(range(34))
    assert rows["length"][:] == [len(ids) for ids in rows["input_ids"]]


def test_texts_that_belong_together_are_rows_of_their_own(of_kind, tokenizer, tmp_path):
    every = of_kind("triples")
    rows = write(every, tokenizer, tmp_path)
    parts = [part for item in every.dataset.train.inputs for part in item]
    assert [row["key"] for row in rows] == [key_of(Tokens(part), 0) for part in parts]
    assert rows["input_ids"][:2] == [tokenizer(part)["input_ids"] for part in parts[:2]]
    assert not {"labels", "texts", "pair_input_ids"} & set(rows.column_names)
    assert every.counts["labelled"] == SIZES["train"]


def test_rows_are_the_same_however_many_are_made_at_a_time(texts, tokenizer, tmp_path, monkeypatch):
    whole = write(texts(augment=1), tokenizer, tmp_path / "whole").to_list()
    monkeypatch.setattr(transfer, "PIECE", 7)
    assert write(texts(augment=1), tokenizer, tmp_path / "pieces").to_list() == whole


def test_rows_that_are_read_stay_when_the_file_is_written_again(texts, tokenizer, tmp_path):
    first = write(texts(), tokenizer, tmp_path)
    second = write(texts(augment=1), tokenizer, tmp_path)
    assert (len(first), len(second)) == (34, 58)
    assert first.to_list() == second.to_list()[:34]


# --- teachers read along ---------------------------------------------------------------------------------------------


class Reader:
    """Notes what a teacher is asked to read."""

    def __init__(self):
        self.read_so_far = []

    def read(self, inputs, keys, progress, done, total):
        self.read_so_far.append((list(inputs), keys, done, total))


def test_teachers_read_each_piece_as_it_is_written(texts, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "PIECE", 15)
    one, other = Reader(), Reader()
    every = texts(augment=1)
    rows = write(every, tokenizer, tmp_path, readers=(one, other))
    assert [len(inputs) for inputs, *_ in one.read_so_far] == [15, 15, 15, 13]
    assert [(done, total) for *_, done, total in one.read_so_far] == [(0, 58), (15, 58), (30, 58), (45, 58)]
    assert [text for inputs, *_ in one.read_so_far for text in inputs] == [example.input for example in every]
    assert np.concatenate([keys for _, keys, *_ in one.read_so_far]).tolist() == rows["key"][:]
    assert len(other.read_so_far) == 4


class Endless(Transfer):
    """Many texts that are made as they are asked for, and counted."""

    made = 0

    def __iter__(self):
        for number in itertools.count():
            if number == self.count:
                return
            self.made += 1
            yield Example(f"the film {number} was not good", None if number else 0, f"here:{number}", "transfer")


def endless(texts, count):
    every = texts()
    made = Endless(every.dataset, every.task, every.config)
    made.count = count
    return made


def test_texts_are_taken_piece_by_piece(texts, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "PIECE", 8)
    every, seen = endless(texts, 20), []

    class Watching(Reader):
        def read(self, *_):
            seen.append(every.made)

    write(every, tokenizer, tmp_path, readers=[Watching()])
    assert seen == [8, 16, 20]


def test_memory_does_not_grow_with_the_number_of_texts(texts, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "PIECE", 50)

    def peak(count):
        every = endless(texts, count)
        tracemalloc.start()
        try:
            rows = write(every, tokenizer, tmp_path / str(count))
            assert len(rows) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(50)  # what is set up once
    few, many = peak(50), peak(1000)
    assert many < few + 200_000  # 1,000 rows held as Python objects would be over 2 MB


def test_of_an_unlabelled_file_a_number_a_text_is_kept(texts, tmp_path):
    path = tmp_path / "many.txt"
    path.write_text("".join(f"film number {i} {'was long ' * 100}\n" for i in range(2000)), encoding="utf-8")  # 1.8 MB
    every = texts(unlabelled=path)
    tracemalloc.start()
    try:
        assert sum(1 for _ in every) == 2034
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_numbers_a_token_are_small_in_the_file(texts, tokenizer, tmp_path):
    rows = write(texts(), tokenizer, tmp_path)
    types = {name: str(column.feature.dtype) for name, column in rows.features.items() if hasattr(column, "feature")}
    assert types["input_ids"] == "int32"
    assert types["attention_mask"] == "int8"
    assert max(max(row["input_ids"]) for row in rows) < len(tokenizer)
