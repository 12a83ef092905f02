"""The baseline ``teacher_int8``: what a user without this toolkit would make of a teacher.

Plain ``torch.onnx.export(dynamo=True)`` at opset 18, then onnxruntime's ``quantize_dynamic`` with signed weights per
channel, run with default session options but the thread count. The code is its own on purpose: it must not gain from
improvements to Lilliput's exporter. Its worker calls the fast ``tokenizers`` library directly, because transformers'
wrapper costs more than a small model and would make the baseline look slower than it need be.

``build`` writes the folder; ``load`` opens it. Option of ``load``: ``model`` (that folder).
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lilliput.benchmarks.peers import option

BATCH = 32
GRAPH, TOKENIZER, FACTS = "model_int8.onnx", "tokenizer.json", "facts.json"


class PlainOnnxPeer:
    """A session and a tokenizer."""

    def __init__(self, session: Any, tokenizer: Tokenizer, facts: Mapping[str, Any], size: int) -> None:
        self._session, self._tokenizer = session, tokenizer
        self._inputs = [node.name for node in session.get_inputs()]
        self.labels = list(facts["labels"])
        self.parameters: int | None = facts["parameters"]
        self.bytes: int | None = size

    def one(self, text: str) -> NDArray[np.float32]:
        """Probabilities [labels] of one text."""
        return self.batch([text])[0]

    def batch(self, texts: list[str]) -> NDArray[np.float32]:
        """Probabilities [n, labels], 32 texts at a time in the order given, padded to the longest of them."""
        return np.concatenate([self._run(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)])

    def _run(self, texts: list[str]) -> NDArray[np.float32]:
        encodings = self._tokenizer.encode_batch(texts) if len(texts) > 1 else [self._tokenizer.encode(texts[0])]
        columns = {
            "input_ids": [encoding.ids for encoding in encodings],
            "attention_mask": [encoding.attention_mask for encoding in encodings],
            "token_type_ids": [encoding.type_ids for encoding in encodings],
        }
        feeds = {name: np.array(columns[name], dtype=np.int64) for name in self._inputs}  # [n, tokens]
        (logits,) = self._session.run(None, feeds)  # [n, labels]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def load(options: Mapping[str, Any], threads: int) -> PlainOnnxPeer:
    """Open what ``build`` wrote."""
    folder = Path(option(options, "plain_onnx_int8", "model"))
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_truncation(facts["max_length"])
    tokenizer.enable_padding(pad_id=facts["pad_id"], pad_token=facts["pad_token"])
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / GRAPH, session_options, providers=["CPUExecutionProvider"])
    size = sum((folder / name).stat().st_size for name in (GRAPH, TOKENIZER, FACTS))
    return PlainOnnxPeer(session, tokenizer, facts, size)


def build(model_folder: Path, out_folder: Path, max_length: int) -> Path:
    """Export and quantize a fine-tuned folder; return ``out_folder``.

    Args:
        model_folder: config.json, model.safetensors and tokenizer files, as ``save_pretrained`` writes them.
        out_folder: made if it is not there; gets the int8 graph, the tokenizer and a few facts.
        max_length: tokens a text is cut to, special ones included.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    out_folder.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(model_folder, local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(model_folder, local_files_only=True).eval()
    with _quiet():
        _export(model, tokenizer, out_folder / "model.onnx")
        _quantize(out_folder / "model.onnx", out_folder / GRAPH)
    (out_folder / "model.onnx").unlink()
    tokenizer.backend_tokenizer.save(str(out_folder / TOKENIZER))
    facts = {
        "labels": [model.config.id2label[index] for index in range(model.config.num_labels)],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "max_length": max_length,
        "pad_id": tokenizer.pad_token_id,
        "pad_token": tokenizer.pad_token,
    }
    (out_folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return out_folder


def _export(model: Any, tokenizer: Any, path: Path) -> None:
    """The export of PyTorch's own documentation: keyword inputs, first two dimensions dynamic."""
    import torch

    # Two texts of several words: the exporter specialises dimensions of size one.
    inputs = dict(tokenizer(["a first example", "another one"], padding=True, return_tensors="pt"))
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter's own use of torch's internals
        torch.onnx.export(
            model,
            (),
            str(path),
            kwargs=inputs,
            dynamo=True,
            opset_version=18,
            external_data=False,
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_shapes={name: sizes for name in inputs},
            verbose=False,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' advice off the terminal: this export is as plain as it is on purpose."""
    loggers = [logging.getLogger(), logging.getLogger("torch.onnx")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _quantize(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True)
