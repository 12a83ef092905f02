"""The bucket rule, the embedded sentiment data, duplicates and overlap, subsets, reports."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from lilliput import tasks
from lilliput.errors import ConfigError, DataError
from lilliput.train.data import Row, Split, assemble, bucket, key, normalise
from lilliput.train.data_report import Ledger, Lengths, render
from lilliput.train.sentiment import sentiment

FILES = {
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
}


def text_in_bucket(number, start=0):
    """A text whose bucket, computed here from the definition, is ``number``."""
    candidates = (f"sentence {i}" for i in range(start, start + 1000))
    return next(t for t in candidates if int(hashlib.sha256(t.encode()).hexdigest(), 16) % 10 == number)


@pytest.fixture
def folder(tmp_path):
    """A tiny stand-in of the embedded data: in each domain and bucket one positive, one negative, one neutral row."""
    for offset, filename in enumerate(FILES.values()):
        rows = []
        for number in range(10):
            for kind, rating in enumerate(("0.6", "-0.6", "0.5")):
                rows.append(f"id\t{rating}\t{text_in_bucket(number, 10_000 * offset + 1_000 * kind)}")
        (tmp_path / filename).write_bytes("\r\n".join(rows).encode())
    return tmp_path


def write_movies(folder, *lines):
    (folder / FILES["movies"]).write_bytes("\r\n".join(lines).encode())


def test_normal_form_is_nfkc_lower_case_and_single_spaces():
    assert normalise("  \ufb01ne\u00a0 DAY\n\uff01") == "fine day !"


def test_bucket_is_the_sha256_of_the_normal_form_modulo_10():
    expected = int(hashlib.sha256(b"a fine day").hexdigest(), 16) % 10
    assert bucket("A  fine day ") == bucket("a fine day") == expected


@pytest.mark.parametrize(("fold", "tests", "validation"), [(0, {0, 1, 2}, 3), (1, {3, 4, 5}, 6), (2, {6, 7, 8}, 9)])
def test_each_split_holds_its_buckets(folder, fold, tests, validation):
    data = sentiment(folder, fold)
    assert {bucket(text) for text in data.test.texts} == tests
    assert {bucket(text) for text in data.validation.texts} == {validation}
    assert {bucket(text) for text in data.train.texts} == set(range(10)) - tests - {validation}
    assert {bucket(text) for text in data.transfer} == set(range(10)) - tests
    for split in data.out_of_domain.values():
        assert {bucket(text) for text in split.texts} == tests


def test_sizes_and_accounting(folder):
    data = sentiment(folder, 0)
    # 10 buckets x (positive, negative): 3 buckets test, 1 validation, 6 train
    assert (len(data.train), len(data.validation), len(data.test)) == (12, 2, 6)
    assert {name: len(split) for name, split in data.out_of_domain.items()} == {
        "products": 6,
        "editorials": 6,
        "tweets": 6,
    }
    assert len(data.transfer) == 7 + 3 * 7 * 3  # neutral movies; all three kinds of the other domains
    assert data.report.rows_rejected == {"neutral sentence in a test bucket": 4 * 3}
    assert data.report.rows_in == 120 == data.report.rows_used + 12
    assert data.report.splits["train"].labels == {"negative": 6, "positive": 6}


def test_label_1_is_positive_and_the_threshold_is_strict(folder):
    low, high, edge = (text_in_bucket(9, 50_000 + 1000 * i) for i in range(3))
    write_movies(folder, f"1\t-0.51\t{low}", f"2\t0.51\t{high}", f"3\t0.5\t{edge}")
    data = sentiment(folder)
    assert dict(zip(data.train.texts, data.train.labels, strict=True)) == {low: 0, high: 1}
    assert data.label_names == ("negative", "positive")
    assert edge in data.transfer


def test_transfer_text_that_a_labelled_split_has_is_rejected(folder):
    shared = text_in_bucket(9, 70_000)
    write_movies(folder, f"1\t1.0\t{shared}", f"2\t0.0\t{shared.upper()}")
    data = sentiment(folder)
    assert shared in data.train.texts
    assert shared.upper() not in data.transfer
    assert data.report.rows_rejected["transfer text that is also in train"] == 1
    assert set(data.report.overlap.values()) == {0}


def test_malformed_rows_are_rejected_with_their_line(folder):
    write_movies(folder, "1\t1.0", "", f"2\tmuch\t{'x'}", "3\t1.0\t ", f"4\t1.0\t{text_in_bucket(9)}")
    report = sentiment(folder).report
    faults = {(fault.line, fault.reason) for fault in report.samples if fault.file == FILES["movies"]}
    assert faults == {(1, "malformed row"), (3, "malformed row"), (4, "empty text")}


def test_a_missing_file_says_what_to_do(folder):
    (folder / FILES["tweets"]).unlink()
    with pytest.raises(DataError, match=r"tweets_GroundTruth.txt is missing: run `lilliput data fetch` again"):
        sentiment(folder)


@pytest.mark.parametrize("fold", [-1, 3])
def test_unknown_fold(folder, fold):
    with pytest.raises(ConfigError, match="0, 1 or 2"):
        sentiment(folder, fold)


def rows(*pairs, file="f.csv"):
    return [Row(text, label, file, number, key(text)) for number, (text, label) in enumerate(pairs, start=1)]


def assembled(train, validation=(), test=(), transfer=()):
    splits = {"train": list(train), "validation": list(validation), "test": list(test)}
    ledger = Ledger(rows_in=sum(map(len, splits.values())) + len(transfer))
    return assemble("d", tasks.get("classification"), ("a", "b"), splits, list(transfer), {}, ledger)


def test_first_of_duplicates_is_kept_and_conflicts_are_counted():
    data = assembled(rows(("One", "a"), ("one ", "a"), ("ONE", "b"), ("two", "b")))
    assert data.train == Split(["One", "two"], [0, 1])
    assert data.report.rows_rejected == {"duplicate text": 1, "duplicate text with another label": 1}
    assert (data.report.duplicates_removed, data.report.label_conflicts) == (2, 1)
    assert [(fault.line, fault.reason) for fault in data.report.samples] == [
        (2, "duplicate text"),
        (3, "duplicate text with another label"),
    ]


def test_overlap_is_counted_by_pair():
    data = assembled(rows(("x", "a"), ("y", "b")), rows(("y", "b")), rows(("X", "a"), ("z", "b")))
    assert data.report.overlap["train/test"] == 1
    assert data.report.overlap["train/validation"] == 1
    assert data.report.overlap["validation/test"] == 0


def test_fingerprint_is_the_hash_of_the_used_rows():
    data = assembled(rows(("x", "a"), ("x", "a")), rows(("y", "b")), (), rows(("t", None)))
    lines = [["train", "x", "a"], ["validation", "y", "b"], ["transfer", "t"]]
    expected = hashlib.sha256("".join(json.dumps(line) + "\n" for line in lines).encode()).hexdigest()
    assert data.fingerprint == expected


texts = st.text(alphabet="abAB \u00a0\ufb01", min_size=1, max_size=4).filter(str.strip)
labelled_rows = st.lists(st.tuples(texts, st.sampled_from("ab")), max_size=12).map(lambda pairs: rows(*pairs))


@settings(max_examples=60, deadline=None)
@given(labelled_rows, labelled_rows, labelled_rows, st.lists(texts, max_size=12))
def test_rows_in_are_used_or_rejected(train, validation, test, transfer):
    report = assembled(train, validation, test, rows(*((text, None) for text in transfer))).report
    assert report.rows_in == report.rows_used + sum(report.rows_rejected.values())
    assert report.rows_used == sum(facts.rows for facts in report.splits.values())
    assert all(count == 0 for pair, count in report.overlap.items() if "transfer" in pair)


def test_subset_keeps_balance_order_and_accounting():
    pairs = [(f"text {i}", "a" if i % 4 else "b") for i in range(40)]  # 30 a, 10 b
    data = assembled(rows(*pairs), rows(("v", "a")), rows(("w", "b")), rows(("t1", None), ("t2", None)))
    small = data.subset(train=8, transfer=1, seed=3)
    assert sorted(small.train.labels) == [0] * 6 + [1] * 2
    places = [data.train.texts.index(text) for text in small.train.texts]
    assert places == sorted(places)
    assert small == data.subset(train=8, transfer=1, seed=3)
    assert small.train != data.subset(train=8, transfer=1, seed=4).train
    assert (len(small.validation), len(small.test), len(small.transfer)) == (1, 1, 1)
    assert small.report.rows_rejected["left out of this subset"] == 32 + 1
    assert small.report.rows_in == small.report.rows_used + sum(small.report.rows_rejected.values())
    assert small.fingerprint != data.fingerprint
    assert data.subset(train=100) == data


def test_subset_keeps_a_rare_label():
    data = assembled(rows(*[(f"text {i}", "a") for i in range(99)], ("rare", "b")))
    assert sorted(data.subset(train=10).train.labels) == [0] * 9 + [1]


def test_percentiles_are_nearest_rank():
    assert Lengths.of(list(range(1, 201))) == Lengths(p50=100, p90=180, p99=198, max=200)
    assert Lengths.of([7]) == Lengths(7, 7, 7, 7)
    assert Lengths.of([]) == Lengths(0, 0, 0, 0)


def test_report_is_json_and_counts_tokens(folder):
    data = sentiment(folder)
    plain = data.report.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["splits"]["train"]["words"] == {"p50": 2, "p90": 2, "p99": 2, "max": 2}
    assert "tokens" not in plain["splits"]["train"]
    lengths = {name: [len(text.split()) + 2 for text in split.texts] for name, split in data.labelled.items()}
    counted = data.report.with_tokens(lengths, max_length=3).to_dict()
    assert counted["splits"]["train"]["tokens"]["max"] == 4
    assert counted["splits"]["train"]["above_maximum"] == 12


def test_render_shows_the_sums(folder):
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(render(sentiment(folder).report.with_tokens({"train": [1] * 12}, 128)))
    shown = captured.get()
    assert "120 rows in = 108 used + 12 rejected." in shown
    assert "neutral sentence in a test bucket" in shown
    assert "positive 50.0%" in shown
