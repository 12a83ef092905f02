"""Ranges of activations: streamed, and against NumPy on all values at once."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput.errors import ConfigError
from lilliput.export import calibration
from lilliput.export.calibration import BINS, Histogram, ranges


def filled(*tensors):
    histogram = Histogram()
    for tensor in tensors:
        histogram.add(np.array(tensor, dtype=np.float32))
    return histogram


def test_minimum_and_maximum_contain_zero():
    assert filled([[1.0, 2.0]], [[3.0]]).range("minmax") == (0.0, 3.0)
    assert filled([[-1.5]], [[4.0, -0.5]]).range("minmax") == (-1.5, 4.0)
    assert filled([[0.0, 0.0]]).range("entropy") == (0.0, 0.0)


@given(
    st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20), min_size=1, max_size=6),
    st.sampled_from(["minmax", "percentile", "entropy"]),
)
@settings(max_examples=40, deadline=None)
def test_ranges_do_not_depend_on_how_values_come(tensors, method):
    """Every value is counted once, and the range is within that of the values."""
    one = filled(*tensors)
    together = np.concatenate([np.array(tensor, dtype=np.float32) for tensor in tensors])
    assert one.counts.sum() == len(together)
    low, high = one.range(method)
    assert min(0.0, together.min()) <= low <= 0.0 <= high <= max(0.0, together.max())


def test_bins_merge_when_a_value_lies_beyond_them():
    histogram = filled([0.5] * 3 + [1.0])  # bins up to 1
    histogram.add(np.array([7.9], dtype=np.float32))  # up to 8
    assert BINS * histogram.width == pytest.approx(8.0)
    places = np.flatnonzero(histogram.counts)
    assert histogram.counts[places].tolist() == [3, 1, 1]
    assert np.allclose((places + 0.5) * histogram.width, [0.5, 1.0, 7.9], atol=2 * histogram.width)


def test_a_percentile_cuts_what_is_rare():
    values = np.concatenate([np.linspace(-1, 1, 100_000), [50.0] * 5])  # 5 of 100,005 values: 0.005%
    low, high = filled(values).range("percentile")
    expected = np.quantile(np.abs(values), calibration.PERCENTILE / 100)
    assert high == pytest.approx(expected, abs=2 * 50 / BINS)
    assert low == -1.0


def test_entropy_cuts_a_long_thin_tail():
    draw = np.random.default_rng(0)
    bulk = draw.normal(size=200_000)
    _, high = filled(np.append(bulk, 40.0)).range("entropy")
    assert 2.0 < high < 20.0  # to keep one value at 40 the levels would be 10 times coarser for all others


def test_ranges_of_a_graph_and_the_memory_of_one_text(tmp_path):
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "x"], ["square"]), helper.make_node("Neg", ["square"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "g.onnx")
    texts = ({"x": np.full(size, size, dtype=np.float32)} for size in (1, 3, 2))  # of unequal lengths, read once
    found = ranges(tmp_path / "g.onnx", ["square", "y"], texts, "minmax")
    assert found == {"square": (0.0, 9.0), "y": (-9.0, 0.0)}
    with pytest.raises(ConfigError, match="--calibration-texts: there is no text"):
        ranges(tmp_path / "g.onnx", ["square"], [], "minmax")
