"""Lilliput's own architectures: computed by hand, padded, saved, folded, exported."""

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from lilliput import classifier_head, encoder, models
from lilliput.architectures import (
    ConvolutionalConfig,
    ConvolutionalForSequenceClassification,
    StaticConfig,
    StaticForSequenceClassification,
)
from lilliput.architectures.windows import convolve
from lilliput.errors import ModelError
from lilliput.export.onnx import describe, export_onnx
from lilliput.export.quantize import quantize_int8
from lilliput.types import EncoderShape

KINDS = ("conv", "static")
NAMES = ("input_ids", "attention_mask")


def make(kind, seed=0, **changes):
    """A random classifier of 3 labels; biases are not zero, as after training."""
    config_class, model_class = {
        "conv": (ConvolutionalConfig, ConvolutionalForSequenceClassification),
        "static": (StaticConfig, StaticForSequenceClassification),
    }[kind]
    settings = {"vocab_size": 60, "embedding_size": 8, "width": 12, "head_size": 10, "num_labels": 3} | changes
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config_class(**settings)).eval()
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if "bias" in name:
                    weights.normal_(std=0.5)
                if "word_embeddings" in name:
                    weights.normal_()
                    weights[model.config.pad_token_id] = 0
    return model


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def batch(lengths, seed=0, padding=0):
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    ids = torch.randint(2, 60, (len(lengths), longest), generator=generator)
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    return torch.where(mask > 0, ids, padding), mask


def by_hand(model, ids):
    """The logits of one text without padding, place by place."""
    kernel, width = model.config.kernel, model.config.width
    windows = model.encoder.windows

    def convolved(rows, weights, bias):
        out = []
        for t in range(len(rows)):
            total = bias.clone()
            for place in range(kernel):
                source = t + place - (kernel - 1) // 2
                if 0 <= source < len(rows):
                    total += weights[place * width : (place + 1) * width] @ rows[source]
            out.append(total)
        return torch.stack(out)

    features = torch.relu(convolved(windows.word_embeddings.weight[ids], windows.mixing.weight, windows.bias))
    for block in model.encoder.blocks:
        features = features + torch.relu(convolved(features, block.product.weight, block.bias))
    pooled = torch.cat([features.mean(dim=0), features.max(dim=0).values])
    return model.classifier(torch.relu(model.dense(pooled)))


def test_convolving_by_hand():
    """Two places of width 1: token t's own product with the first matrix, and the next token's with the second."""
    products = torch.tensor([[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]])
    assert convolve(products, 1).tolist() == [[[21.0], [32.0]]]


@torch.no_grad()
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_logits_are_those_computed_by_hand(kind, kernel, length):
    model = make(kind, kernel=kernel)
    ids, mask = batch([length])
    assert torch.allclose(model(ids, mask).logits[0], by_hand(model, ids[0]), atol=1e-5)
    assert torch.allclose(model(ids).logits[0], by_hand(model, ids[0]), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("padding", [0, 1])
def test_padding_does_not_count(kind, padding):
    model = make(kind, pad_token_id=padding)
    lengths = [9, 1, 4, 2]
    ids, mask = batch(lengths, padding=padding)
    together = model(ids, mask).logits
    assert together.std(dim=0).min() > 1e-3  # answers that differ
    for row, length in enumerate(lengths):
        alone = model(ids[row : row + 1, :length], mask[row : row + 1, :length]).logits
        assert torch.allclose(alone[0], together[row], atol=1e-6)
    other = torch.where(mask > 0, ids, 7)  # whatever stands where the mask is 0
    assert torch.equal(model(other, mask).logits, together)


@torch.no_grad()
def test_the_order_of_tokens_counts(kind):
    model = make(kind)
    ids = torch.tensor([[5, 6, 7, 8]])
    assert not torch.allclose(model(ids).logits, model(ids.flip(1)).logits, atol=1e-3)


@torch.no_grad()
def test_saved_and_loaded_it_answers_the_same(kind, tmp_path):
    model = make(kind, kernel=2, id2label={0: "bad", 1: "so", 2: "good"})
    ids, mask = batch([6, 3])
    expected = model(ids, mask).logits
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    for loaded in (
        AutoModelForSequenceClassification.from_pretrained(tmp_path),
        models.load_finetuned_classifier(tmp_path).eval(),
        models.load_classifier(tmp_path, ["bad", "so", "good"]).eval(),
    ):
        assert type(loaded) is type(model)
        assert torch.equal(loaded(ids, mask).logits, expected)
        assert models.labels_of(loaded) == ("bad", "so", "good")
    assert AutoConfig.from_pretrained(tmp_path).model_type == f"lilliput_{kind}"
    assert models.task_of(tmp_path).name == "classification"


def test_weights_that_are_missing_are_refused(kind, tmp_path):
    from safetensors.torch import load_file, save_file

    make(kind).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.windows.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    for load in (models.load_finetuned_classifier, lambda folder: models.load_classifier(folder, ["a", "b", "c"])):
        with pytest.raises(ModelError, match=r"encoder\.windows\.bias"):
            load(tmp_path)


@pytest.mark.parametrize(
    ("problem", "outputs", "labels", "expected"),
    [
        ("single_label_classification", 3, [2, 0], torch.nn.functional.cross_entropy),
        (
            "multi_label_classification",
            3,
            [[1.0, 0, 1], [0, 0, 1]],
            torch.nn.functional.binary_cross_entropy_with_logits,
        ),
        ("regression", 1, [0.5, -1.0], lambda logits, labels: torch.nn.functional.mse_loss(logits[:, 0], labels)),
    ],
)
def test_losses_and_gradients(kind, problem, outputs, labels, expected):
    model = make(kind, num_labels=outputs, problem_type=problem)
    ids, mask = batch([6, 3])
    output = model(ids, mask, labels=torch.tensor(labels), token_type_ids=torch.zeros_like(ids))
    assert torch.allclose(output.loss, expected(output.logits, torch.tensor(labels)))
    output.loss.backward()
    gradients = {name: weights.grad for name, weights in model.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert not gradients["encoder.windows.word_embeddings.weight"][0].any()  # padding stays zero


def test_what_the_toolkit_asks_of_a_model(kind, tiny):
    model = make(kind, max_position_embeddings=40)
    layers = {"conv": 3, "static": 1}[kind]
    assert encoder.shape_of(model) == EncoderShape(layers=layers, hidden=12, heads=0, ffn=0, vocabulary=60)
    assert encoder.word_embeddings_of(model) is model.get_input_embeddings()
    assert encoder.longest_input(model) == 40
    assert encoder.input_names_of(model, tiny.tokenizer()) == NAMES
    encoder.check_supported(model.config.model_type, "here")
    assert not encoder.has_blocks(model)
    with pytest.raises(ModelError, match=r"no transformer blocks"):
        encoder.layers_of(model)
    ids = torch.tensor([[5, 6, 7]])
    before = model(ids).logits
    classifier_head.reorder_labels(model, [2, 0, 1])
    assert torch.equal(model(ids).logits, before[:, [2, 0, 1]])


# --- graphs ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_folded_form_answers_the_same_and_leaves_the_model_as_it_was(kind):
    model = make(kind)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    ids, mask = batch([6, 1, 3])
    folded = model.folded()
    assert folded.encoder.windows.word_embeddings.weight.shape == (60, 36)
    assert torch.allclose(folded(ids, mask).logits, model(ids, mask).logits, atol=1e-5)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[name], weights) for name, weights in model.state_dict().items())


def samples():
    """Inputs of three texts, for the quantizer."""
    return [dict(zip(NAMES, (part.numpy() for part in batch([n], seed=n)), strict=True)) for n in (2, 5, 9)]


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@torch.no_grad()
@pytest.mark.parametrize(("kind", "padding"), [("conv", 0), ("static", 0), ("static", 1)])
def test_graphs_answer_as_torch_does(kind, padding, tmp_path):
    model = make(kind, kernel=5, pad_token_id=padding)
    export_onnx(model, NAMES, tmp_path / "model.onnx")
    quantize_int8(tmp_path / "model.onnx", tmp_path / "int8.onnx", samples())
    exact, rough = session(tmp_path / "model.onnx"), session(tmp_path / "int8.onnx")
    for lengths in ([1], [2], [4], [13], [3, 1, 9, 4]):
        ids, mask = batch(lengths, padding=padding)
        expected = model(ids, mask).logits.numpy()
        given = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        (found,), (near,) = exact.run(["logits"], given), rough.run(["logits"], given)
        assert found.shape == (len(lengths), 3)
        assert np.abs(found - expected).max() < 2e-5
        assert np.abs(near - expected).max() < 0.1 * np.abs(expected).max()


def test_an_int8_graph_reads_rows_of_an_int8_table(kind, tmp_path):
    """The rows are turned into float32 after the look-up, not the table before it; no product is left in float32
    but those of the head, which a single row goes through."""
    import onnx

    model = make(kind)
    export_onnx(model, NAMES, tmp_path / "model.onnx")
    quantize_int8(tmp_path / "model.onnx", tmp_path / "int8.onnx", samples())
    graph = onnx.load(tmp_path / "int8.onnx").graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    (gather,) = [node for node in graph.node if node.op_type == "Gather"]
    table = tensors[gather.input[0]]
    assert list(table.dims) == [60, 36]
    assert table.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    dequantized = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    assert [node.input[0] for node in dequantized] == [gather.output[0]]
    assert describe(tmp_path / "int8.onnx")["operators"].get("MatMulInteger", 0) == {"conv": 2, "static": 0}[kind]
