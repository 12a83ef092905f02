"""What --data names: the embedded data set, or the user's files."""

import pytest

from lilliput.config import DataConfig
from lilliput.errors import ConfigError, DataError
from lilliput.train import sources


def test_a_folder_of_the_user(encoders, tmp_path):
    encoders.data_set(tmp_path / "mine")
    dataset = sources.load(DataConfig(data=str(tmp_path / "mine")))
    assert (dataset.name, dataset.label_names) == ("mine", ("negative", "positive"))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test), len(dataset.transfer)) == (24, 8, 8, 10)
    assert list(zip(dataset.train.texts, dataset.train.labels, strict=True))[:2] == [
        ("the film is bad", 0),
        ("the film is great", 1),
    ]


def test_unlabelled_text_of_another_file(encoders, tmp_path):
    encoders.data_set(tmp_path / "mine", unlabelled=3)
    (tmp_path / "more.txt").write_text("one more\nand another 漢字\n\n", encoding="utf-8")
    dataset = sources.load(DataConfig(data=str(tmp_path / "mine")), unlabelled=tmp_path / "more.txt")
    assert dataset.transfer == ["one more", "and another 漢字"]


def test_columns_are_passed_on(encoders, tmp_path):
    folder = encoders.data_set(tmp_path / "mine")
    for file in folder.glob("*.csv"):
        file.write_text(file.read_text(encoding="utf-8").replace("text,label", "what,so"), encoding="utf-8")
    config = DataConfig(data=str(folder), text_column="what", label_column="so")
    assert len(sources.load(config).train) == 24
    with pytest.raises(DataError, match=r"csv:1: no text column"):
        sources.load(DataConfig(data=str(folder)))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist"):
        sources.load(DataConfig(data=str(tmp_path / "nowhere.csv")))


def test_the_embedded_data_set_by_its_name(monkeypatch, tmp_path):
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources.embedded, "fetch_sentiment", lambda: tmp_path)
    monkeypatch.setattr(sources.sentiment, "sentiment", lambda folder, fold: asked.append((folder, fold)))
    for seed in (0, 1, 2, 3, 7):
        sources.load(DataConfig(seed=seed))
    assert asked == [(tmp_path, fold) for fold in (0, 1, 2, 0, 1)]
    with pytest.raises(ConfigError, match=r"--unlabelled: the embedded data bring their own"):
        sources.load(DataConfig(), unlabelled=tmp_path / "more.txt")


def test_the_name_means_the_embedded_data_and_a_path_means_the_user_s(encoders, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources.embedded, "fetch_sentiment", lambda: "cache")
    monkeypatch.setattr(sources.sentiment, "sentiment", lambda folder, fold: (folder, fold))
    encoders.data_set(tmp_path / "sentiment")
    assert sources.load(DataConfig(seed=4)) == ("cache", 1)
    assert len(sources.load(DataConfig(data="./sentiment")).train) == 24


def test_an_unknown_task_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--task juggling: unknown; known are classification"):
        sources.load(DataConfig(task="juggling"))
