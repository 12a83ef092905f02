"""Checkpoints are whole or not used."""

import json
import logging

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lilliput.errors import TrainingError
from lilliput.train import checkpoints

FILES = {"model.safetensors": b"weights", "optimizer.pt": b"momenta" * 100, "below/rng_state.pth": b"\x00\x01"}


def make(folder, step, *, sealed=True):
    checkpoint = folder / f"checkpoint-{step}"
    for name, content in FILES.items():
        path = checkpoint / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if sealed:
        checkpoints.seal(checkpoint)
    return checkpoint


def test_a_seal_lists_every_file_with_its_hash(tmp_path):
    checkpoint = make(tmp_path, 1)
    seal = json.loads((checkpoint / "seal.json").read_text())
    assert set(seal) == set(FILES)
    # printf 'weights' | sha256sum
    assert seal["model.safetensors"] == "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert checkpoints.fault_of(checkpoint) is None
    checkpoints.seal(checkpoint)  # a seal does not seal itself
    assert json.loads((checkpoint / "seal.json").read_text()) == seal


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("spoil", ["delete", "empty", "longer", "flip"])
def test_any_change_of_a_sealed_file_is_a_fault_that_names_it(tmp_path, name, spoil):
    checkpoint = make(tmp_path, 1)
    path, content = checkpoint / name, FILES[name]
    if spoil == "delete":
        path.unlink()
    else:
        path.write_bytes(
            {"empty": b"", "longer": content + b"\0", "flip": bytes([content[0] ^ 1]) + content[1:]}[spoil]
        )
    assert checkpoints.fault_of(checkpoint) == f"{name} is {'missing' if spoil == 'delete' else 'damaged'}"


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_any_file_is_a_fault(tmp_path_factory, data):
    checkpoint = make(tmp_path_factory.mktemp("one"), 1)
    path = data.draw(st.sampled_from(sorted(p for p in checkpoint.rglob("*") if p.is_file())))
    whole = path.read_bytes()
    content = bytearray(whole)
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    # A tab for a space between the entries of a seal changes nothing that it says.
    assume(path.name != "seal.json" or _parsed(content) != _parsed(whole))
    assert checkpoints.fault_of(checkpoint) is not None


def _parsed(content):
    try:
        return json.loads(content)
    except ValueError:
        return None


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "7", "null", '"text"', "\x00"])
def test_a_damaged_seal_is_a_fault(tmp_path, content):
    checkpoint = make(tmp_path, 1)
    (checkpoint / "seal.json").write_text(content)
    assert checkpoints.fault_of(checkpoint) == "its seal.json is damaged"


def test_the_newest_is_the_one_of_the_highest_step(tmp_path):
    assert checkpoints.newest(tmp_path) is None
    assert checkpoints.newest(tmp_path / "nowhere") is None
    for step in (900, 1000, 20):
        make(tmp_path, step)
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-1000"
    assert checkpoints.step_of(tmp_path / "checkpoint-1000") == 1000


def test_other_names_are_left_alone(tmp_path):
    make(tmp_path, 5)
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "best").mkdir()
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-5"
    assert (tmp_path / "checkpoint-best").exists()


def test_an_unsealed_one_is_removed_and_the_one_before_taken(tmp_path, caplog):
    make(tmp_path, 5)
    make(tmp_path, 10, sealed=False)
    with caplog.at_level(logging.WARNING, "lilliput"):
        assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-5"
    assert "checkpoint-10 can't be resumed from: its seal.json is missing; going on from checkpoint-5" in caplog.text
    assert not (tmp_path / "checkpoint-10").exists()


def test_a_damaged_one_gives_way_and_does_not_stay_to_push_out_a_whole_one(tmp_path, caplog):
    make(tmp_path, 5)
    (make(tmp_path, 10) / "optimizer.pt").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "lilliput"):
        assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-5"
    assert "checkpoint-10 can't be resumed from: optimizer.pt is damaged; going on from checkpoint-5" in caplog.text
    assert not (tmp_path / "checkpoint-10").exists()


def test_nothing_is_removed_where_every_one_is_damaged(tmp_path):
    for step in (5, 10):
        (make(tmp_path, step) / "model.safetensors").unlink()
    make(tmp_path, 15, sealed=False)
    with pytest.raises(TrainingError) as caught:
        checkpoints.newest(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no checkpoint is whole (checkpoint-15: its seal.json is missing; checkpoint-10: "
        "model.safetensors is missing; checkpoint-5: model.safetensors is missing); delete the folder to start again"
    )
    assert len(list(tmp_path.iterdir())) == 3


# --- placing ---------------------------------------------------------------------------------------------------------


def place(folder, name, keep=2):
    written = checkpoints.new(folder) / name
    (written / "below").mkdir(parents=True)
    (written / "below" / "file").write_text(name)
    checkpoints.place(written, folder, keep)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_counts_when_it_has_its_place(tmp_path):
    written = checkpoints.new(tmp_path) / "checkpoint-7"
    written.mkdir()
    (written / "file").write_text("x")
    assert checkpoints.newest(tmp_path) is None
    checkpoints.place(written, tmp_path, keep=2)
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-7"
    assert names(tmp_path) == ["checkpoint-7"]


def test_the_newest_of_each_kind_are_kept(tmp_path):
    for step in (100, 20, 3):
        make(tmp_path, step)
    place(tmp_path, "checkpoint-1000")
    assert names(tmp_path) == ["checkpoint-100", "checkpoint-1000"]
    place(tmp_path, "best-7", keep=1)
    place(tmp_path, "best-30", keep=1)
    assert names(tmp_path) == ["best-30", "checkpoint-100", "checkpoint-1000"]


def test_a_new_one_takes_the_place_of_the_one_of_its_step(tmp_path):
    make(tmp_path, 5, sealed=False)
    place(tmp_path, "checkpoint-5")
    assert checkpoints.fault_of(tmp_path / "checkpoint-5") is None
    assert (tmp_path / "checkpoint-5" / "below" / "file").read_text() == "checkpoint-5"


def test_what_a_crash_left_half_written_is_gone_before_the_next(tmp_path):
    (checkpoints.new(tmp_path) / "checkpoint-7").mkdir()
    assert list(checkpoints.new(tmp_path).iterdir()) == []


# --- the best weights ------------------------------------------------------------------------------------------------


def test_the_best_are_the_newest_kept(tmp_path):
    assert checkpoints.best(tmp_path) is None
    place(tmp_path, "best-9", keep=1)
    make(tmp_path, 12)
    assert checkpoints.best(tmp_path) == tmp_path / "best-9"
    # A crash between the placing of the one and the deletion of the other leaves both.
    place(tmp_path, "best-12", keep=2)
    assert checkpoints.best(tmp_path) == tmp_path / "best-12"


def test_whole_best_weights_pass_and_none_may_be_missing_once_validation_was_made(tmp_path):
    checkpoints.check_best(tmp_path, 4, due=False)
    with pytest.raises(TrainingError, match=r"best: the best weights so far are lost \(nothing is there\); delete"):
        checkpoints.check_best(tmp_path, 4, due=True)
    place(tmp_path, "best-3", keep=1)
    checkpoints.check_best(tmp_path, 4, due=True)
    assert checkpoints.best(tmp_path) == tmp_path / "best-3"


def test_damaged_best_weights_are_an_error_unless_training_makes_them_again(tmp_path, caplog):
    place(tmp_path, "best-6", keep=1)
    (tmp_path / "best-6" / "below" / "file").write_text("y")
    with pytest.raises(TrainingError, match=r"best-6: the best weights so far are lost \(below/file is damaged\)"):
        checkpoints.check_best(tmp_path, 6, due=True)
    assert checkpoints.best(tmp_path) == tmp_path / "best-6"
    with caplog.at_level(logging.WARNING, "lilliput"):
        checkpoints.check_best(tmp_path, 5, due=True)
    assert "best-6 can't be used: below/file is damaged; training goes on before that step" in caplog.text
    assert checkpoints.best(tmp_path) is None
