"""The resizable graph against torch models with weights cut, and against real exports of narrower models."""

from __future__ import annotations

import copy
from collections import Counter
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from lilliput import encoder
from lilliput.compress import block_graph, engine
from lilliput.compress.block_graph import BlockGraph
from lilliput.errors import ModelError
from lilliput.types import BlockShape, Precision

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
HEAD_SIZE = 8
PLANS: dict[str, list[BlockShape | None]] = {
    "whole": [BlockShape(2, 24)] * 3,
    "narrow": [BlockShape(1, 8)] * 3,
    "halves gone": [BlockShape(0, 8), BlockShape(1, 0), BlockShape(1, 5)],
    "last halves gone": [BlockShape(2, 24), BlockShape(2, 3), BlockShape(0, 0)],
    "blocks gone": [None, BlockShape(1, 8), None],
}


def uneven(encoders: ModuleType, architecture: str, **changes: Any) -> Any:
    """A classifier no two of whose weights are equal, as training leaves it."""
    model = encoders.classifier(architecture, **changes)
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(number))
    return model


def cut(model: Any, plan: list[BlockShape | None]) -> Any:
    """The model with blocks left out, and with nothing coming from heads and neurons beyond those of the plan."""
    changed = copy.deepcopy(model)
    for block, shape in zip(encoder.blocks_of(changed), plan, strict=True):
        if shape is not None:
            block.output.weight.data[:, shape.heads * HEAD_SIZE :] = 0
            block.ffn_out.weight.data[:, shape.ffn :] = 0
    return encoder.keep_layers(changed, [number for number, shape in enumerate(plan) if shape is not None])


def inputs_of(model: Any) -> tuple[str, ...]:
    typed = model.config.model_type in ("bert", "electra")
    return ("input_ids", "attention_mask", *(("token_type_ids",) if typed else ()))


def logits(graph: bytes, feed: dict[str, Any], precision: Precision = "fp32") -> Any:
    return engine.open_session(graph, precision=precision).run(["logits"], feed)[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_resized_graphs_compute_what_the_cut_model_does(encoders: ModuleType, architecture: str) -> None:
    model = uneven(encoders, architecture)
    graph = BlockGraph.of(model, inputs_of(model), "fp32", random=False)
    assert graph.depth == 3
    feed = block_graph.feed(graph.inputs, 7, graph.vocabulary, np.random.default_rng(1))
    for name, plan in PLANS.items():
        with torch.no_grad():
            expected = cut(model, plan)(**{key: torch.tensor(value) for key, value in feed.items()}).logits
        np.testing.assert_allclose(logits(graph.resized(plan), feed), expected, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_resized_graph_has_operators_and_weights_of_the_real_export(
    encoders: ModuleType, tiny: ModuleType, tmp_path: Any, precision: Precision
) -> None:
    wide, narrow = uneven(encoders, "bert"), uneven(encoders, "bert", intermediate_size=10)
    tokenizer = encoders.tokenizer("bert", tiny.tokenizer)
    folder = engine.runnable(narrow, tokenizer, precision, ["a joy"], tmp_path / "real", max_length=24)
    real = onnx.load(str(next((folder / "onnx").iterdir()))).graph
    graph = BlockGraph.of(wide, inputs_of(wide), precision, random=False)
    ours = onnx.load_model_from_string(graph.resized([BlockShape(2, 10)] * 3)).graph
    assert Counter(node.op_type for node in ours.node) == Counter(node.op_type for node in real.node)
    sizes = [
        Counter((tuple(t.dims), t.data_type) for t in each.initializer if len(t.dims) > 1) for each in (ours, real)
    ]
    assert sizes[0] == sizes[1]


def test_graphs_grow_beyond_the_model_and_shrink_to_nothing(encoders: ModuleType) -> None:
    precision: Precision = "int8"
    model = encoders.classifier("bert")
    graph = BlockGraph.of(model, inputs_of(model), precision)
    feed = block_graph.feed(graph.inputs, 5, graph.vocabulary, np.random.default_rng(1))
    for plan in ([BlockShape(5, 100)] * 3, [BlockShape(1, 1)] * 3, [BlockShape(0, 0)] * 3, [None] * 3):
        answer = logits(graph.resized(plan), feed, precision)
        assert answer.shape == (1, 2)
        assert np.isfinite(answer).all()
    wide, narrow = graph.resized([BlockShape(5, 100)] * 3), graph.resized([BlockShape(1, 1)] * 3)
    assert len(wide) > len(narrow) > len(graph.resized([None] * 3))
    assert graph.resized([BlockShape(1, 1)] * 3) == narrow


def test_models_of_one_block_and_of_many_are_measured_with_a_middle_block(
    encoders: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_graph, "DEPTH", 3)
    one, many = encoders.classifier("bert", layers=1), encoders.classifier("bert", layers=4)
    assert BlockGraph.of(one, inputs_of(one), "fp32").depth == 2
    assert BlockGraph.of(many, inputs_of(many), "fp32").depth == 3
    assert len(encoder.layers_of(many)) == 4


def test_equal_weights_are_told_apart_by_random_ones(encoders: ModuleType) -> None:
    model = encoders.classifier("bert", layers=2)
    with torch.no_grad():
        for block in encoder.blocks_of(model):
            block.ffn_in.weight.fill_(0)
    assert BlockGraph.of(model, inputs_of(model), "fp32").depth == 2
    assert not encoder.blocks_of(model)[0].ffn_in.weight.any()


def test_a_model_without_a_whole_block_is_refused(encoders: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = encoders.classifier("bert", layers=2)
    monkeypatch.setattr(encoder, "block_shapes_of", lambda _: (BlockShape(0, 24), BlockShape(2, 0)))
    with pytest.raises(ModelError, match="no block has both heads and neurons"):
        BlockGraph.of(model, inputs_of(model), "fp32")
