"""``lilliput predict --in --out``: files of every kind, and what is wrong with them."""

import csv
import json

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

import lilliput
from lilliput import cli

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
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["id", "text"], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path):
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ","))


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
        ("rows.csv", b"id,text\n1,good\n2,bad,worse\n", r"rows.csv:3: another number of cells than the header has"),
        ("rows.csv", b"id,words\n1,good\n", r"--text-column: .*rows.csv has no column for text; it has id, words"),
        ("rows.csv", b"id,text\n1,\xff\n", r"rows.csv: not UTF-8 text"),
        ("rows.jsonl", b'{"text": "good"}\n{"text": 1}\n', r"rows.jsonl:2: the column 'text' holds no text"),
        ("rows.jsonl", b'{"text": "good"}\n[1]\n', r"rows.jsonl:2: not a JSON object"),
        ("rows.jsonl", b"nonsense\n", r"rows.jsonl:1: not JSON"),
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
        (["--in", tmp_path / "missing.csv", "--out", tmp_path / "out.csv"], "missing.csv: No such file"),
    ):
        with pytest.raises(lilliput.errors.LilliputError, match=message):
            predict(tiny_bundle, *words)
    assert not list(tmp_path.glob("out*"))
