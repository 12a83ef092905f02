"""What a bundle needs to answer: a graph and a tokenizer that fit its manifest and each other."""

from __future__ import annotations

from pathlib import Path

from lilliput.errors import IntegrityError
from lilliput.guards import limits, tokenizers
from lilliput.guards.limits import Cost, Expected
from lilliput.guards.tokenizers import TOKENIZER
from lilliput.manifest import Manifest
from lilliput.tasks import Task

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What the runtime can feed; the first two it always does."""


def check(folder: Path, manifest: Manifest, precision: str, task: Task, graph: bytes, tokenizer: bytes) -> Cost:
    """Refuse a graph or a tokenizer that is not what the manifest says, or that could harm the one who runs it.

    Args:
        folder: of the bundle, for error messages.
        precision: of the graph.
        graph: its bytes.
        tokenizer: the bytes of ``tokenizer.json``.

    Raises:
        IntegrityError: the first fault that is found.
    """
    listed, inputs = manifest.graphs[precision], set(manifest.inputs)
    if not set(INPUTS[:2]) <= inputs <= set(INPUTS):
        raise IntegrityError(f"{folder}: inputs {sorted(inputs)}; this version can feed {', '.join(INPUTS)}")
    expected = Expected(
        opset=listed["opset"],
        operators=listed["operators"],
        inputs=manifest.inputs,
        outputs=task.outputs,
        dimensions=task.dimensions,
        labels=len(manifest.labels),
        tokens=manifest.max_length,
    )
    cost = limits.check(graph, folder / listed["file"], expected)
    tokenizers.check(tokenizer, folder / TOKENIZER, cost.rows)
    return cost
