"""Training under rounding: the grid is that of the graphs, gradients pass through, and the model stays itself."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from lilliput import tasks
from lilliput.bundle import Bundle
from lilliput.compress import students
from lilliput.compress.rounding import RoundedLinear, asymmetric, blocks, by_channel, rounded, rounding_of
from lilliput.config import ExportConfig, QuantizeConfig
from lilliput.errors import ConfigError
from lilliput.export import quantize, weight_only
from lilliput.pipeline import export
from lilliput.quantizing import quantize as quantize_command
from lilliput.train.loop import BESIDE

WIDTH, OUT, ROWS = 64, 24, 40


@pytest.fixture(scope="module")
def layers():
    """A table and a product in torch, and the graph of both."""
    torch.manual_seed(0)
    table, product = nn.Embedding(ROWS, WIDTH), nn.Linear(WIDTH, OUT, bias=False)
    weights = [
        numpy_helper.from_array(table.weight.detach().numpy(), "table"),
        numpy_helper.from_array(product.weight.detach().numpy().T.copy(), "weights"),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="gather"),
        helper.make_node("MatMul", ["rows", "weights"], ["out"], name="product"),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", "tokens", OUT])
    graph = helper.make_graph(nodes, "both", [ids], [out], weights)
    return table, product, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def both(layers, precision, **options):
    """What torch computes under the rounding, for ids ``[2, 5]``."""
    table, product, _ = layers
    model = nn.Sequential(table, product)
    settings = {"reduce_range": False, "block_size": 16, **options}
    ids = torch.arange(10).reshape(2, 5)
    with torch.no_grad():
        exact = model(ids)
        with rounded(model, rounding_of(precision, **settings)):
            found = model(ids)
    assert type(product) is nn.Linear
    return ids, exact, found


def run(path, ids):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"ids": ids.numpy()})[0]


@pytest.mark.parametrize(("precision", "bits"), [("int4", 4), ("int8-weights", 8)])
def test_weights_are_those_of_the_weight_only_graph(layers, tmp_path, precision, bits):
    ids, exact, ours = both(layers, precision)
    onnx.save(layers[2], tmp_path / "fp32.onnx")
    weight_only.quantize_weights(tmp_path / "fp32.onnx", tmp_path / "small.onnx", bits=bits, block_size=16)
    model = onnx.load(tmp_path / "small.onnx")
    (node,) = (node for node in model.graph.node if node.op_type == "MatMulNBits")
    (level,) = (attribute for attribute in node.attribute if attribute.name == "accuracy_level")
    level.i = 1  # products in float32: training leaves out that the kernel rounds activations
    onnx.save(model, tmp_path / "exact.onnx")
    theirs = run(tmp_path / "exact.onnx", ids)
    assert np.abs(exact.numpy() - theirs).max() > 1e-3
    assert ours.numpy() == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("reduce_range", [False, True])
def test_dynamic_int8_is_what_the_graph_computes(layers, tmp_path, reduce_range):
    if not reduce_range and quantize.overflows(quantize.machine.cpu()):
        pytest.skip("int8 products of 8-bit weights overflow on this processor")
    ids, exact, ours = both(layers, "int8", reduce_range=reduce_range)
    onnx.save(layers[2], tmp_path / "fp32.onnx")
    quantize.quantize_smoothed(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", reduce_range=reduce_range)
    theirs = run(tmp_path / "int8.onnx", ids)
    assert np.abs(exact.numpy() - theirs).max() > 1e-2
    assert ours.numpy() == pytest.approx(theirs, abs=1e-4)


def test_values_by_hand():
    # Extremes -1 and 2 in 3 steps: a scale of 1 and a zero point of 1.
    values = torch.tensor([-1.0, 0.0, 0.4, 0.6, 2.0])
    assert asymmetric(values, 3, values.min(), values.max()).tolist() == [-1, 0, 0, 1, 2]
    # One scale an output: 2 / 2 and 0.2 / 2.
    found = by_channel(torch.tensor([[2.0, -0.6], [0.2, 0.04]]), 2)
    assert found.tolist() == [[2, -1], [pytest.approx(0.2), 0]]


def test_a_last_block_may_be_shorter():
    weights = torch.tensor([[0.0, 15.0, 7.4, 0.0, 150.0]])
    assert blocks(weights, 4, 4).tolist() == [[0, 15, 7, 0, pytest.approx(150)]]


def test_gradients_pass_as_if_nothing_were_rounded():
    torch.manual_seed(1)
    exact, other = nn.Linear(8, 3), nn.Linear(8, 3)
    other.load_state_dict(exact.state_dict())
    other.__class__, other.rounding = RoundedLinear, rounding_of("int4", reduce_range=False, block_size=16)
    values = torch.randn(5, 8)
    for layer in (exact, other):
        layer(values).sum().backward()
    assert torch.equal(exact.weight.grad, other.weight.grad)


def test_a_model_is_itself_again_even_after_an_error(encoders):
    model = encoders.classifier("bert")
    before = {name: type(module) for name, module in model.named_modules()}
    names = list(model.state_dict())

    def fail():
        kinds = [type(module) for module in model.modules()]
        assert kinds.count(RoundedLinear) == 3 * 6  # of each layer; the small head stays exact
        assert list(model.state_dict()) == names
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), rounded(model, rounding_of("int8", reduce_range=True, block_size=32)):
        fail()
    assert {name: type(module) for name, module in model.named_modules()} == before


INT8 = rounding_of("int8", reduce_range=True, block_size=32)


def names_of_rounded(model):
    with rounded(model, INT8):
        return {name for name, module in model.named_modules() if hasattr(module, "rounding")}


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
@pytest.mark.parametrize("task", ["token-classification", "question-answering", "sentence-embedding"])
def test_what_answers_for_every_token_is_rounded_to_its_head(encoders, family, task):
    model = encoders.with_head(family, tasks.get(task).head)
    every = {name for name, module in model.named_modules() if type(module) in (nn.Linear, nn.Embedding)}
    assert names_of_rounded(model) == every


def test_the_head_of_a_student_of_windows_stays_exact(encoders, tiny):
    teacher = encoders.classifier("bert")
    student, _ = students.build("conv:width=16,layers=2", teacher, tiny.tokenizer(), initial_layers=None, seed=0)
    found = names_of_rounded(student)
    assert any("product" in name for name in found)
    assert not {"dense", "classifier"} & found


def test_what_is_trained_beside_the_model_stays_exact(encoders):
    model = encoders.classifier("bert")
    before = names_of_rounded(model)
    setattr(model, BESIDE, nn.ModuleDict({"hidden": nn.Linear(400, 400)}))
    assert names_of_rounded(model) == before


def test_sixteen_bits_are_refused():
    with pytest.raises(ConfigError, match="fp16: has 16 bits"):
        rounding_of("fp16", reduce_range=False, block_size=32)
    with pytest.raises(ValueError, match="--train: bf16 has 16 bits"):
        QuantizeConfig(model="m", out="o", precision="bf16", train=1)


def test_a_bundle_is_trained_and_then_quantized(encoders, tiny, tmp_path):
    data, model = encoders.data_set(tmp_path / "data"), encoders.save(tmp_path / "model", "bert", tiny.tokenizer)
    export(ExportConfig(model=str(model), data=str(data), precisions=("fp32",), max_length=16, out=tmp_path / "whole"))
    settings = {"model": str(tmp_path / "whole"), "data": str(data), "precision": "int4", "block_size": 16}
    settings |= {"max_drop": 100, "min_agreement": 0.1, "device": "cpu", "out": tmp_path / "small"}
    plain = quantize_command(QuantizeConfig(**settings))
    assert not (tmp_path / "small.training").exists()
    trained = quantize_command(QuantizeConfig(**settings, train=2, learning_rate=1e-3))
    whole, small = Bundle.open(tmp_path / "whole").manifest, Bundle.open(tmp_path / "small").manifest
    assert small.recipe["rounding"] == {"precision": "int4", "epochs": 2, "learning_rate": 1e-3}
    assert small.provenance == whole.provenance
    assert small.name == "small"
    assert small.files["onnx/model.onnx"].sha256 != whole.files["onnx/model.onnx"].sha256
    assert trained["verdict"]["texts"] == plain["verdict"]["texts"]
