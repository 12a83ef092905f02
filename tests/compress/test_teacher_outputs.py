"""Each window is computed once, whatever is interrupted, and is found again; nothing of a failed write stays."""

import numpy as np
import pytest

from lilliput.compress import teacher_outputs
from lilliput.compress.teacher_outputs import TeacherOutputs, key_of
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
