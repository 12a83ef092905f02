"""The honest bundle that attacks start from: a classifier that averages the vectors of words, in some 20 KB."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from lilliput import bundle, runtime
from lilliput.guards import graphs

LABELS = ("negative", "neutral", "positive")
MAX_LENGTH, WIDTH = 24, 16
WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["a", "the", "film", "was", "is", "not", "good", "bad", "joy", "from", "start", "to", "finish"],
)
INPUTS = ("input_ids", "attention_mask")
TEXTS = ("a joy from start to finish", "the film was not good", "bad")
GRAPH = "onnx/model.onnx"


def make(folder: Path) -> Path:
    """Write the bundle to a folder that does not exist, and check it."""
    (folder / "onnx").mkdir(parents=True)
    draw = np.random.default_rng(0)
    table = draw.normal(size=(len(WORDS), WIDTH)).astype(np.float32)
    matrix = draw.normal(size=(WIDTH, len(LABELS))).astype(np.float32)
    (folder / GRAPH).write_bytes(graph(table, matrix).SerializeToString())
    save_file({"table": table, "matrix": matrix}, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(tokenizer().to_str(), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    config = {"model_type": "mean", "vocab_size": len(WORDS), "id2label": dict(enumerate(LABELS))}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}\n', encoding="utf-8")
    bundle.write_manifest(folder, **fields(folder), smoke=[])
    model = runtime.load(folder)
    smoke = [{"text": text, "precision": "fp32", "logits": model.smoke(text)} for text in TEXTS]
    bundle.write_manifest(folder, **fields(folder), smoke=smoke)
    bundle.verify(folder)
    return folder


def graph(table: np.ndarray, matrix: np.ndarray) -> onnx.ModelProto:
    """``logits = mean(table[input_ids] * attention_mask) @ matrix``"""
    value, node = helper.make_tensor_value_info, helper.make_node
    tensors = {"table": table, "matrix": matrix, "last": np.array([2]), "tokens": np.array([1])}
    nodes = [
        node("Gather", ["table", "input_ids"], ["vectors"], name="look_up"),
        node("Unsqueeze", ["attention_mask", "last"], ["column"]),
        node("Cast", ["column"], ["mask"], to=TensorProto.FLOAT),
        node("Mul", ["vectors", "mask"], ["kept"]),
        node("ReduceMean", ["kept", "tokens"], ["mean"], keepdims=0),
        node("MatMul", ["mean", "matrix"], ["logits"], name="head"),
    ]
    whole = helper.make_graph(
        nodes,
        "mean",
        [value(name, TensorProto.INT64, ["batch_size", "sequence_length"]) for name in INPUTS],
        [value("logits", TensorProto.FLOAT, ["batch_size", len(LABELS)])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def tokenizer() -> Tokenizer:
    """Words, as BERT's tokenizer reads them."""
    ids = {word: number for number, word in enumerate(WORDS)}
    built = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    built.normalizer = normalizers.BertNormalizer(lowercase=True)
    built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    built.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    built.add_special_tokens([word for word in WORDS if word.startswith("[")])
    return built


def fields(folder: Path) -> dict[str, Any]:
    """Fields of the manifest, but the smoke predictions."""
    found = graphs.read((folder / GRAPH).read_bytes())
    listed = {"file": GRAPH, "opset": found.opsets[""], "operators": found.operators, "disabled_optimizers": []}
    return {
        "name": "victim",
        "task": "classification",
        "architecture": "mean",
        "labels": LABELS,
        "max_length": MAX_LENGTH,
        "inputs": INPUTS,
        "graphs": {"fp32": listed},
        "settings": {},
        "parameters": (len(WORDS) + len(LABELS)) * WIDTH,
        "provenance": {},
        "recipe": {},
        "seeds": [0],
        "versions": {},
    }
