"""Stages as the command line gives them."""

import pytest

from lilliput.compress.stages import stages
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError


def config(tmp_path, **changes):
    return DistillConfig(**{"teacher": "t", "out": tmp_path, "epochs": 4, "learning_rate": 3e-4, **changes})


def read(tmp_path, **changes):
    """Terms and own settings of every stage."""
    return [
        ([(one.name, weight) for weight, one in stage.terms], stage.config.epochs, stage.config.learning_rate)
        for stage in stages(config(tmp_path, **changes))
    ]


def test_without_stages_there_is_the_last_one(tmp_path):
    assert read(tmp_path) == [([("logit-mse", 1)], 4, 3e-4)]


def test_the_last_stage_can_have_several_weighted_objectives(tmp_path):
    assert read(tmp_path, objective=("soft-targets=0.5", "relations", "hidden-states=2e-1")) == [
        ([("soft-targets", 0.5), ("relations", 1), ("hidden-states", 0.2)], 4, 3e-4)
    ]


def test_stages_come_in_their_order_with_settings_of_their_own(tmp_path):
    given = ("hidden-states, embeddings=0.5 ,epochs=2,learning-rate=1e-3", "epochs=7,relations")
    assert read(tmp_path, stage=given) == [
        ([("hidden-states", 1), ("embeddings", 0.5)], 2, 1e-3),
        ([("relations", 1)], 7, 3e-4),
        ([("logit-mse", 1)], 4, 3e-4),
    ]


def test_other_settings_are_the_command_s(tmp_path):
    first, last = stages(config(tmp_path, stage="relations,epochs=1", batch_size=5, relation_heads=3, seed=9))
    assert (first.config.batch_size, first.config.relation_heads, first.config.seed) == (5, 3, 9)
    assert first.config.model_copy(update={"epochs": 4}) == last.config


def test_a_stage_knows_what_it_compares(tmp_path):
    some = stages(config(tmp_path, stage=("relations", "soft-targets,embeddings"), objective="cosine"))
    assert [stage.reads_states for stage in some] == [True, True, False]
    assert [stage.reads_predictions for stage in some] == [False, True, True]


def test_an_objective_of_the_user_s_own_can_be_in_a_stage(tmp_path, monkeypatch):
    (tmp_path / "my_stage_loss.py").write_text(
        "def gap(student, teacher, *, temperature, labels, valid):\n    return (student - teacher).abs().mean()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert read(tmp_path, stage="my_stage_loss:gap=0.25,epochs=1")[0] == ([("my_stage_loss:gap", 0.25)], 1, 3e-4)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("hidden-states,epochs=two", "--stage hidden-states,epochs=two: epochs must be a number, not 'two'"),
        ("relations,epochs=1.5", "epochs must be a number, not '1.5'"),
        ("relations,epochs", "epochs must be a number, not ''"),
        ("relations,learning-rate=fast", "learning-rate must be a number, not 'fast'"),
        ("relations,epochs=0", "epochs must be 1 to 1000, learning-rate above 0 and at most 1"),
        ("relations,epochs=1001", "epochs must be 1 to 1000, learning-rate above 0 and at most 1"),
        ("relations,learning-rate=0", "epochs must be 1 to 1000, learning-rate above 0 and at most 1"),
        ("relations,learning-rate=nan", "epochs must be 1 to 1000, learning-rate above 0 and at most 1"),
        ("epochs=2", "--stage epochs=2: names no objective; known are .*hidden-states"),
        ("mse", "mse: unknown; known are .*logit-mse"),
        ("relations,,epochs=2", "unknown; known are"),
        ("relations=0", "--stage relations=0: the weight of relations must be a number above 0, not '0'"),
        ("relations=-1", "the weight of relations must be a number above 0, not '-1'"),
        ("relations=inf", "the weight of relations must be a number above 0, not 'inf'"),
        ("relations=nan", "the weight of relations must be a number above 0, not 'nan'"),
        ("relations=much", "the weight of relations must be a number above 0, not 'much'"),
        ("batch-size=3,relations", "batch-size is one for all stages; give it as --batch-size"),
        ("relations=", "the weight of relations must be a number above 0, not ''"),
    ],
)
def test_what_can_not_be_read_is_refused(tmp_path, stage, message):
    with pytest.raises(ConfigError, match=message):
        stages(config(tmp_path, stage=stage))


def test_the_weight_of_an_objective_is_checked_alike(tmp_path):
    with pytest.raises(ConfigError, match="--objective relations=0: the weight of relations must be a number above 0"):
        stages(config(tmp_path, objective="relations=0"))
