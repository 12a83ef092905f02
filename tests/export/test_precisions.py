"""Graphs of every precision, of tiny models."""

import logging

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from lilliput import machine, sessions
from lilliput.export import onnx as exporting
from lilliput.export import quantize, sensitivity
from lilliput.export.precisions import QuantSpec, writer
from lilliput.export.to_bundle import DISABLED_OPTIMIZERS

NEAR = {"int8": 0.3, "int8-static": 0.3, "int8-weights": 0.15, "int4": 0.8, "fp16": 5e-3, "bf16": 5e-2}
"""How far logits may be from those of fp32, in their standard deviations over random texts."""
BYTES = {"int8": 0.45, "int8-static": 0.45, "int8-weights": 0.55, "int4": 0.4, "fp16": 0.6, "bf16": 0.6}


@pytest.fixture(scope="module")
def source(encoders, tmp_path_factory):
    """The graph of a BERT that is wide enough for blocks of weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = encoders.classifier("bert", hidden_size=64, intermediate_size=128, initializer_range=0.1).eval()
    path = tmp_path_factory.mktemp("graphs") / "model.onnx"
    with torch.no_grad():
        exporting.export_onnx(model, ("input_ids", "attention_mask"), path)
    return path


@pytest.fixture(scope="module")
def feeds():
    draw = np.random.default_rng(0)
    texts = [draw.integers(5, 500, (1, length)) for length in (3, 5, 9, 12, 17, 20, 24, 30) * 3]
    return [{"input_ids": text, "attention_mask": np.ones_like(text)} for text in texts]


def answers(path, feeds, precision="fp32"):
    session = sessions.open_session(path.read_bytes(), disabled_optimizers=DISABLED_OPTIMIZERS[precision])
    return np.concatenate([session.run(["logits"], feed)[0] for feed in feeds])


@pytest.mark.parametrize("precision", NEAR)
def test_a_precision_is_near_to_fp32_and_smaller(source, feeds, tmp_path, precision):
    logger = logging.getLogger()
    before = logger.level, list(logger.handlers)
    write = writer(QuantSpec(precision, block_size=16), source, feeds, tmp_path)
    write(tmp_path / "small.onnx", ())
    assert (logger.level, logger.handlers) == before
    expected = answers(source, feeds)
    spread = expected.std()
    assert np.abs(answers(tmp_path / "small.onnx", feeds, precision) - expected).max() < NEAR[precision] * spread
    assert (tmp_path / "small.onnx").stat().st_size < BYTES[precision] * source.stat().st_size

    every = quantize.layers(source)
    write(tmp_path / "kept.onnx", list(every))  # everything in float32
    assert np.abs(answers(tmp_path / "kept.onnx", feeds, precision) - expected).max() < max(1e-4, 1e-2 * spread)


def test_static_answers_do_not_depend_on_the_batch(source, feeds, tmp_path):
    writer(QuantSpec("int8-static"), source, feeds, tmp_path)(tmp_path / "static.onnx", ())
    session = sessions.open_session((tmp_path / "static.onnx").read_bytes())
    longest = max(feed["input_ids"].shape[1] for feed in feeds)
    batch = {
        name: np.concatenate([np.pad(feed[name], ((0, 0), (0, longest - feed[name].shape[1]))) for feed in feeds])
        for name in ("input_ids", "attention_mask")
    }
    alone = answers(tmp_path / "static.onnx", feeds)
    assert np.abs(session.run(["logits"], batch)[0] - alone).max() < 0.02 * alone.std()
    kinds = {node.op_type for node in onnx.load(tmp_path / "static.onnx").graph.node}
    assert "QuantizeLinear" in kinds
    assert not kinds & {"DynamicQuantizeLinear"}


@pytest.mark.parametrize(("cpu", "largest"), [("x86", 64), ("x86-vnni", 127), ("arm", 127)])
@pytest.mark.parametrize("precision", ["int8", "int8-static"])
def test_weights_have_the_bits_that_the_processor_takes(source, feeds, tmp_path, precision, cpu, largest):
    writer(QuantSpec(precision, target_cpu=cpu), source, feeds, tmp_path)(tmp_path / "q.onnx", ())
    weights = [
        numpy_helper.to_array(tensor)
        for tensor in onnx.load(tmp_path / "q.onnx").graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2
    ]
    assert max(np.abs(weight.astype(int)).max() for weight in weights) == largest


def test_auto_is_this_machine():
    assert QuantSpec("int8").reduce_range == quantize.overflows(machine.cpu())


def test_layers_are_products_with_weights_and_tables(source):
    graph = onnx.load(source).graph
    nodes = {node.name: node for node in graph.node}
    found = quantize.layers(source)
    assert {nodes[name].op_type for name in found} == {"MatMul", "Gather"}
    assert max(found.values()) == 512 * 64  # the words
    assert sum(nodes[name].op_type == "MatMul" for name in found) >= 6 * 3  # 6 a block, of three blocks


def test_the_layer_that_does_not_fit_is_the_most_sensitive(source, feeds, tmp_path):
    """All weights but those of one layer are numbers of bfloat16: quantizing the others changes nothing."""
    model = onnx.load(source)
    layers = quantize.layers(source)
    chosen = next(node for node in model.graph.node if node.name == list(layers)[-1])
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2 and tensor.name not in chosen.input:
            rounded = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    path, told = tmp_path / "rounded.onnx", []
    onnx.save(model, path)
    write = writer(QuantSpec("bf16"), path, feeds, tmp_path)
    found = sensitivity.measure(path, write, layers, feeds, ["logits"], progress=lambda *step: told.append(step))
    assert found[0].layer == chosen.name
    assert 20 < found[0].sqnr_db < 80
    assert [one.sqnr_db for one in found[1:]] == [float("inf")] * (len(layers) - 1)
    assert {one.layer: one.weights for one in found} == layers
    assert told[-1][:2] == (len(layers), len(layers))


def test_noise_and_flips_by_hand():
    one = [np.array([[3.0, 4.0]], dtype=np.float32), np.array([[1.0, 0.0]], dtype=np.float32)]
    other = [np.array([[3.0, 2.0]], dtype=np.float32), np.array([[1.0, 0.0]], dtype=np.float32)]
    sqnr, flips = sensitivity.compare(one, other)
    assert sqnr == pytest.approx(10 * np.log10(26 / 4))
    assert flips == 0.5
    assert sensitivity.compare(one, one) == (float("inf"), 0.0)
