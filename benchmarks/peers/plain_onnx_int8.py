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

import onnxruntime

from lilliput.benchmarks.peers import option
from lilliput.benchmarks.tokenized import TokenizedPeer, tokenizer_of

GRAPH, TOKENIZER, FACTS = "model_int8.onnx", "tokenizer.json", "facts.json"


def load(options: Mapping[str, Any], threads: int) -> TokenizedPeer:
    """Open what ``build`` wrote."""
    folder = Path(option(options, "plain_onnx_int8", "model"))
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / GRAPH, session_options, providers=["CPUExecutionProvider"])
    size = sum((folder / name).stat().st_size for name in (GRAPH, TOKENIZER, FACTS))
    inputs = [node.name for node in session.get_inputs()]
    tokenizer = tokenizer_of(folder / TOKENIZER, facts)
    return TokenizedPeer(lambda feeds: session.run(None, feeds)[0], inputs, tokenizer, facts, size)


def build(model_folder: Path, out_folder: Path, max_length: int) -> Path:
    """Export and quantize a fine-tuned folder; return ``out_folder``.

    Args:
        model_folder: config.json, model.safetensors and tokenizer files, as ``save_pretrained`` writes them.
        out_folder: made if it is not there; gets the int8 graph, the tokenizer and a few facts.
        max_length: tokens a text is cut to, special ones included.
    """
    out_folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = export(model_folder, out_folder / "model.onnx")
    with _quiet():
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


def export(model_folder: Path, path: Path) -> tuple[Any, Any]:
    """The plain fp32 graph of a fine-tuned folder, written to ``path``; the model and its tokenizer."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder, local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(model_folder, local_files_only=True).eval()
    with _quiet():
        _export(model, tokenizer, path)
    return model, tokenizer


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
