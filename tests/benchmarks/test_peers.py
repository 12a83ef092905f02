"""Every kind of model answers as the model itself would."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import lilliput
from lilliput.benchmarks import peers
from lilliput.benchmarks.peers import bundle, plain_onnx_int8, tfidf, torch_eager
from lilliput.errors import ConfigError

TEXTS = ["a joy from start to finish", "an awful movie", "not good, not bad!", "漢字 and مرحبا", "long " * 60]
LABELS = ["negative", "neutral", "positive"]


def test_a_peer_is_a_file_of_the_folder() -> None:
    folder = Path(peers.__file__).parent
    assert peers.names() == sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")
    assert peers.get("tfidf") is tfidf.load


def test_an_unknown_peer_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no benchmark peer 'openai'; the known ones are bundle, hf_pipeline"):
        peers.get("openai")


@pytest.mark.parametrize("name", ["bundle", "torch_eager", "plain_onnx_int8", "tfidf"])
def test_a_missing_option_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}' needs the option"):
        peers.get(name)({}, 1)


@pytest.mark.parametrize("threads", [1, 2])
def test_bundle_gives_the_runtimes_probabilities_in_the_order_of_its_labels(tiny_bundle: Path, threads: int) -> None:
    peer = bundle.load({"bundle": str(tiny_bundle), "precision": "fp32"}, threads)
    model = lilliput.load(tiny_bundle, precision="fp32", threads=threads)
    logits = model.logits(TEXTS).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose([peer.one(text) for text in TEXTS], expected, atol=1e-6)
    np.testing.assert_allclose(peer.batch(TEXTS), expected, atol=1e-6)
    assert peer.labels == LABELS
    assert peer.bytes == model.opened_bytes


def test_torch_eager_agrees_with_the_bundle(tiny_bundle: Path) -> None:
    torch = torch_eager.load({"model": str(tiny_bundle), "max_length": 24}, 1)
    onnx = bundle.load({"bundle": str(tiny_bundle), "precision": "fp32"}, 1)
    np.testing.assert_allclose([torch.one(text) for text in TEXTS], [onnx.one(text) for text in TEXTS], atol=1e-5)
    np.testing.assert_allclose(torch.batch(TEXTS), onnx.batch(TEXTS), atol=1e-5)
    assert torch.labels == LABELS
    assert torch.parameters
    weights = (tiny_bundle / "model.safetensors").stat().st_size
    assert torch.bytes is not None
    assert weights < torch.bytes < weights + 100_000  # a configuration and a tokenizer more


def test_plain_int8_is_the_libraries_own_int8(tiny_bundle: Path, tmp_path: Path) -> None:
    made = plain_onnx_int8.build(tiny_bundle, tmp_path / "plain", max_length=24)
    assert sorted(file.name for file in made.iterdir()) == ["facts.json", "model_int8.onnx", "tokenizer.json"]
    plain = plain_onnx_int8.load({"model": str(made)}, 1)
    # The test bundle was quantized with the same settings by other code.
    other = bundle.load({"bundle": str(tiny_bundle), "precision": "int8"}, 1)
    np.testing.assert_allclose([plain.one(text) for text in TEXTS], [other.one(text) for text in TEXTS], atol=1e-3)
    assert plain.batch(TEXTS * 20).shape == (100, 3)
    assert (plain.labels, plain.parameters) == (LABELS, torch_eager.load({"model": str(tiny_bundle)}, 1).parameters)
    assert plain.bytes == sum(file.stat().st_size for file in made.iterdir())


def test_plain_int8_quantizes_every_matrix_product_with_weights(tiny_bundle: Path, tmp_path: Path) -> None:
    import onnx

    made = plain_onnx_int8.build(tiny_bundle, tmp_path / "plain", max_length=24)
    graph = onnx.load(made / "model_int8.onnx")
    assert [opset.version for opset in graph.opset_import if opset.domain in ("", "ai.onnx")] == [18]
    operators = [node.op_type for node in graph.graph.node]
    # Two layers of q, k, v, output and two of the feed-forward network; pooler and classifier.
    quantized = operators.count("MatMulInteger") + operators.count("DynamicQuantizeMatMul")
    assert quantized >= 2 * 6


def test_tfidf_learns_and_keeps_a_class_without_training_texts(tmp_path: Path) -> None:
    texts, labels = ["good film", "bad film"] * 10, [2, 0] * 10
    path = tfidf.write_train(texts, labels, tmp_path / "train.json")
    assert json.loads(path.read_text())["labels"] == labels
    peer = tfidf.load({"train": str(path), "labels": LABELS}, 1)
    assert int(np.argmax(peer.one("a good one"))) == 2
    assert int(np.argmax(peer.one("a bad one"))) == 0
    assert peer.one("anything")[1] == 0.0
    assert peer.batch(["good", "bad", "film"]).sum(axis=1) == pytest.approx([1, 1, 1])
    # good, bad, film, "good film", "bad film": five weights and a bias.
    assert peer.parameters == 6


def test_a_bundle_without_onnx_files_is_enough_for_torch(tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "plain", ignore=shutil.ignore_patterns("onnx", "lilliput.json"))
    assert torch_eager.load({"model": str(tmp_path / "plain")}, 1).one("a film").shape == (3,)
