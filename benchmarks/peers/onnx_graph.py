"""Any ONNX graph of a text classifier in a session of ONNX Runtime, with default options but the thread count.

Options: ``graph`` and ``tokenizer`` (files), ``facts`` (see :mod:`lilliput.benchmarks.tokenized`);
``disabled_optimizers``, ``execution_provider`` and ``execution_settings`` of the session.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lilliput.benchmarks.peers import option
from lilliput.benchmarks.tokenized import TokenizedPeer, see_lengths, tokenizer_of
from lilliput.errors import ConfigError

CPU = "CPUExecutionProvider"


def load(options: Mapping[str, Any], threads: int) -> TokenizedPeer:
    """Open a graph.

    Raises:
        ConfigError: the provider asked for is not there, or ONNX Runtime went on without it.
    """
    graph, tokenizer, facts = (option(options, "onnx_graph", key) for key in ("graph", "tokenizer", "facts"))
    provider = options.get("execution_provider", CPU)
    if provider not in onnxruntime.get_available_providers():
        raise ConfigError(f"this onnxruntime {onnxruntime.__version__} has no {provider}")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        graph,
        settings,
        providers=[(provider, dict(options.get("execution_settings", {})))],
        disabled_optimizers=list(options.get("disabled_optimizers", ())),
    )
    if session.get_providers()[0] != provider:
        raise ConfigError(f"onnxruntime could not load {provider} and would run on {session.get_providers()[0]}")
    inputs = [node.name for node in session.get_inputs()]
    size = Path(graph).stat().st_size + Path(tokenizer).stat().st_size

    def run(feeds: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        return session.run(None, feeds)[0]

    if provider != CPU:
        see_lengths(run, inputs, facts)
    return TokenizedPeer(run, inputs, tokenizer_of(Path(tokenizer), facts), facts, size)
