"""``lilliput predict --in --out``: files of every kind, and what is wrong with them."""

import csv
import datetime
import json

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

import lilliput
from lilliput import cli
from lilliput.commands import using

TEXTS = ["a joy from start to finish", 'awful, "really"', "漢字 😀"]


def predict(*words):
    result = CliRunner().invoke(cli.app, ["predict", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def write(path):
    rows = [{"id": str(number), "text": text} for number, text in enumerate(TEXTS)]
    if path.suffix == ".txt":
        path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".tsv":  # without quotes, as training reads it
        path.write_text("".join(f"{row['id']}\t{row['text']}\n" for row in [{"id": "id", "text": "text"}, *rows]))
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["id", "text"])
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path):
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    if path.suffix == ".tsv":
        names, *rows = (line.split("\t") for line in text.splitlines())
        return [dict(zip(names, row, strict=True)) for row in rows]
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("source", [".txt", ".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("target", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_answers_lie_beside_their_rows(tiny_bundle, tmp_path, source, target):
    given, out = write(tmp_path / f"given{source}"), tmp_path / "new" / f"out{target}"
    assert "3 answers written to" in predict(tiny_bundle, "--in", given, "--out", out)
    expected = lilliput.load(tiny_bundle)(TEXTS)
    rows = read(out)
    assert [row["text"] for row in rows] == TEXTS
    assert [row["predicted_label"] for row in rows] == [answer["label"] for answer in expected]
    assert [float(row["predicted_score"]) for row in rows] == [answer["score"] for answer in expected]
    if source != ".txt":
        assert [row["id"] for row in rows] == ["0", "1", "2"]
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_many_rows_and_a_column_by_name(tiny_bundle, tmp_path):
    (tmp_path / "many.csv").write_text("note,words\n" + "".join(f"x,good {i}\n" for i in range(600)))
    predict(tiny_bundle, "--in", tmp_path / "many.csv", "--out", tmp_path / "out.csv", "--text-column", "words")
    rows = read(tmp_path / "out.csv")
    assert [row["words"] for row in rows] == [f"good {i}" for i in range(600)]
    answers = lilliput.load(tiny_bundle)([f"good {i}" for i in range(600)])
    assert [row["predicted_label"] for row in rows] == [answer["label"] for answer in answers]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b"id,text\n1,good\n2,bad,worse\n", r"rows.csv:3: wrong number of columns \(3 instead of 2\)"),
        ("rows.csv", b"id,words\n1,good\n", r"--text-column: .*rows.csv has no column for text; it has id, words"),
        (
            "rows.csv",
            b"id;text\n1;good\n",
            r"it has id;text. Its columns seem to be separated by semicolons: .csv needs",
        ),
        (
            "rows.csv",
            b"id,text\n1,\xff\n",
            r"rows.csv:2: the column 'text' holds .* bytes that are not UTF-8 text; .* save",
        ),
        ("rows.csv", "id,text\n".encode("utf-16"), r"rows.csv:1: this is UTF-16; save the file as UTF-8"),
        ("rows.csv", b'id,text\n1,good\n2,"bad\n3,so\n4,so\n', r"rows.csv:3: malformed row \(.*\); check its quotes"),
        ("rows.csv", b"text,text\ngood,bad\n", r"rows.csv:1: 2 columns are called 'text'; rename all but one"),
        ("rows.tsv", b"text\ttext\ngood\tbad\n", r"rows.tsv:1: 2 columns are called 'text'; rename all but one"),
        ("rows.csv", b"", r"--in .*rows.csv: the file is empty"),
        ("rows.jsonl", b"", r"--in .*rows.jsonl: the file is empty"),
        ("rows.parquet", b"", r"--in .*rows.parquet: the file is empty"),
        ("rows.txt", b"", r"--in .*rows.txt: the file is empty"),
        ("rows.csv", b"id,text\n", r"--in .*rows.csv: there are no rows under its header"),
        (
            "rows.csv",
            b"text,predicted_label\ngood,1\n",
            r"rows.csv:2: the answers go to a column 'predicted_label'.*rename",
        ),
        (
            "rows.jsonl",
            b'{"text": "a", "id": 1}\n{"text": "b", "extra": 2}\n',
            r"rows.jsonl:2: the first row has no 'extra'",
        ),
        (
            "rows.jsonl",
            b'{"text": "good"}\n{"text": "a\\ud800b"}\n',
            r"rows.jsonl:2: the column 'text' holds a lone surr",
        ),
        ("rows.jsonl", b'{"text": "a", "id": ["\\ud800"]}\n', r"rows.jsonl:1: the column 'id' holds a lone surrogate"),
        ("rows.jsonl", b'{"text": "good"}\n{"text": 1}\n', r"rows.jsonl:2: the column 'text' holds no text"),
        ("rows.jsonl", b'{"text": "good"}\n[1]\n', r"rows.jsonl:2: malformed row \(not a JSON object\)"),
        ("rows.jsonl", b"nonsense\n", r"rows.jsonl:1: no line of it is a JSON object"),
        ("rows.jsonl", b'{"text": "good"}\nnonsense\n', r"rows.jsonl:2: malformed row \(Expecting value, column 1\)"),
        (
            "rows.csv",
            b"id;text\n1;good, bad\n",
            r"rows.csv:2: wrong .* 1\). Its columns seem to be separated by semicolons",
        ),
        ("rows.parquet", b"nonsense", r"rows.parquet: not a Parquet file"),
        ("rows.xlsx", b"", r"--in .*rows.xlsx: of no kind that can be read; known are .txt, .csv"),
    ],
)
def test_a_wrong_file_is_named_and_nothing_is_written(tiny_bundle, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(lilliput.errors.LilliputError, match=message):
        predict(tiny_bundle, "--in", tmp_path / name, "--out", tmp_path / "out" / "rows.csv")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_flags_that_do_not_fit(tiny_bundle, tmp_path):
    given = write(tmp_path / "given.csv")
    for words, message in (
        (["--in", given], "--in, --out: give both"),
        (["--in", given, "--out", tmp_path / "out.xlsx"], r"out.xlsx: of no kind that can be written"),
        (["a text", "--in", given, "--out", tmp_path / "out.csv"], "leave out texts and --json"),
        (
            ["--in", tmp_path / "missing.csv", "--out", tmp_path / "out.csv"],
            "--in .*missing.csv: can't be read: No such file",
        ),
    ):
        with pytest.raises(lilliput.errors.LilliputError, match=message):
            predict(tiny_bundle, *words)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    "values",
    [[1, "one"], [{}, {}], [2**70, 1], [[1], 1], [None] * 256 + ["late"], [1] * 256 + ["late"]],
    ids=["two kinds", "empty objects", "too large", "list or number", "late text", "late text after numbers"],
)
def test_what_parquet_can_not_hold(tiny_bundle, tmp_path, values):
    given = tmp_path / "given.jsonl"
    given.write_text("".join(json.dumps({"text": "good", "id": value}) + "\n" for value in values))
    with pytest.raises(
        lilliput.errors.DataError, match=r"--out .*out.parquet: column 'id' can't .*; use --out FILE.jsonl"
    ):
        predict(tiny_bundle, "--in", given, "--out", tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["given.jsonl"]
    predict(tiny_bundle, "--in", given, "--out", tmp_path / "out.jsonl")
    assert [row["id"] for row in read(tmp_path / "out.jsonl")] == values


def test_json_lines_keep_their_own_keys_and_dates(tiny_bundle, tmp_path):
    (tmp_path / "given.jsonl").write_text('{"text": "a", "id": 1}\n{"text": "b", "extra": "x"}\n')
    predict(tiny_bundle, "--in", tmp_path / "given.jsonl", "--out", tmp_path / "out.jsonl")
    first, second = read(tmp_path / "out.jsonl")
    assert (first["id"], second["extra"]) == (1, "x")
    assert "id" not in second

    rows = [{"text": "a", "day": datetime.date(2026, 1, 2)}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "dates.parquet")
    predict(tiny_bundle, "--in", tmp_path / "dates.parquet", "--out", tmp_path / "dates.jsonl")
    assert read(tmp_path / "dates.jsonl")[0]["day"] == "2026-01-02"


def test_two_columns_of_one_name_in_parquet(tiny_bundle, tmp_path):
    table = pyarrow.table([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "twins.parquet")
    with pytest.raises(lilliput.errors.DataError, match=r"twins.parquet:1: 2 columns are called 'text'"):
        predict(tiny_bundle, "--in", tmp_path / "twins.parquet", "--out", tmp_path / "out.csv")


def test_no_row_is_left_out(tiny_bundle, tmp_path):
    (tmp_path / "one.csv").write_text('text\ngood\n""\n\nbad\n')
    predict(tiny_bundle, "--in", tmp_path / "one.csv", "--out", tmp_path / "one.jsonl")
    assert [row["text"] for row in read(tmp_path / "one.jsonl")] == ["good", "", "bad"]
    (tmp_path / "lines.txt").write_text("good\n\nbad\n")
    predict(tiny_bundle, "--in", tmp_path / "lines.txt", "--out", tmp_path / "lines.jsonl")
    assert [row["text"] for row in read(tmp_path / "lines.jsonl")] == ["good", "", "bad"]


def test_a_long_cell_and_a_column_in_other_letters(tiny_bundle, tmp_path):
    long = "good " * 40_000
    (tmp_path / "long.csv").write_text(f"ID,Text\n1,{long}\n")
    before = csv.field_size_limit()
    predict(tiny_bundle, "--in", tmp_path / "long.csv", "--out", tmp_path / "out.jsonl")
    assert csv.field_size_limit() == before
    assert [row["Text"] for row in read(tmp_path / "out.jsonl")] == [long]
    with pytest.raises(
        lilliput.errors.ConfigError, match=r"--text-column text: .*long.csv has no such column; it has ID, T"
    ):
        predict(tiny_bundle, "--in", tmp_path / "long.csv", "--out", tmp_path / "out.csv", "--text-column", "text")


def test_tabs_and_line_breaks_have_no_place_in_tsv(tiny_bundle, tmp_path):
    (tmp_path / "given.csv").write_text('text\ngood\n"two\nlines"\n')
    with pytest.raises(lilliput.errors.DataError, match=r"given.csv:3: the column 'text' holds a tab or a line break"):
        predict(tiny_bundle, "--in", tmp_path / "given.csv", "--out", tmp_path / "out.tsv")
    assert not (tmp_path / "out.tsv").exists()


def test_what_can_not_be_answered_is_named_by_its_own_line(tmp_path):
    class Model:
        def __call__(self, asked):
            for number, one in enumerate(asked):
                if one["text"] == "bad":
                    raise lilliput.errors.InputError(f"item {number}: no [MASK] in it")

    asked = [("f.csv:2", {"text": "good"}), ("f.csv:3", {"text": "bad"})]
    with pytest.raises(lilliput.errors.InputError, match=r"^f.csv:3: no \[MASK\] in it$"):
        using._answers_of_rows(Model(), asked)


def test_a_folder_and_a_link_at_the_place_of_the_answers(tiny_bundle, tmp_path):
    given = write(tmp_path / "given.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(lilliput.errors.ConfigError, match=r"--out .*folder.csv: a folder; name a file"):
        predict(tiny_bundle, "--in", given, "--out", tmp_path / "folder.csv")
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "answers.csv")
    predict(tiny_bundle, "--in", given, "--out", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert len(read(tmp_path / "real" / "answers.csv")) == 3
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["answers.csv"]
