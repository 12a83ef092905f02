"""What trials see of the data, and on which device they are cut."""

import pytest

from lilliput.compressing import bench
from lilliput.compressing.bench import Bench, data_of, view_of
from lilliput.compressing.plan import Plan
from lilliput.compressing.proposals import prune
from lilliput.config import CompressConfig


@pytest.fixture
def config(encoders, tmp_path):
    data = encoders.data_set(tmp_path / "data", train=40, validation=20, test=12)
    return CompressConfig(teacher="t", data=str(data), out=tmp_path / "out")


def test_no_candidate_reads_more_of_validation_than_there_is_time_for(config, monkeypatch):
    whole = data_of(config)
    assert (len(whole.train), len(whole.validation), len(whole.test)) == (40, 20, 12)
    monkeypatch.setattr(bench, "VALIDATION", 10)
    cut = data_of(config)
    assert (len(cut.train), len(cut.validation), len(cut.test)) == (40, 10, 12)
    assert set(cut.validation.inputs) < set(whole.validation.inputs)
    assert data_of(config).fingerprint == cut.fingerprint != whole.fingerprint
    assert len(view_of(cut).test) == 0


@pytest.mark.parametrize(("asked", "cut_on"), [("cuda", "auto"), ("cpu", "cpu"), ("auto", "auto")])
def test_models_are_cut_to_the_latency_of_the_processor(config, tmp_path, asked, cut_on):
    known = Plan(augment=1, epochs=2, windows_augment=4, windows_epochs=5, texts=40, transfer=0)
    made = Bench(
        config=config.model_copy(update={"device": asked}),
        seen=None,
        known=known,
        teacher=tmp_path / "t",
        source=tmp_path / "t",
        source_speedup=1.0,
        dataset=None,
        lessons=None,
        recipe={},
    )
    assert prune.config_of(made, {"speedup": 3}).device == cut_on
