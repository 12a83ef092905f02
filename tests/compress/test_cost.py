"""Closed forms against torch: parameters of real models, multiplications that torch counts, files of real exports."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lilliput import encoder
from lilliput.compress.cost import ByteCost, Cost, Facts, MacCost, ParameterCost
from lilliput.compress.engine import runnable
from lilliput.first_token import first_token_only
from lilliput.types import BlockShape

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
HEADS = (
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoModelForQuestionAnswering",
    "AutoModelForMaskedLM",
    "AutoModel",
)


def network(encoders: ModuleType, architecture: str, head: str = HEADS[0], **changes: Any) -> Any:
    import transformers

    return getattr(transformers, head).from_config(encoders.config(architecture, **changes)).eval()


def multiplications(model: Any, tokens: int) -> float:
    """What torch counts for one text, attention as two products."""
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=torch.full((1, tokens), 7), attention_mask=torch.ones(1, tokens, dtype=torch.long))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_are_those_of_the_model(encoders: ModuleType, architecture: str, head: str) -> None:
    model = network(encoders, architecture, head)
    cost = ParameterCost(Facts.of(model))
    assert cost.total(encoder.block_shapes_of(model)) == sum(weight.numel() for weight in model.parameters())
    assert cost.unit == "parameters"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_facts_hold_for_another_hidden_size_and_vocabulary(encoders: ModuleType, architecture: str) -> None:
    sizes = {"dim": 24, "n_heads": 3} if architecture == "distilbert" else {"hidden_size": 24, "num_attention_heads": 3}
    other = network(encoders, architecture, **sizes)
    other.resize_token_embeddings(100)
    facts = Facts.of(network(encoders, architecture)).for_hidden(24).for_vocabulary(100)
    assert facts == Facts.of(other)
    assert ParameterCost(facts).total([BlockShape(3, 24)] * 3) == sum(weight.numel() for weight in other.parameters())


@pytest.mark.parametrize("head", HEADS[:2])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_multiplications_are_those_that_torch_counts(encoders: ModuleType, architecture: str, head: str) -> None:
    model = network(encoders, architecture, head)
    shapes, facts = encoder.block_shapes_of(model), Facts.of(model)
    assert MacCost(facts, (7,), first_token=False).total(shapes) == multiplications(model, 7)
    with first_token_only(model):
        assert MacCost(facts, (7,)).total(shapes) == multiplications(model, 7)


def test_multiplications_of_a_block_by_hand(encoders: ModuleType) -> None:
    """Hidden size 16, heads of 8; one head: 4 products of [3, 16] and [16, 8], and 2 with 3 x 3 x 8."""
    cost = MacCost(Facts.of(network(encoders, "bert")), (3,))
    assert cost.attention(1, last=False) == 4 * 3 * 16 * 8 + 2 * 3 * 3 * 8
    assert cost.attention(1, last=True) == 2 * 16 * 8 + 2 * 3 * 16 * 8 + 2 * 3 * 8
    assert cost.feed_forward(5, last=False) == 2 * 3 * 16 * 5
    assert cost.feed_forward(5, last=True) == 2 * 16 * 5
    assert cost.rest() == 16 * 16 + 16 * 2
    assert cost.encoder([BlockShape(1, 5)]) == cost.attention(1, last=True) + cost.feed_forward(5, last=True)


@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=8),
    shapes=st.lists(st.builds(BlockShape, st.integers(0, 4), st.integers(0, 40)), max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_multiplications_are_the_mean_over_texts(lengths: list[int], shapes: list[BlockShape]) -> None:
    facts = Facts(16, 8, (50, 40, 2), None, None, (), head_norm=False, first_token=True)
    each = [MacCost(facts, (length,)).total(shapes) for length in lengths]
    assert MacCost(facts, tuple(lengths)).total(shapes) == pytest.approx(sum(each) / len(each))


@pytest.mark.parametrize(("architecture", "precision"), [("bert", "fp32"), ("bert", "int8"), ("electra", "int8")])
def test_bytes_are_those_of_an_exported_graph(
    encoders: ModuleType, tiny: ModuleType, tmp_path: Path, architecture: str, precision: Any
) -> None:
    """Of the widest tiny models, whose graphs are mostly weights."""
    sizes = (
        {"dim": 256, "hidden_dim": 512}
        if architecture == "distilbert"
        else {
            "hidden_size": 256,
            "intermediate_size": 512,
            **({"embedding_size": 64} if architecture == "electra" else {}),
        }
    )
    model = encoders.classifier(architecture, layers=2, **sizes)
    with torch.no_grad():
        for weight in model.parameters():  # equal weights, such as zero biases, are written once
            weight += torch.randn_like(weight) * 1e-3
    tokenizer = encoders.tokenizer(architecture, tiny.tokenizer)
    folder = runnable(model, tokenizer, precision, ["a joy", "awful"], tmp_path / "bundle", max_length=24)
    size = sum(path.stat().st_size for path in (folder / "onnx").iterdir())
    cost = ByteCost(Facts.of(model), precision, files=1000)
    assert cost.total(encoder.block_shapes_of(model)) == pytest.approx(size + 1000, rel=0.02)


def test_costs_say_their_unit_and_add_up(encoders: ModuleType) -> None:
    facts = Facts.of(network(encoders, "bert"))
    costs: list[Cost] = [MacCost(facts, (5, 9)), ParameterCost(facts), ByteCost(facts, "int8"), ByteCost(facts, "fp32")]
    assert [cost.unit for cost in costs] == ["MACs", "parameters", "bytes", "bytes"]
    for cost in costs:
        parts = cost.attention(1, last=False) + cost.feed_forward(3, last=False) + cost.block(last=False)
        parts += cost.attention(2, last=True) + cost.feed_forward(4, last=True) + cost.block(last=True)
        assert cost.total([BlockShape(1, 3), BlockShape(2, 4)]) == pytest.approx(parts + cost.rest())
        assert cost.attention(0, last=True) == cost.feed_forward(0, last=False) == 0
