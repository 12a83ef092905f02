"""What the command refuses before it works."""

import pytest

from lilliput.compressing.compression import check, compress
from lilliput.config import CompressConfig, build
from lilliput.errors import ConfigError


def config(tmp_path, **changes):
    return build(CompressConfig, **{"teacher": "t", "out": tmp_path / "out", **changes})


@pytest.mark.parametrize(
    ("given", "seconds"), [("30min", 1800), ("2h", 7200), ("90", 90), (45, 45), ("1.5 min", 90), ("10s", 10)]
)
def test_a_budget_is_read_in_seconds(tmp_path, given, seconds):
    assert config(tmp_path, budget=given).budget == seconds


def test_targets_are_read_with_their_units(tmp_path):
    assert config(tmp_path, latency="800us").latency == pytest.approx(0.8)
    assert config(tmp_path, size="5MB").size == 5e6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": "soon"}, "--budget: must be a number, with one of s, sec, min, m, h behind it"),
        ({"model": "m"}, "--teacher or --model: give one"),
        ({"teacher": None}, "--teacher or --model: give one"),
        ({"speedup": 2, "size": "5MB"}, "--speedup, --latency, --size: give one of them at most"),
        ({"speedup": 1}, "--speedup: "),
        ({"latency": "fast"}, "--latency: must be a number"),
        ({"task": "regression"}, "--task: this command works with classification so far"),
        ({"precision": "int4"}, "--precision: "),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, **changes)


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"--unlabelled .*more\.txt: no such file"):
        check(config(tmp_path, data="x.csv", unlabelled=tmp_path / "more.txt"))
    with pytest.raises(ConfigError, match="--unlabelled: the embedded data bring their own"):
        check(config(tmp_path, unlabelled=tmp_path / "more.txt"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="--workers: start this command without a launcher"):
        check(config(tmp_path))


def test_pairs_of_texts_are_refused(tmp_path):
    rows = "".join(f"a film {n},it was {n},{'yes' if n % 2 else 'no'}\n" for n in range(40))
    for split in ("train", "validation", "test"):
        body = rows.replace("a film", f"a {split}")
        (tmp_path / f"{split}.csv").write_text(f"text,text_pair,label\n{body}")
    with pytest.raises(ConfigError, match="holds pairs of texts, whose bundles can't be timed so far"):
        compress(config(tmp_path, data=str(tmp_path)))
