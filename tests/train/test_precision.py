"""Bfloat16 is used where it is measured to be faster, and a resumed run goes on as it began."""

import json
from types import SimpleNamespace

import pytest
import torch

from lilliput.train import precision

CPU = torch.device("cpu")


@pytest.fixture
def machine(monkeypatch):
    """A processor with bfloat16 instructions on which products take these seconds."""

    def set_up(bf16, fp32, features=("BF16",)):
        seconds = {torch.bfloat16: bf16, torch.float32: fp32}
        monkeypatch.setattr(precision, "_seconds", seconds.__getitem__)
        monkeypatch.setattr(precision, "cpu", lambda: SimpleNamespace(has=lambda name: name in features))
        precision._cpu_is_faster.cache_clear()

    yield set_up
    precision._cpu_is_faster.cache_clear()


@pytest.mark.parametrize(("bf16", "fp32", "faster"), [(1.0, 2.0, True), (2.0, 1.0, False), (0.9, 1.0, False)])
def test_the_faster_type_is_chosen_and_a_small_gain_is_none(machine, bf16, fp32, faster):
    machine(bf16, fp32)
    assert precision.bf16_is_fast(CPU) is faster


def test_without_the_instructions_nothing_is_timed(machine):
    machine(None, None, features=())
    assert precision.bf16_is_fast(CPU) is False


def test_products_take_a_positive_time():
    assert 0 < precision._seconds(torch.float32) < 10


def test_a_training_goes_on_in_the_precision_that_it_began_in(machine, tmp_path):
    machine(1.0, 2.0)
    assert precision.autocasts(CPU, tmp_path / "checkpoints")
    machine(2.0, 1.0)
    assert precision.autocasts(CPU, tmp_path / "checkpoints")
    assert not precision.autocasts(CPU, tmp_path / "others")
    assert json.loads((tmp_path / "others/precision.json").read_text()) == {"bf16": False}
