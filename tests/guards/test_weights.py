"""safetensors files: the library's own are taken, and what it would refuse, or not, is refused."""

import json

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from safetensors.torch import save as save_torch

from lilliput.errors import IntegrityError
from lilliput.guards.weights import check, is_finite


def test_what_the_library_writes(tmp_path):
    kinds = (np.float16, np.float32, np.float64, np.int8, np.uint8, np.int16, np.int32, np.int64, np.bool_)
    check(save({kind.__name__: np.ones((2, 3), kind) for kind in kinds}, {"format": "pt"}), tmp_path / "w")
    check(save_torch({"a": torch.ones(3, dtype=torch.bfloat16), "empty": torch.ones(0)}), tmp_path / "w")
    check(save({}), tmp_path / "w")


@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite(tmp_path, kind, bad):
    weights = torch.ones(5, dtype=kind)
    check(save_torch({"a": weights}), tmp_path / "w")
    weights[3] = bad
    with pytest.raises(IntegrityError, match=r"w: .* tensor 'a' holds numbers that are not finite"):
        check(save_torch({"a": weights}), tmp_path / "w")


def test_a_sum_that_overflows_is_no_fault():
    assert is_finite(np.full(10, 3e38, np.float32))
    assert is_finite(np.full(10, 6e4, np.float16))
    assert not is_finite(np.array([3e38, np.inf, -np.inf], np.float32))
    assert is_finite(np.zeros(0, np.float32))


def packed(header, data):
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


@pytest.mark.parametrize(
    ("places", "size"),
    [([(0, 4), (4, 8)], 8), ([(4, 8), (0, 4)], 8), ([(0, 4), (2, 6)], 6), ([(0, 4), (5, 9)], 9), ([(0, 4), (4, 8)], 9)],
)
def test_the_library_agrees_on_where_tensors_are(tmp_path, places, size):
    header = {str(n): {"dtype": "F32", "shape": [1], "data_offsets": place} for n, place in enumerate(places)}
    data = packed(header, bytes(size))
    try:
        load(data)
    except SafetensorError:
        with pytest.raises(IntegrityError):
            check(data, tmp_path / "w")
    else:
        check(data, tmp_path / "w")
