"""The comparison with a plain Trainer script, on a tiny model: what is trained, what is told, and what is refused."""

import json

import pytest
from typer.testing import CliRunner

from lilliput.benchmarks.training import speed, trainers
from lilliput.config import FinetuneConfig
from lilliput.errors import LilliputError
from lilliput.train import sources

pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.fixture
def training(checkpoint, encoders, tmp_path, monkeypatch):
    """Configuration and data of a quick training that stands for the embedded one."""
    monkeypatch.setattr(trainers.embedded, "fetch_checkpoint", lambda: checkpoint("bert"))
    settings = {"epochs": 2, "batch_size": 8, "max_length": 16, "device": "cpu"}
    data = encoders.data_set(tmp_path / "data", train=20)
    config = FinetuneConfig(model=str(checkpoint("bert")), data=str(data), out=tmp_path / "work", **settings)
    return config, sources.load(config)


@pytest.mark.filterwarnings("ignore::UserWarning")  # the plain script is as it is
@pytest.mark.parametrize("who", ["ours", "plain"])
def test_both_trainings_read_every_text_and_answer_every_test_text(training, who):
    config, data = training
    measured = trainers.TRAININGS[f"{who} speed"](config, data)
    assert measured["texts"] == 20
    assert measured["seconds"] > 0
    hits = trainers.TRAININGS[f"{who} accuracy"](config.model_copy(update={"out": config.out / "full"}), data)["hits"]
    assert len(hits) == len(data.test)
    assert all(isinstance(hit, bool) for hit in hits)
    assert json.loads(json.dumps(hits)) == hits


def test_the_figure_is_the_median_of_the_rounds_and_they_take_turns(tmp_path, monkeypatch):
    """Ours takes 1, 2 and 4 seconds for 100 texts, the plain one 3 each time: ratios 3, 1.5 and 0.75."""
    asked = []

    def train(self, who, what):
        asked.append((who, what))
        if what == "accuracy":
            return {"hits": [True, True, True, False] if who == "ours" else [True, True, False, False]}
        rounds = sum(1 for one in asked if one == (who, what))
        return {"texts": 100, "seconds": 2 ** (rounds - 1) if who == "ours" else 3}

    monkeypatch.setattr(speed.Trainings, "__call__", train)
    monkeypatch.setattr(speed.precision, "bf16_is_fast", lambda device: False)
    out = tmp_path / "speed.json"
    result = CliRunner().invoke(app(), ["--out", str(out), "--rounds", "3", "--work", str(tmp_path / "work")])
    assert result.exit_code == 0, result.output
    piece = json.loads(out.read_text())
    (figure,) = piece["figures"]
    assert figure["id"] == "train.speed_vs_trainer"
    assert figure["value"] == pytest.approx(1.5)
    assert figure["ci"] == [pytest.approx(0.75), pytest.approx(3)]
    assert figure["n"] == 3
    assert piece["bf16"] is False
    assert piece["accuracy"]["ours"]["value"] == 0.75
    assert piece["accuracy"]["difference"]["value"] == 0.25
    assert asked == [
        *[(who, "speed") for who in ("ours", "plain", "plain", "ours", "ours", "plain")],
        *[(who, "accuracy") for who in ("ours", "plain")],
    ]
    assert "1.50 times the speed; accuracy 0.7500 against 0.5000" in result.output


def test_a_training_that_fails_tells_why(tmp_path):
    with pytest.raises(LilliputError, match=r"the theirs training failed: (.|\n)*KeyError: 'theirs speed'"):
        speed.Trainings(tmp_path, epochs=1)("theirs", "speed")


def app():
    import typer

    made = typer.Typer()
    made.command()(speed.main)
    return made
