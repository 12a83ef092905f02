"""Torch to ONNX: the only file that knows how a graph is exported."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from lilliput import encoder
from lilliput.first_token import first_token_only

OPSET = 18
"""Newest opset whose graphs ONNX Runtime's CPU kernels and int8 quantizer take as they are."""


class _Graph(nn.Module):
    """A model as the graph sees it: named inputs in, named outputs out."""

    def __init__(self, model: Any, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.outputs = outputs

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Token tensors ``[B, T]`` to what the model's head gives for them."""
        inputs = {"input_ids": input_ids, "attention_mask": self._mask(attention_mask)}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        found = self.model(**inputs)
        return tuple(found[name] for name in self.outputs)

    def _mask(self, mask: Tensor) -> Tensor:
        """What attention adds to its scores, ``[B, 1, 1, T]``: 0, or at padding the lowest number there is.

        transformers would make the same of ``mask``, ``[B, T]``, with ten operators more in the graph.
        """
        if not encoder.has_blocks(self.model):
            return mask
        return (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min


def export_onnx(model: Any, inputs: tuple[str, ...], path: Path, outputs: Sequence[str] = ("logits",)) -> None:
    """Write ``model`` as one self-contained ONNX file, the same bytes for the same model.

    Inputs are int64 ``[batch_size, sequence_length]``, both dynamic; outputs are float32, ``[batch_size, ...]``.

    Args:
        inputs: names of the model's inputs, in the order in which the graph takes them.
        outputs: names of what the model gives, which are those of the graph's outputs: ``logits``, ``[B, C]`` or
            ``[B, T, C]``; ``start_logits`` and ``end_logits``, ``[B, T]``; ``last_hidden_state``, ``[B, T, H]``.
    """
    # The wrapper too must be in evaluation mode: exporting restores the mode that it was in.
    wrapper = _Graph(model.folded() if hasattr(model, "folded") else model, outputs).eval()
    # A tensor of its own for each input: the exporter takes inputs that are the same tensor for one and the same input.
    examples = {name: torch.zeros(2, 8, dtype=torch.long) for name in inputs}
    examples["attention_mask"] += 1
    tokens = {0: torch.export.Dim("batch_size"), 1: torch.export.Dim("sequence_length")}
    path.parent.mkdir(parents=True, exist_ok=True)
    with _quiet(), first_token_only(model):
        torch.onnx.export(
            wrapper,
            kwargs=examples,
            f=str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dict.fromkeys(inputs, tokens),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )

    _strip(path)


def _strip(path: Path) -> None:
    """Take out what the exporter notes of the Python code behind each operator: it is not run, and it has the paths of
    this machine."""
    model = onnx.load(str(path))
    graphs: list[Any] = [model.graph, *model.functions]
    for one in [model, *graphs, *(node for graph in graphs for node in graph.node)]:
        one.doc_string = ""
        del one.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        value.doc_string = ""
        del value.metadata_props[:]
    onnx.save(model, str(path))


def describe(path: Path) -> dict[str, Any]:
    """Opset and operator counts of a graph, its functions included."""
    model = onnx.load(str(path), load_external_data=False)
    operators: Counter[str] = Counter()
    for nodes in [model.graph.node, *(function.node for function in model.functions)]:
        operators.update(node.op_type for node in nodes)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return {"opset": opset, "operators": dict(sorted(operators.items()))}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress lines off the terminal; its errors still reach the caller as exceptions."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
