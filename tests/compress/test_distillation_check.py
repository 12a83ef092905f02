"""What a distillation refuses before it reads anything."""

import pytest

from lilliput.compress import objectives, students
from lilliput.compress.distillation_check import check
from lilliput.config import DistillConfig
from lilliput.errors import ConfigError


def config(tmp_path, **changes):
    return DistillConfig(**{"teacher": "t", "out": tmp_path, "data": "d.csv", **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mapping": "frst"}, "--mapping frst: unknown"),
        ({"mapping": "frst", "objective": "relations"}, "--mapping frst: unknown"),
        ({"mapping": "skip"}, "--mapping skip: no objective compares layers"),
        ({"relation_heads": 4}, "--relation-heads 4: no objective compares layers"),
        ({"temperature": 5}, "--temperature 5.0: no objective has one; it is of soft-targets and decoupled"),
        ({"held_out": 0.1}, "--held-out 0.1: is the share of a --corpus"),
        ({"block_size": 64}, "--block-size 64: is of --rounding"),
        ({"target_cpu": "x86"}, "--target-cpu x86: is of --rounding"),
        (
            {"objective": "relations", "hard_label_weight": 0.5},
            "--hard-label-weight 0.5: objectives that compare layers alone",
        ),
        ({"objective": "relations="}, "the weight of relations must be a number above 0, not ''"),
        ({"stage": "relations,mapping=skip"}, "--stage relations,mapping=skip: mapping is one for all stages"),
        ({"task": "sentence-embedding", "objective": "soft-targets"}, "--objective soft-targets: says nothing of vec"),
        ({"task": "sentence-embedding", "student": "static"}, "--student static: gives a text labels or a score"),
    ],
)
def test_what_nothing_reads_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        check(config(tmp_path, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"mapping": "skip", "objective": "relations", "relation_heads": 4},
        {"mapping": "1,4", "stage": "hidden-states"},
        {"temperature": 5, "stage": "soft-targets", "objective": "relations", "hard_label_weight": 0.5},
        {"rounding": "int4", "block_size": 64},
    ],
)
def test_what_something_reads_is_not(tmp_path, changes):
    check(config(tmp_path, **changes))


def test_students_that_begin_at_random_have_defaults_of_their_own(tmp_path):
    made = students.with_defaults(config(tmp_path, student="static:width=64", epochs=9))
    assert (made.train_embeddings, made.learning_rate, made.batch_size, made.epochs) == (True, 2e-3, 64, 9)
    asked = config(tmp_path, student="conv", train_embeddings=False, learning_rate=1e-4, batch_size=8, epochs=1)
    assert students.with_defaults(asked) == asked
    assert students.with_defaults(config(tmp_path)) == config(tmp_path)


def test_a_function_of_the_user_s_own_counts_by_its_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "loss_that_changes.py"
    file.write_text("def gap(student, teacher, *, temperature, labels, valid):\n    return (student - teacher).sum()\n")
    (before,) = objectives.sources(("logit-mse", "loss_that_changes:gap=2"), ("relations,epochs=1",)).items()
    assert before[0] == "loss_that_changes:gap"
    file.write_text(file.read_text().replace("sum", "mean"))
    assert objectives.sources((), ("loss_that_changes:gap,epochs=1",))["loss_that_changes:gap"] != before[1]
    assert objectives.sources(("logit-mse",), ("relations",)) == {}
