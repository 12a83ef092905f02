"""Graphs that fail on a text, layers of fp16 that stay in float32, and the picture of the ranking."""

import json
import logging
import xml.etree.ElementTree as ElementTree

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lilliput
from lilliput import bundle
from lilliput.bundle import Bundle
from lilliput.compress import quantize_bundle
from lilliput.compress.sensitivity_chart import SHOWN, picture
from lilliput.config import ExportConfig, QuantizeConfig
from lilliput.errors import GateError
from lilliput.export import half, quantize, sensitivity
from lilliput.pipeline import export


@pytest.fixture(scope="module")
def source(encoders, tiny, tmp_path_factory):
    """A bundle whose last block has activations far beyond float16's 65,504, and the data that it is for."""
    place = tmp_path_factory.mktemp("large")
    data, model = encoders.data_set(place / "data"), encoders.save(place / "model", "bert", tiny.tokenizer)
    export(ExportConfig(model=str(model), data=str(data), precisions=("fp32",), max_length=16, out=place / "bundle"))
    path = place / "bundle" / "onnx" / "model.onnx"
    graph = onnx.load(path)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    products = [n for n in graph.graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    for node in products[-2:]:  # the feed-forward half of the last block
        tensor = weights[node.input[1]]
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e5), tensor.name))
    onnx.save(graph, path)
    opened = json.loads((place / "bundle" / "lilliput.json").read_text())
    fields = {k: v for k, v in opened.items() if k not in ("format", "lilliput", "files", "smoke", "digest")}
    bundle.write_manifest(place / "bundle", **fields, smoke=[])
    return place / "bundle", data, [node.name for node in products[-2:]]


def settings(source, out, **changes):
    given = {"model": str(source[0]), "data": str(source[1]), "precision": "fp16", "max_drop": 100, "out": out}
    return QuantizeConfig(**{**given, "min_agreement": 0.1, **changes})


def test_the_search_goes_on_after_a_graph_that_overflows(source, tmp_path, monkeypatch):
    """Stand-in: whatever is kept, all of the second attempt is float32."""
    write = half.to_fp16

    def stand_in(source, target, kept):
        if len(kept) == 1:
            target.write_bytes(source.read_bytes())
        else:
            write(source, target, kept=kept)

    monkeypatch.setattr(half, "to_fp16", stand_in)
    result = quantize_bundle(settings(source, tmp_path / "out"))
    assert result["tried"][0]["kept"] == []
    assert result["tried"][0]["agreement"] is None
    assert len(result["verdict"]["kept"]) == 1
    assert result["fault"] is None
    assert bundle.verify(tmp_path / "out")
    image = ElementTree.fromstring((tmp_path / "out.quantization.svg").read_text())
    assert image.tag.endswith("svg")
    assert Bundle.open(tmp_path / "out").manifest.graphs.keys() == {"fp32", "fp16"}
    assert lilliput.load(tmp_path / "out", precision="fp16")("the film was a joy")


def test_a_graph_that_always_fails_leaves_its_report(source, tmp_path):
    """Sums after the products overflow too, and are no layers that could be kept."""
    with pytest.raises(GateError, match=r"the fp16 graph has outputs that are not finite. No bundle was written"):
        quantize_bundle(settings(source, tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.quantization.json", "out.quantization.svg"]
    assert json.loads((tmp_path / "out.quantization.json").read_text())["fault"] == "has outputs that are not finite"


def test_half_precision_graphs_are_in_order_whatever_is_kept(source, tmp_path):
    path = source[0] / "onnx" / "model.onnx"
    names = list(quantize.layers(path))
    for kept in (names[:1], names[4:6], names):
        half.to_fp16(path, tmp_path / "half.onnx", kept=kept)
        graph = onnx.load(tmp_path / "half.onnx").graph
        known = {one.name for one in [*graph.initializer, *graph.input]}
        for node in graph.node:
            assert {name for name in node.input if name} <= known
            known |= set(node.output)


def test_noise_of_what_is_not_finite():
    one = [np.array([[3.0, 4.0]], dtype=np.float32)]
    for wrong in (np.nan, np.inf):
        assert sensitivity.compare(one, [np.array([[wrong, 4.0]], dtype=np.float32)]) == (-float("inf"), 1.0)


def test_loggers_with_a_level_of_their_own_are_quiet(caplog):
    logger = logging.getLogger("lilliput.test.loud")
    logger.setLevel(logging.INFO)
    before = logging.root.manager.disable
    with quantize.quiet():
        logger.info("advice")
        logger.warning("advice")
    assert logging.root.manager.disable == before
    assert not caplog.records


def test_the_picture_by_hand():
    rows = [
        {"layer": "broken", "weights": 1, "sqnr_db": None, "flips": 1.0},
        {"layer": "a<b", "weights": 1, "sqnr_db": 10.0, "flips": 0.25},
        {"layer": "best", "weights": 1, "sqnr_db": 40.0, "flips": 0.0},
        {"layer": "same", "weights": 1, "sqnr_db": None, "flips": 0.0},
    ]
    image = picture(rows, ["a<b"])
    root = ElementTree.fromstring(image)  # names are escaped
    bars = [r for r in root.iter() if r.tag.endswith("rect") and r.get("height") == "13" and r.get("fill") != "#e4e8ed"]
    assert [float(bar.get("width")) for bar in bars] == [0.0, 80.0, 320.0, 320.0]
    assert [bar.get("fill") for bar in bars] == ["#0072b2", "#d55e00", "#0072b2", "#0072b2"]
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "outputs not finite, 100.00% flip" in words
    assert "10.0 dB, 25.00% flip" in words
    assert "no noise, 0.00% flip" in words
    many = ElementTree.fromstring(picture([{**rows[1], "layer": str(n)} for n in range(SHOWN + 5)], []))
    assert sum(r.get("height") == "13" for r in many.iter() if r.tag.endswith("rect")) == 2 * SHOWN
