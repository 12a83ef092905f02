"""The data of another kind: what is in them, and that Lilliput reads them."""

import csv
from collections import Counter

from lilliput.benchmarks.frontier.unlike import CLASSES, documents, write
from lilliput.config import DataConfig
from lilliput.train import sources

SENTENCES = {domain: [f"{domain} sentence {number} ." for number in range(50)] for domain in CLASSES}


def test_the_classes_are_unbalanced_and_the_accidents_are_there(tmp_path):
    count = write(tmp_path / "all.csv", documents(SENTENCES, 2000, seed=0))
    raw = (tmp_path / "all.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfid,text,label\r\n")
    with (tmp_path / "all.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count > 2000
    kinds = Counter(row["label"] for row in rows)
    assert [kind for kind, _ in kinds.most_common()] == list(CLASSES)
    texts = [row["text"] for row in rows]
    for sign in ("\x1b[0m", "<p>", "\u200b", "\r\n\r\n", "caf\u00c3\u00a9"):
        assert 0.02 < sum(sign in text for text in texts) / len(texts) < 0.1, sign
    assert 20 < sum(not text.strip() for text in texts) < 90
    assert all(4 <= text.lower().count("sentence") <= 14 for text in texts if text.strip())


def test_it_is_the_same_every_time_and_can_be_read(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / f"{name}.csv", documents(SENTENCES, 300, seed=1))
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    dataset = sources.load(DataConfig(data=str(tmp_path / "one.csv")))
    assert set(dataset.label_names) == set(CLASSES)
    assert {"empty text", "duplicate text"} <= set(dataset.report.rows_rejected)
