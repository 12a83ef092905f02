"""A corpus: documents out of every kind of file, what is rejected, what is held out, and how little memory it takes."""

import csv
import hashlib
import json
import re
import tracemalloc

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilliput.config import CorpusConfig
from lilliput.errors import DataError
from lilliput.train import corpus_files
from lilliput.train.corpus import Corpus, Tally, position

TEXTS = [f"text number {number}, with a \u201cmark\u201d and café" for number in range(40)]


def corpus(*names, **settings):
    return Corpus(CorpusConfig(corpus=tuple(map(str, names)), **{"held_out": 0.3, **settings}))


def read(*names, **settings):
    tally = Tally()
    return [document.text for document in corpus(*names, **settings).documents(tally)], tally


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def save(tmp_path):
    """Writes TEXTS as a file of a kind, in a column ``name``."""

    def save(kind, name="text", texts=TEXTS):
        path = tmp_path / f"corpus.{kind}"
        if kind == "txt":
            return write(path, "".join(f"{text}\n\n" for text in texts))
        if kind == "parquet":
            pyarrow.parquet.write_table(pyarrow.table({"id": list(range(len(texts))), name: texts}), path)
            return path
        if kind == "jsonl":
            return write(path, "".join(json.dumps({"id": 1, name: text}) + "\n" for text in texts))
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter="\t" if kind == "tsv" else ",", quoting=csv.QUOTE_MINIMAL).writerows(
                [("id", name), *((1, text) for text in texts)]
            )
        return path

    return save


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl", "parquet"])
def test_every_kind_of_file_gives_the_same_documents(save, kind):
    found, tally = read(save(kind))
    assert found == TEXTS
    assert tally.rows_in == len(TEXTS) == tally.training + tally.held_out


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_the_column_is_one_of_the_usual_names_or_the_one_given(save, kind):
    assert read(save(kind, "Review"))[0] == TEXTS
    path = save(kind, "strange")
    assert read(path, text_column="strange")[0] == TEXTS
    with pytest.raises(DataError, match=r"corpus\.\w+: no text column: none of text, .* is among 'id', 'strange'"):
        read(path)
    with pytest.raises(DataError, match=r"corpus\.\w+: there is no column 'other'; there are 'id', 'strange'"):
        read(path, text_column="other")


def test_several_sources_and_a_folder_are_read_in_order(save, tmp_path):
    one, other = save("txt", texts=TEXTS[:5]), save("jsonl", texts=TEXTS[5:])
    assert read(one, other)[0] == TEXTS
    assert read(other, one)[0] == TEXTS[5:] + TEXTS[:5]
    (tmp_path / "README.md").write_text("not a document")
    (tmp_path / ".hidden").mkdir()
    write(tmp_path / ".hidden" / "a.txt", "not a document either")
    (tmp_path / "below").mkdir()
    write(tmp_path / "below" / "a.txt", "first\n")  # "below" sorts before "corpus"
    assert read(tmp_path)[0] == ["first", *TEXTS[5:], *TEXTS[:5]]


def test_a_data_set_of_the_hub_is_streamed(monkeypatch):
    asked = []

    def load_dataset(name, configuration, **options):
        asked.append((name, configuration, options))
        return datasets.Dataset.from_dict({"id": TEXTS, "text": TEXTS}).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read("someone/some-texts")[0] == TEXTS
    assert read("someone/some-texts:english")[0] == TEXTS
    options = {"split": "train", "streaming": True}
    assert asked == [("someone/some-texts", None, options), ("someone/some-texts", "english", options)]
    with pytest.raises(DataError, match="someone/some-texts: there is no column 'body'"):
        read("someone/some-texts", text_column="body")


def test_a_data_set_that_the_hub_does_not_have(monkeypatch):
    def load_dataset(name, configuration, **options):
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"--corpus a/b: no file of this name is here, .*: Couldn't reach 'a/b' on"):
        read("a/b")


# --- faulty records --------------------------------------------------------------------------------------------------


def test_lines_that_are_not_utf_8_are_counted_and_skipped(tmp_path):
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbffirst\nbroken \xff\n\n   \nsecond\nnul \0\n")
    found, tally = read(path, write(tmp_path / "b.txt", "\n".join(TEXTS)))
    assert found == ["first", "second", *TEXTS]
    facts = tally.facts()
    assert facts["rejected"] == {"invalid UTF-8": 1, "NUL byte": 1}
    assert facts["rejected_examples"] == [f"{path}:2: invalid UTF-8", f"{path}:6: NUL byte"]
    assert facts["documents"] + facts["held_out_documents"] == len(found)


def test_faulty_rows_of_csv(tmp_path):
    rows = ['"two\nlines",1', "too,many,cells", "", '"never closed,1', "after it,1", ' "blank" ,1', '"",1']
    rows += [f'"{text}",1' for text in TEXTS]
    path = write(tmp_path / "a.csv", "text,label\n" + "\n".join(rows) + "\n")
    found, tally = read(path)
    assert found == ["two\nlines", "after it", '"blank"', *TEXTS]
    assert tally.facts()["rejected"] == {"wrong number of columns": 1, "malformed row": 1, "empty text": 1}
    assert [fault.line for fault in tally.samples] == [4, 6, 9]


def test_faulty_lines_of_jsonl(tmp_path):
    good = [json.dumps({"text": text}) for text in TEXTS]
    bad = ["{", "[1]", '{"other": "x"}', '{"text": 3}', '{"text": "\\ud800"}', ""]
    found, tally = read(write(tmp_path / "a.jsonl", "\n".join(good + bad)))
    assert found == TEXTS
    assert tally.facts()["rejected"] == {"malformed row": 3, "empty text": 1, "invalid UTF-8": 1}


def test_what_parquet_may_hold(tmp_path):
    path = tmp_path / "a.parquet"
    texts = pyarrow.array([*TEXTS, None, ""]).dictionary_encode()
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path)
    found, tally = read(path)
    assert found == TEXTS
    assert [str(fault) for fault in tally.samples] == [f"{path}:{line}: empty text" for line in (41, 42)]
    pyarrow.parquet.write_table(pyarrow.table({"text": [1, 2]}), path)
    with pytest.raises(
        DataError, match=r"there is no document; rejected: 2 malformed row; the first is .*a\.parquet:1"
    ):
        read(path)
    with pytest.raises(DataError, match=r"b\.parquet: not a usable Parquet file: "):
        read(write(tmp_path / "b.parquet", "no parquet at all"))


# --- whole corpora that are not usable --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", r"--corpus .*a\.txt: there is no document$"),
        ("a.txt", "\n \n", r"--corpus .*a\.txt: there is no document$"),
        ("a.csv", "", r"--corpus .*a\.csv: there is no document$"),
        ("a.txt", b"\xff\n\xfe x\n", r"there is no document; rejected: 2 invalid UTF-8; the first is .*a\.txt:1: inv"),
        ("a.txt", "text".encode("utf-16"), r"a\.txt:1: this is UTF-16; save the file as UTF-8"),
        ("a.csv", '"text\nx', r"a\.csv:1: the header can't be read: check its quotes"),
        ("a.pdf", "x", r"--corpus .*a\.pdf: can't be read; the name must end in \.txt, \.csv"),
        ("a.txt", "one document\n", r"--corpus .*a\.txt: of 1 documents none is held out for evaluation; give more"),
    ],
)
def test_what_is_not_usable_is_named(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / name, content), held_out=1e-9)


def test_nothing_left_to_train_on(tmp_path):
    with pytest.raises(DataError, match=r"of 2 documents all are held out for evaluation; .* smaller --held-out"):
        read(write(tmp_path / "a.txt", "one\ntwo\n"), held_out=1 - 1e-9)


def test_what_is_not_there_is_named(tmp_path):
    for name in (tmp_path / "none.txt", "none.jsonl", "./none", "a/b/c", "/none", "none", "no such thing"):
        with pytest.raises(DataError, match=re.escape(f"--corpus {name}: there is no such file or folder")):
            corpus(name)
    with pytest.raises(DataError, match=r"the folder holds no file that ends in \.txt"):
        corpus(tmp_path)
    path = write(tmp_path / "a.txt", "x")
    found = corpus(path)
    path.unlink()
    with pytest.raises(DataError, match=r"cannot read .*a\.txt: No such file"):
        list(found.documents(Tally()))
    with pytest.raises(DataError, match=r"cannot read .*a\.txt: No such file"):
        found.fingerprint()


# --- what is held out ------------------------------------------------------------------------------------------------


def test_the_held_out_documents_do_not_depend_on_the_order(tmp_path):
    def held_out(texts):
        path = write(tmp_path / "a.txt", "\n".join(texts))
        return {document.text for document in corpus(path).documents(Tally()) if document.held_out}

    assert held_out(TEXTS) == held_out(TEXTS[::-1]) == {text for text in TEXTS if position(text) < 0.3}


def test_a_document_s_place_is_the_hash_of_its_normal_form():
    expected = int(hashlib.sha256(b"a joy to see").hexdigest()[:16], 16) / 2**64
    assert position("A  joy\tto SEE ") == expected == position("a joy to see")
    places = [position(str(number)) for number in range(4000)]
    for share in (0.05, 0.3):
        count = sum(place < share for place in places)
        assert abs(count - 4000 * share) < 5 * (4000 * share * (1 - share)) ** 0.5


def test_the_fingerprint_is_that_of_the_content(save, tmp_path):
    path = save("txt")
    first = corpus(path).fingerprint()
    assert corpus(path.rename(tmp_path / "renamed.txt")).fingerprint() == first
    assert corpus(tmp_path / "renamed.txt", held_out=0.2).fingerprint() != first
    write(tmp_path / "renamed.txt", "other\n")
    assert corpus(tmp_path / "renamed.txt").fingerprint() != first


# --- memory ----------------------------------------------------------------------------------------------------------


@given(line=st.text(st.sampled_from("a é漢😀"), min_size=1, max_size=60), longest=st.integers(8, 20))
def test_a_long_line_comes_in_whole_characters(tmp_path_factory, line, longest):
    path = write(tmp_path_factory.mktemp("lines") / "a.txt", f"{line}\nnext")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_files, "LONGEST_LINE", longest)
        pieces = list(corpus_files._lines(path))
    assert "".join(text for _, text in pieces) == f"{line}\nnext"
    assert all(len(text.encode()) <= longest for _, text in pieces)
    assert [number for number, _ in pieces] == [1] * (len(pieces) - 1) + [2]


@pytest.mark.parametrize("kind", ["lines", "one line", "jsonl", "csv"])
def test_a_corpus_is_never_in_memory(tmp_path, kind):
    size, text = 12_000_000, "some words of no great interest. " * 30
    count = size // len(text)
    ending = kind if kind in ("jsonl", "csv") else "txt"
    path = tmp_path / f"a.{ending}"
    with path.open("w") as file:
        file.write("text\n" if kind == "csv" else "")
        for number in range(count):
            line = json.dumps({"text": f"{number} {text}"}) if kind == "jsonl" else f"{number} {text}"
            file.write(line if kind == "one line" else f"{line}\n")
    documents = corpus(path).documents(Tally())
    next(documents)
    tracemalloc.start()
    characters = sum(len(document.text) for document in documents)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert characters > 0.9 * size * (1 if kind != "one line" else 11 / 12)
    assert peak < (8_000_000 if kind == "one line" else 500_000)
