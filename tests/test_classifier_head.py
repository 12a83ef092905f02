"""What lies above an encoder."""

import pytest
import torch

from lilliput import classifier_head, models

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")


@pytest.fixture(params=ARCHITECTURES)
def model(request, encoders):
    return encoders.classifier(request.param, layers=3)


@torch.no_grad()
def logits(model):
    ids = torch.tensor([[2, 7, 30, 31, 3], [2, 40, 41, 42, 3]])
    return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def test_reordered_labels_keep_their_logits(model):
    names = models.labels_of(model)
    order = list(reversed(range(len(names))))
    before = logits(model)
    classifier_head.reorder_labels(model, order)
    assert torch.equal(logits(model), before[:, order])
    assert models.labels_of(model) == tuple(reversed(names))
    assert model.config.label2id == {name: i for i, name in enumerate(reversed(names))}


def test_a_scaled_head_gives_scaled_outputs(model):
    before = logits(model)
    classifier_head.scale_head(model, 3.0, -2.0)
    assert torch.allclose(logits(model), 3 * before - 2, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_opposed_outputs_differ_by_one_direction(encoders, architecture):
    model = encoders.classifier(architecture, num_labels=5)
    head = model.classifier.out_proj if architecture in ("roberta", "electra") else model.classifier
    before = head.weight.detach().clone()
    classifier_head.oppose(model, [(0, 3), (4, 1)])
    after = head.weight.detach()
    apart = (after[0] - after[3]) / 2
    assert apart.norm().item() == pytest.approx(2 * before.norm(dim=1).mean().item(), rel=1e-5)
    assert torch.allclose((after[4] - after[1]) / 2, apart, atol=1e-6)
    for one, other in ((0, 3), (4, 1)):
        assert torch.allclose(after[one] + after[other], before[one] + before[other], atol=1e-6)
    assert torch.equal(after[2], before[2])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_head_is_taken_over_and_the_encoder_below_stays(encoders, architecture):
    """With the source's encoder put below, the model is the source."""
    source, model = encoders.classifier(architecture, seed=1), encoders.classifier(architecture, seed=2)
    own = [weight.clone() for weight in getattr(model, model.base_model_prefix).embeddings.parameters()]
    assert classifier_head.with_head_of(source, model) is model
    below = getattr(model, model.base_model_prefix)
    assert all(map(torch.equal, own, below.embeddings.parameters()))
    assert not torch.allclose(logits(model), logits(source), atol=1e-3)
    below.load_state_dict(getattr(source, model.base_model_prefix).state_dict())
    assert torch.equal(logits(model), logits(source))


def test_a_head_of_another_width_is_left_alone(encoders):
    source, model = encoders.classifier("bert", seed=1), encoders.classifier("bert", seed=2, hidden_size=8)
    before = logits(model)
    classifier_head.with_head_of(source, model)
    assert model.classifier.weight.shape == (2, 8)
    assert torch.equal(model.classifier.bias, source.classifier.bias)
    assert torch.allclose(logits(model), before, atol=1e-6)  # both biases are zero
