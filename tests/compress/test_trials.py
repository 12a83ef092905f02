"""What a search asks of pruning and distillation: plans from what is known, no test split, outputs of one teacher."""

import json

import pytest

from lilliput.compress import pruning
from lilliput.compress.distillation import distill_stage
from lilliput.compressing.bench import without_test
from lilliput.config import DistillConfig, PruneConfig
from lilliput.errors import ConfigError
from lilliput.reporter import Reporter
from lilliput.runs import Run
from lilliput.train import sources

pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.fixture
def settings(data, tmp_path):
    return {"data": str(data), "max_length": 16, "epochs": 1, "batch_size": 8, "device": "cpu", "out": tmp_path}


def test_a_further_target_needs_no_further_look_at_the_texts(save_teacher, settings, tmp_path, monkeypatch):
    teacher, planners, looks = save_teacher(layers=3), {}, []
    original = pruning.Planner

    def counted(*arguments, **options):
        looks.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(pruning, "Planner", counted)

    def cut(name, known, **changes):
        config = PruneConfig(model=str(teacher), **{**settings, **changes})
        dataset = without_test(sources.load(config))
        with Run(tmp_path / name, "trial") as run:
            stage = pruning.Pruning(config, dataset, Reporter(), planners=known).cut(run, "cut", str(teacher), 1.0)
        plan = json.loads((stage.folder / "plan.json").read_text())["plan"]
        return plan, stage.result["divergence" if "divergence" in stage.result else "pruning"]

    cut("mild", planners, flops=0.8, per_layer=True)
    shared = cut("strong", planners, flops=0.5, per_layer=True, learning_rate=1e-3)
    assert len(looks) == 1
    assert shared == cut("alone", {}, flops=0.5, per_layer=True)
    assert len(looks) == 2
    # Other costs, or shapes for all blocks alike, are another search.
    cut("parameters", planners, parameters=0.8, per_layer=True)
    cut("uniform", planners, flops=0.8)
    assert len(looks) == 4


def test_a_cut_that_was_killed_while_models_were_timed_begins_to_time_anew(
    save_teacher, settings, tmp_path, monkeypatch
):
    config = PruneConfig(model=str(save_teacher(layers=2)), size=30_000, **settings)
    dataset = without_test(sources.load(config))

    def cut():
        with Run(tmp_path / "run", "trial") as run:
            return pruning.Pruning(config, dataset, Reporter()).cut(run, "cut", config.model, 1.0)

    def kill(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lilliput.compress.goals.runtime.load", kill)
        with pytest.raises(KeyboardInterrupt):
            cut()
    assert (tmp_path / "run" / ".cut.partial" / "timed" / "0").is_dir()
    with pytest.raises(ConfigError, match="--size 30000"):  # measured, and too small for any model
        cut()


def test_without_a_test_split_only_validation_is_measured(save_teacher, settings, tmp_path):
    teacher = save_teacher(layers=3)
    config = DistillConfig(teacher=str(teacher), student="layers=1", **settings)
    dataset = without_test(sources.load(config))
    assert len(dataset.test) == 0
    with Run(tmp_path / "run", "trial") as run:
        result = distill_stage(run, "short", config, dataset, cache=tmp_path / "said").result
    assert set(result["validation"]) >= {"accuracy"}
    assert not {"test", "fidelity", "n_test"} & set(result)
    assert list((tmp_path / "said").iterdir())
    assert not (tmp_path / "run" / "teacher-outputs").exists()
