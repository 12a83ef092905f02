"""OpenVINO with NNCF's post-training int8, calibrated on training texts: the peer ``openvino-int8``.

Options of ``build``: ``graph`` (a plain ONNX export), ``model`` (folder with tokenizer.json), ``train`` (a JSON file
with ``texts``), ``facts``. Of ``load``: ``built``, ``model``, ``facts``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino  # type: ignore[import-not-found]
from numpy.typing import NDArray

from lilliput.benchmarks.peers import option
from lilliput.benchmarks.tokenized import TokenizedPeer, see_lengths, tokenizer_of

GRAPH = "model.xml"
CALIBRATION = 300
"""NNCF's default number of samples."""


def load(options: Mapping[str, Any], threads: int) -> TokenizedPeer:
    """Open what ``build`` wrote, for the latency of single texts, on so many threads."""
    built, model = (Path(option(options, "openvino_int8", key)) for key in ("built", "model"))
    facts = option(options, "openvino_int8", "facts")
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(threads)}
    compiled = openvino.Core().compile_model(built / GRAPH, "CPU", settings)

    def run(feeds: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        return compiled(feeds, share_inputs=True, share_outputs=True)[0]

    tokenizer = model / "tokenizer.json"
    size = sum(path.stat().st_size for path in (built / GRAPH, (built / GRAPH).with_suffix(".bin"), tokenizer))
    inputs = [node.any_name for node in compiled.inputs]
    see_lengths(run, inputs, facts)
    return TokenizedPeer(run, inputs, tokenizer_of(tokenizer, facts), facts, size)


def build(options: Mapping[str, Any], folder: Path) -> None:
    """Quantize a plain ONNX export, the one that the plain int8 baseline is made of too, with NNCF's settings for
    transformers.
    """
    import nncf  # type: ignore[import-not-found]

    source, facts = Path(option(options, "openvino_int8", "model")), option(options, "openvino_int8", "facts")
    tokenizer = tokenizer_of(source / "tokenizer.json", facts)
    texts = json.loads(Path(option(options, "openvino_int8", "train")).read_text(encoding="utf-8"))["texts"]
    whole = openvino.Core().read_model(option(options, "openvino_int8", "graph"))
    inputs = [node.any_name for node in whole.inputs]

    def feeds(text: str) -> dict[str, NDArray[np.int64]]:
        encoding = tokenizer.encode(text)
        columns = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        return {name: np.array([columns[name]], dtype=np.int64) for name in inputs}

    chosen = random.Random(0).sample(texts, min(CALIBRATION, len(texts)))
    quantized = nncf.quantize(
        whole, nncf.Dataset(chosen, feeds), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(chosen)
    )
    openvino.save_model(quantized, folder / GRAPH)
