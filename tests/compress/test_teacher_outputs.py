"""Each window is computed once, whatever is interrupted, and is found again; nothing of a failed write stays."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput.compress import teacher_outputs
from lilliput.compress.teacher_outputs import TeacherOutputs, key_of
from lilliput.errors import ModelError
from lilliput.tasks import Tokens


def keys(*numbers):
    return np.array(numbers, dtype=np.int64)


def outputs_for(numbers, width=2):
    """Made-up outputs by which a window is recognised."""
    return [np.full(width, number, dtype=np.float32) for number in numbers]


@pytest.fixture
def open_store(tmp_path):
    def store(width=2, per_token=False, name="store"):
        return TeacherOutputs(tmp_path / name, width, per_token)

    return store


def test_a_key_stands_for_texts_and_window():
    some = [
        key_of(tokens, window)
        for tokens in (
            Tokens("a b"),
            Tokens("a", "b"),
            Tokens(("a", "b")),
            Tokens("a\0b"),
            Tokens("a", ""),
            Tokens("a"),
        )
        for window in (0, 1)
    ]
    assert len(set(some)) == 12
    assert key_of(Tokens("a", "b"), 0) == key_of(Tokens("a", "b"), 0)
    assert all(0 <= key < 2**63 for key in some)


def test_outputs_are_found_by_key_in_whatever_order_they_came(open_store):
    store = open_store()
    store.add(keys(30, 10), lambda: outputs_for([30, 10]))
    store.add(keys(20), lambda: outputs_for([20]))
    for again in (store, open_store()):
        assert [again[key].tolist() for key in (10, 20, 30)] == [[10, 10], [20, 20], [30, 30]]
        assert again[10].dtype == np.float32
        for missing in (9, 15, 31):
            with pytest.raises(KeyError):
                again[missing]


def test_outputs_of_tokens_keep_their_lengths(open_store):
    lengths = {5: 1, 7: 4, 6: 2}
    store = open_store(width=3, per_token=True)
    made = {key: np.arange(3 * n, dtype=np.float32).reshape(n, 3) + key for key, n in lengths.items()}
    store.add(keys(*lengths), lambda: list(made.values()))
    for key, expected in made.items():
        assert np.array_equal(open_store(width=3, per_token=True)[key], expected)


def test_what_is_lacking_is_named_once(open_store):
    store = open_store()
    assert store.lacking(keys(3, 1, 3, 2, 1)).tolist() == [0, 1, 3]
    store.add(keys(3, 5), lambda: outputs_for([3, 5]))
    assert store.lacking(keys(3, 1, 3, 2, 1, 5)).tolist() == [1, 3]
    assert store.lacking(keys(5, 3)).tolist() == []
    assert store.lacking(keys()).tolist() == []


def test_a_piece_is_there_as_a_whole_or_not_at_all(open_store, tmp_path, monkeypatch):
    store = open_store()
    store.add(keys(1), lambda: outputs_for([1]))
    save, calls = np.save, iter(range(10))

    def full(*arguments, **options):
        if next(calls) == 2:  # the third of the three files
            raise OSError(28, "No space left on device")
        save(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(teacher_outputs.np, "save", full)
        with pytest.raises(OSError, match="No space"):
            store.add(keys(2), lambda: outputs_for([2]))
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["piece-000000"]
    for again in (store, open_store()):
        assert again.lacking(keys(1, 2)).tolist() == [1]
    store.add(keys(2), lambda: outputs_for([2]))
    assert open_store()[2].tolist() == [2, 2]


def test_what_a_kill_left_of_a_piece_is_removed(open_store, tmp_path):
    open_store().add(keys(1), lambda: outputs_for([1]))
    left = tmp_path / "store" / ".piece-000001.77"
    left.mkdir()
    (left / "keys.npy").write_bytes(b"half")
    store = open_store()
    assert not left.exists()
    assert store.lacking(keys(1, 2)).tolist() == [1]
    store.add(keys(2), lambda: outputs_for([2]))
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["piece-000000", "piece-000001"]


def test_stores_of_different_teachers_know_nothing_of_each_other(open_store):
    open_store(name="one").add(keys(1), lambda: outputs_for([1]))
    assert open_store(name="other").lacking(keys(1)).tolist() == [0]


def test_an_interruption_while_a_teacher_computes_leaves_nothing(open_store, tmp_path):
    def stop():
        raise KeyboardInterrupt

    store = open_store()
    with pytest.raises(KeyboardInterrupt):
        store.add(keys(1), stop)
    assert list((tmp_path / "store").iterdir()) == []


def test_values_stay_on_the_disk(open_store):
    """A store of 8 MB takes the memory of its keys."""
    import tracemalloc

    open_store(width=2048).add(keys(*range(1000)), lambda: outputs_for(range(1000), 2048))
    tracemalloc.start()
    try:
        store = open_store(width=2048)
        assert store[77][0] == 77
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="counts the files that are open in /proc")
def test_no_file_stays_open(open_store):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    store = open_store()
    for number in range(30):
        store.add(keys(number), lambda number=number: outputs_for([number]))
    again = open_store()
    assert [again[number][0] for number in range(30)] == [store[number][0] for number in range(30)] == [*range(30)]
    assert descriptors() == before


@settings(max_examples=30, deadline=None)
@given(
    pieces=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=8), min_size=1, max_size=14),
    asked=st.lists(st.integers(-5, 45), max_size=30),
    per_token=st.booleans(),
)
def test_many_pieces_are_a_dictionary(pieces, asked, per_token):
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        store = TeacherOutputs(Path(folder), 2, per_token)
        for number, some in enumerate(pieces):
            shapes = [(1 + key % 4, 2) if per_token else (2,) for key in some]
            outputs = [np.full(shape, 100 * number + place) for place, shape in enumerate(shapes)]
            store.add(keys(*some), lambda outputs=outputs: [output.astype(np.float32) for output in outputs])
            for key, output in zip(some, outputs, strict=True):
                made.setdefault(key, output)  # the first that came is the one that is found
            lacking = {key: place for place, key in reversed([*enumerate(asked)]) if key not in made}
            assert store.lacking(keys(*asked)).tolist() == sorted(lacking.values())
        for one in (store, TeacherOutputs(Path(folder), 2, per_token)):
            for key, output in made.items():
                assert np.array_equal(one[key], output)
            for key in set(asked) - set(made):
                with pytest.raises(KeyError):
                    one[key]


def test_of_two_outputs_of_a_window_the_first_counts(open_store):
    store = open_store()
    store.add(keys(5, 7, 5), lambda: outputs_for([1, 2, 3]))
    store.add(keys(7, 9), lambda: outputs_for([4, 5]))
    for again in (store, open_store()):
        assert [again[key][0] for key in (5, 7, 9)] == [1, 2, 5]


def test_a_new_piece_costs_no_look_at_every_key(open_store, monkeypatch):
    argsort, sorted_ = np.argsort, []

    def counted(array, **options):
        sorted_.append(len(array))
        return argsort(array, **options)

    monkeypatch.setattr(teacher_outputs.np, "argsort", counted)
    places = teacher_outputs._Places()
    every = np.random.default_rng(0).permutation(8192)
    for start in range(0, 8192, 8):
        places.add(every[start : start + 8])
    assert sum(sorted_) <= 8192 * 12  # a dozen times each; all of them after every piece would be 512 times
    assert [places[key] for key in every[:100].tolist()] == [*range(100)]
    assert places.known(np.array([0, 8191, 8192, -1])).tolist() == [True, True, False, False]


def test_a_store_of_an_earlier_run_is_read(open_store, tmp_path):
    """The files of a piece are as the module says, whoever wrote them."""
    piece = tmp_path / "store" / "piece-000000"
    piece.mkdir(parents=True)
    np.save(piece / "keys.npy", keys(8, 3))
    np.save(piece / "ends.npy", np.array([4, 6]))
    np.save(piece / "values.npy", np.arange(6, dtype=np.float32))
    store = open_store(per_token=True)
    assert store[8].tolist() == [[0, 1], [2, 3]]
    assert store[3].tolist() == [[4, 5]]
    store[3][:] = 0  # what is read is the caller's
    assert store[3].tolist() == [[4, 5]]


@pytest.mark.parametrize("name", ["ends", "values"])
def test_a_file_that_was_cut_short_is_no_output(open_store, tmp_path, name):
    store = open_store()
    store.add(keys(1, 2), lambda: outputs_for([1, 2]))
    file = tmp_path / "store" / "piece-000000" / f"{name}.npy"
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(ModelError, match=rf"{name}\.npy: missing or cut short; delete .*store,"):
        store[2]
    with pytest.raises(ModelError, match=rf"{name}\.npy: missing or cut short"):
        open_store()


@pytest.mark.parametrize("size", [0, 5, 130])
def test_keys_that_were_cut_short_are_no_keys(open_store, tmp_path, size):
    open_store().add(keys(1, 2), lambda: outputs_for([1, 2]))
    os.truncate(tmp_path / "store" / "piece-000000" / "keys.npy", size)
    with pytest.raises(ModelError, match=r"keys\.npy: missing or cut short"):
        open_store()


def test_a_store_that_someone_deleted_is_named(open_store, tmp_path):
    store = open_store()
    store.add(keys(1), lambda: outputs_for([1]))
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(ModelError, match=r"ends\.npy: missing"):
        store[1]
