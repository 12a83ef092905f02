"""Batches against texts alone, on a tiny bundle."""

from lilliput import runtime
from lilliput.benchmarks.quantization import batching, targets


def test_every_size_is_compared_with_texts_alone(tiny_bundle):
    model = runtime.load(tiny_bundle, precision="fp32", workers=1)
    found = batching.measure(model, ["good", "bad bad", "good bad"] * 30, rounds=2)
    assert list(found) == ["4", "8", "16", "32"]
    assert all(0 < low <= value <= high for value, low, high in found.values())


def test_all_windows_are_read_in_each_size(tiny_bundle, monkeypatch):
    model, seen = runtime.load(tiny_bundle, precision="fp32", workers=1), []
    windows = [window for some in model.windows(["good"] * 10) for window in some]
    monkeypatch.setattr(type(model), "together", lambda self, some: seen.append(len(some)))
    batching.seconds(model, windows, 4)
    assert seen == [4, 4, 2]


def test_the_table_has_a_row_a_model():
    piece = {"precision": "int8-static", "gains": {"a": {"4": [1.25, 1.2, 1.3]}, "b": {"4": [0.9, 0.8, 1.0]}}}
    lines = targets.gains_of(piece).splitlines()
    assert lines[0] == "| model | precision | 4 together |"
    assert lines[2:] == ["| a | `int8-static` | 1.25 (1.20 to 1.30) |", "| b | `int8-static` | 0.90 (0.80 to 1.00) |"]
