"""Learning rates by depth."""

import pytest
import torch

from lilliput import encoder
from lilliput.train.optimizer import parameter_groups

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_has_its_depth(encoders, architecture):
    model = encoders.classifier(architecture, layers=3)
    depths = encoder.depths_of(model)
    assert set(depths) == {name for name, _ in model.named_parameters()}
    for name, depth in depths.items():
        if ".layer." in name:
            assert depth == int(name.split(".layer.")[1].split(".")[0]) + 1
        else:
            assert depth == (0 if "embeddings" in name else 4), name
    assert set(depths.values()) == {0, 1, 2, 3, 4}


def test_a_table_shared_with_the_head_belongs_to_the_embeddings(encoders):
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_config(encoders.config("bert", layers=2))
    depths = encoder.depths_of(model)
    assert depths["bert.embeddings.word_embeddings.weight"] == 0
    assert {depth for name, depth in depths.items() if name.startswith("cls.")} == {3}


def test_the_rate_falls_from_the_head_to_the_embeddings(encoders):
    model = encoders.classifier("bert", layers=3)
    encoder.word_embeddings_of(model).weight.requires_grad_(False)
    decayed = {name for name, _ in model.named_parameters() if not name.endswith("bias") and "LayerNorm" not in name}
    groups = parameter_groups(model, 0.1, 0.5, 0.01, decayed)
    # 0.1 times 1, 1/2, 1/4, 1/8, 1/16: the head, layers 2, 1 and 0, the embeddings.
    assert [group["lr"] for group in groups] == [0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125, 0.00625, 0.00625]
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0] * 5
    rates = {id(weight): group["lr"] for group in groups for weight in group["params"]}
    assert rates[id(model.classifier.weight)] == 0.1
    assert rates[id(model.bert.encoder.layer[0].output.dense.bias)] == 0.0125
    assert sum(len(group["params"]) for group in groups) == sum(p.requires_grad for p in model.parameters())
    torch.optim.AdamW(groups)
