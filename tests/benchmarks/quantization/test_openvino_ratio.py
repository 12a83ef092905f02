"""The ratio to OpenVINO, from rounds that were made up."""

from pathlib import Path

import numpy as np
import pytest

from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.measured import Measured, Result
from lilliput.benchmarks.quantization import openvino


def seen(rounds):
    elapsed = np.array([int(ms * 1e6) for ms in rounds])
    answers = np.zeros(len(rounds), dtype=int)
    return Measured(answers, np.ones((len(rounds), 1)), elapsed, tuple(rounds), {}, None, 1.0)


def test_the_quickest_of_our_graphs_counts():
    rounds = {
        "openvino-int8": [2.0, 4.0] * 5,
        "int8": [3.0, 6.0] * 5,  # half as slow again, in every round
        "int8-static": [2.4, 4.8] * 5,
        "int8-static in the runtime": [1.0, 2.0] * 5,
    }
    found = {name: Entry(name, "none", "int8", "none") for name in rounds}
    result = Result(1, ("a",), 10, {name: seen(values) for name, values in rounds.items()}, Path())
    rows = openvino.ratios_of(result, found)
    assert "ratio" not in rows["openvino-int8"]
    assert rows["int8"]["ratio"]["value"] == pytest.approx(1.5)
    figure, best = openvino.figure_of(rows, 2)
    assert best == "int8-static"  # not the runtime's row: its tokenizer is another one
    assert (figure.id, figure.n, figure.seeds) == ("quantize.openvino_ratio", 10, (2,))
    assert figure.value == pytest.approx(1.2)
    assert figure.ci == pytest.approx((1.2, 1.2))
