"""A user's files: every fault has a line, every row is counted, what can't work is refused."""

import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput import tasks
from lilliput.config import DataConfig
from lilliput.errors import DataError
from lilliput.train import checking, readers
from lilliput.train.data import bucket
from lilliput.train.data_report import Ledger
from lilliput.train.row_files import read_rows

CLASSIFICATION = tasks.get("classification")

TRAIN = "text,label\ngood film,pos\nbad film,neg\nfine,pos\n"
VALIDATION = "text,label\na joy,pos\na bore,neg\n"
TEST = "text,label\nlovely,pos\nawful,neg\n"


def read(path, task=CLASSIFICATION, **options):
    return readers.read(path, task, **options)


@pytest.fixture
def folder(tmp_path):
    for name, content in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST)):
        (tmp_path / f"{name}.csv").write_text(content)
    return tmp_path


def rejected(path, content, labelled=True):
    """The (line, reason) of every row of a file with ``content`` that is rejected, and the texts that are kept."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    ledger = Ledger()
    rows = read_rows(path, ledger, CLASSIFICATION, {}, labelled=labelled)
    assert ledger.rows_in == len(rows) + sum(ledger.rejected.values())
    return [(fault.line, fault.reason) for fault in ledger.samples], [row.input for row in rows]


def test_a_folder_of_splits(folder):
    (folder / "unlabelled.txt").write_text("new text\n\nanother\r\ngood film\n")
    data = read(folder)
    assert data.label_names == ("neg", "pos")
    assert data.train.texts == ["good film", "bad film", "fine"]
    assert data.train.labels == [1, 0, 1]
    assert data.test.texts == ["lovely", "awful"]
    assert data.transfer == ["new text", "another"]
    assert data.report.rows_in == 10
    assert data.report.rows_rejected == {"transfer text that is also in train": 1}
    assert data.report.samples[0].file == str(folder / "unlabelled.txt")
    assert data.report.samples[0].line == 4


def test_explicit_files_and_other_names(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"review": "x", "stars": 1}\n{"review": "y", "stars": 10}\n{"review": "z", "stars": 2}\n'
    )
    (tmp_path / "b.tsv").write_text('stars\treview\n1\t"quoted\n10\tr\n')
    (tmp_path / "c.csv").write_text("\ufeffid,review,stars\n1,s,1\n2,t,2\n", encoding="utf-8")
    data = read(
        tmp_path / "a.jsonl", validation=tmp_path / "b.tsv", test=tmp_path / "c.csv", columns={"label": "stars"}
    )
    assert data.label_names == ("1", "2", "10")  # numeric order
    assert data.validation.texts == ['"quoted', "r"]  # TSV has no quoting
    assert data.test.texts == ["s", "t"]


def test_one_file_is_split_by_bucket(tmp_path):
    lines = [f"sentence number {i},{'ab'[i % 2]}" for i in range(200)]
    (tmp_path / "all.csv").write_text("text,label\n" + "\n".join(lines))
    data = read(tmp_path / "all.csv")
    assert {bucket(text) for text in data.validation.texts} == {8}
    assert {bucket(text) for text in data.test.texts} == {9}
    assert {bucket(text) for text in data.train.texts} == set(range(8))
    assert data.report.rows_used == 200
    assert any("no test file" in note for note in data.report.notes)


@pytest.mark.parametrize(
    ("content", "faults", "kept"),
    [
        ("text,label\na,x,extra\nb,y\n", [(2, "wrong number of columns")], ["b"]),
        ("text,label\n  ,x\nb,y\n", [(2, "empty text")], ["b"]),
        ("text,label\na,\nb,y\n", [(2, "missing label")], ["b"]),
        (b"text,label\ncaf\xe9,x\nb,y\n", [(2, "invalid UTF-8")], ["b"]),
        (b"text,label\na\0,x\nb,y\n", [(2, "NUL byte")], ["b"]),
        ('text,label\n"two\nlines",x\na,x,z\n', [(4, "wrong number of columns")], ["two\nlines"]),
        ('text,label\n"open,x\nb,y\n"c",z\n', [(2, "malformed row")], ["b", "c"]),
        ('text,label\na,x\n"never closed,x\nb,y\n', [(3, "malformed row")], ["a", "b"]),
        ("text,label\n" + "w" * 200_000 + ",x\nb,y\n", [(2, "malformed row")], ["b"]),
        ("text,label\r\n\r\na,x\r\n,\r\n", [(4, "empty text")], ["a"]),
    ],
)
def test_faults_of_csv(tmp_path, content, faults, kept):
    assert rejected(tmp_path / "f.csv", content) == (faults, kept)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "a"', "malformed row"),
        (b'["a", "x"]', "malformed row"),
        (b'{"text": 3, "label": "x"}', "malformed row"),
        (b'{"text": "a", "label": ["x"]}', "malformed row"),
        (b'{"text": "a", "label": NaN}', "missing label"),
        (b'{"text": NaN, "label": "x"}', "empty text"),
        (b"[" * 100_000, "malformed row"),
        (b'{"text": null, "label": "x"}', "empty text"),
        (b'{"label": "x"}', "empty text"),
        (b'{"text": "a"}', "missing label"),
        (b'{"text": "a", "label": null}', "missing label"),
        (b'{"text": "\\ud800", "label": "x"}', "invalid UTF-8"),
        (b'{"text": "\xff", "label": "x"}', "invalid UTF-8"),
        (b'{"text": "a\\u0000", "label": "x"}', "NUL byte"),
        (b'{"text": "a\0", "label": "x"}', "NUL byte"),
    ],
)
def test_faults_of_jsonl(tmp_path, line, reason):
    content = b'{"text": "b", "label": "y"}\n\n' + line + b'\n{"text": "c", "label": "y"}\n'
    assert rejected(tmp_path / "f.jsonl", content) == ([(3, reason)], ["b", "c"])


@pytest.mark.parametrize(
    ("task", "row", "said"),
    [
        ("classification", {"text": 33, "label": "a"}, "malformed row (the text is a number, not a string)"),
        ("classification", {"text": b"a", "label": "a"}, "malformed row (the text is bytes, not a string)"),
        ("classification", {"text": "a", "label": ["a"]}, "(the label is a list, not a string or a number)"),
        ("classification", {"text": "a", "label": {"of": "a"}}, "(the label is an object, not a string or a number)"),
        ("classification", {"text": "a", "label": b"a"}, "(the label is bytes, not a string or a number)"),
        ("classification", {"text": "a", "label": float("nan")}, "missing label (the label is NaN)"),
        ("classification", {"text": "a", "sentence2": 3, "label": "a"}, "(the pair is a number, not a string)"),
        ("relation-extraction", {"text": ["a"], "label": "a"}, "(the text is a list, not a string)"),
        ("regression", {"text": True, "label": 1}, "(the text is true or false, not a string)"),
        ("regression", {"text": "a", "label": float("nan")}, "missing label (the label is NaN)"),
        ("multi-label", {"text": "a", "label": 5}, "malformed row (the label is a number, not a string or a list)"),
        ("multi-label", {"text": "a", "label": [["a"]]}, "(a label is a list, not a string or a number)"),
        ("token-classification", {"text": [3], "label": ["O"]}, "(a token is a number, not a string)"),
        ("token-classification", {"text": 3, "label": ["O"]}, "(the text is a number, not a list)"),
        ("token-classification", {"text": ["a"], "label": [["O"]]}, "(a tag is a list, not a string or a number)"),
        (
            "question-answering",
            {"question": 3, "context": "a", "answers": "a"},
            "(the question is a number, not a string)",
        ),
        (
            "question-answering",
            {"question": "a", "context": ["a"], "answers": "a"},
            "(the context is a list, not a string)",
        ),
        (
            "question-answering",
            {"question": "a", "context": "b", "answers": 5},
            "(the answer is a number, not a string or a list of strings)",
        ),
        (
            "question-answering",
            {"question": "a", "context": "b", "answers": [5]},
            "(an answer is a number, not a string)",
        ),
        (
            "question-answering",
            {"question": "a", "context": "b", "answers": {"text": ["b"], "answer_start": [0, 1]}},
            "(answers: 1, places where they start: 2)",
        ),
        (
            "question-answering",
            {"question": "a", "context": "b", "answers": {"text": ["b"], "answer_start": ["first"]}},
            "(an answer starts at 'first', not at a whole number)",
        ),
        (
            "relation-extraction",
            {"text": "a b", "head": "0-1", "tail": "2,3", "label": "a"},
            "(the head is '0-1', not two whole numbers such as [0, 5])",
        ),
        ("sentence-embedding", {"text": "a", "positive": 3}, "(the pair is a number, not a string)"),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_rejected_row_says_what_is_wrong_with_it(tmp_path, task, row, said, ending):
    path = tmp_path / f"f.{ending}"
    if ending == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    elif bytes in map(type, row.values()):
        pytest.skip("JSON has no bytes")
    else:
        path.write_text(json.dumps(row))
    ledger = Ledger()
    assert read_rows(path, ledger, tasks.get(task), {}, labelled=True) == []
    assert str(ledger.samples[0]).endswith(said)


def test_a_cell_that_is_too_long_is_told_apart_from_a_wrong_quote(tmp_path):
    ledger = Ledger()
    (tmp_path / "f.csv").write_text("text,label\n" + "w" * 200_000 + ',x\n"a"b,x\n')
    read_rows(tmp_path / "f.csv", ledger, CLASSIFICATION, {}, labelled=True)
    assert [fault.detail for fault in ledger.samples] == [
        "a cell has more than 131,072 characters: check its quotes, or keep texts of that length in .jsonl or .parquet",
        "check its quotes",
    ]


@pytest.mark.parametrize("name", ["nan", "NaN", "null", "None", "N/A", "nano"])
def test_a_label_like_a_missing_value_is_told_of(folder, caplog, name):
    (folder / "train.csv").write_text(TRAIN + f"so so,{name}\nhm,{name}\n")
    said = f"the label {name!r} looks like a missing value, and is learnt as a label; leave such cells empty"
    found = checking.check(DataConfig(data=str(folder))).findings
    assert caplog.messages == []
    assert name in read(folder).label_names
    if name == "nano":
        assert said not in [finding.detail for finding in found]
        assert caplog.messages == []
    else:
        assert [finding.lines for finding in found if finding.detail == said] == [(5, 6)]
        assert caplog.messages == [f"{folder / 'train.csv'}:5: {said}"]


def test_labels_of_json_and_csv_are_the_same_names(folder):
    (folder / "train.csv").write_text("text,label\na,1\nb,0\nc,true\n")
    (folder / "validation.csv").unlink()
    (folder / "validation.jsonl").write_text('{"text": "d", "label": 1}\n{"text": "e", "label": 0.0}\n')
    (folder / "test.csv").unlink()
    (folder / "test.jsonl").write_text('{"text": "f", "label": true}\n')
    data = read(folder)
    assert [data.label_names[i] for i in data.validation.labels] == ["1", "0"]
    assert [data.label_names[i] for i in data.test.labels] == ["true"]


def test_a_label_that_training_lacks_is_rejected_by_line(folder):
    (folder / "test.csv").write_text("text,label\nlovely,pos\nhm,neutral\nawful,neg\n")
    data = read(folder)
    assert data.test.texts == ["lovely", "awful"]
    assert [(fault.line, fault.reason) for fault in data.report.samples] == [(3, "label that never occurs in training")]


def test_overlap_is_refused_by_line_unless_allowed(folder):
    (folder / "test.csv").write_text("text,label\nlovely,pos\nBAD  film,neg\n")
    with pytest.raises(DataError, match=r"test\.csv:3: the same text is in train, at .*train\.csv:3.*--allow-overlap"):
        read(folder)
    assert read(folder, allow_overlap=True).report.overlap["train/test"] == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train.csv": "words,label\na,x\n"}, r"train\.csv:1: no text column.*'words', 'label'.*--text-column"),
        ({"train.csv": "text,stars\na,x\n"}, r"train\.csv:1: no label column.*--label-column"),
        ({"train.csv": ""}, r"train\.csv: the file is empty"),
        ({"train.csv": "\n\n"}, r"train\.csv: the file is empty"),
        ({"train.csv": '" "\n'}, r"train\.csv: the file is empty"),
        ({"train.csv": '"text,label\na,x\n'}, r"train\.csv:1: the header can't be read"),
        ({"train.csv": "text,label\n"}, r"train\.csv: there are no rows under its header"),
        ({"train.csv": "text,label\na,\n"}, r"no row is left for train.*1 missing label.*train\.csv:2"),
        ({"train.csv": "text,label\na,x\nb,x\n"}, r"every training row has the label 'x'"),
        ({"train.jsonl": "oops\n", "train.csv": None}, r"train\.jsonl:1: no line of it is a JSON object"),
        ({"train.jsonl": "{}\n"}, r"which one is train\? Keep one of train\.csv, train\.jsonl"),
        ({"train.csv": None}, r"has no train file .*it holds test\.csv, validation\.csv"),
        ({"test.csv": "text,label\na,z\n"}, r"test\.csv: no row is left for test.*never occurs in training"),
        ({"test.csv": None, "train.csv": TRAIN}, r"too few rows to take the test rows out"),
    ],
)
def test_structural_faults(folder, files, message):
    for name, content in files.items():
        (folder / name).unlink() if content is None else (folder / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read(folder)


def test_unusable_files(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "nothing.csv")
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"\.xlsx can't be read; use one of \.csv, \.tsv, \.jsonl"):
        read(tmp_path / "a.xlsx")
    (tmp_path / "a.csv").write_bytes("text,label\na,b\n".encode("utf-16"))
    with pytest.raises(DataError, match="UTF-16; save the file as UTF-8"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("text,label\na,b\n")
    with pytest.raises(DataError, match=r"a\.csv:1: there is no column 'y'; there are 'text', 'label'"):
        read(tmp_path / "a.csv", columns={"text": "y"})


cells = st.text(alphabet='ab ,"\n\r\0é', max_size=5)
csv_lines = st.one_of(cells, st.builds("{},{}".format, cells, cells))
json_values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3))
json_lines = st.one_of(
    st.text(alphabet='{}":,ab1\\', max_size=12),
    st.dictionaries(st.sampled_from(["text", "label", "other"]), json_values).map(json.dumps),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(csv_lines, max_size=12), st.sampled_from(["utf-8", "latin-1"]))
def test_any_csv_is_used_or_rejected(tmp_path_factory, lines, encoding):
    path = tmp_path_factory.mktemp("any") / "f.csv"
    path.write_bytes("\n".join(["text,label", "first,x", *lines]).encode(encoding))
    check_accounting(path)


@settings(max_examples=100, deadline=None)
@given(st.lists(json_lines, max_size=8))
def test_any_jsonl_is_used_or_rejected(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("any") / "f.jsonl"
    path.write_text("\n".join(['{"text": "first", "label": "x"}', *lines]), encoding="utf-8")
    check_accounting(path)


def check_accounting(path):
    ledger = Ledger()
    rows = read_rows(path, ledger, CLASSIFICATION, {}, labelled=True)
    assert ledger.rows_in == len(rows) + sum(ledger.rejected.values())
    assert rows[0].input == "first"
    assert all(row.input.strip() and row.target for row in rows)
    lines = path.read_bytes().count(b"\n") + 1
    assert all(1 < fault.line <= lines for fault in ledger.samples if path.suffix == ".csv")
