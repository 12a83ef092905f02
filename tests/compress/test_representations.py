"""What is computed inside: seen as transformers reports it, projected, mapped, and trained beside the student."""

import json

import pytest
import torch
from safetensors import safe_open

from lilliput import encoder, models
from lilliput.compress import objectives
from lilliput.compress.mapping import LearnedMapping
from lilliput.compress.representations import Matching, Watched, check_blocks
from lilliput.errors import ConfigError
from lilliput.train import checkpoints

BATCH = {
    "input_ids": torch.tensor([[2, 5, 6, 7, 3], [2, 8, 9, 3, 0]]),
    "attention_mask": torch.tensor([[1] * 5, [1, 1, 1, 1, 0]]),
}
MASK = BATCH["attention_mask"]


def build(encoders, architecture="bert", **changes):
    return encoders.classifier(architecture, **changes)


def terms(**weights):
    return tuple((weight, objectives.get(name.replace("_", "-"))) for name, weight in weights.items())


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_what_is_seen_is_what_the_model_reports(encoders, architecture):
    model = build(encoders, architecture)
    watched = Watched(model)
    with torch.no_grad():
        reported = model(**BATCH, output_hidden_states=True).hidden_states
    assert (watched.count, watched.heads) == (3, [2, 2, 2])
    assert torch.equal(watched.embeddings().hidden, reported[0])
    assert watched.embeddings().query is None
    for number in range(3):
        seen = watched.layer(number)
        assert torch.equal(seen.hidden, reported[number + 1])
        block = encoder.blocks_of(model)[number]
        for name in ("query", "key", "value"):
            assert torch.allclose(getattr(seen, name), getattr(block, name)(reported[number]), atol=1e-6)
        assert seen.heads == 2


def test_a_pass_is_let_go_of_and_no_more_are_watched(encoders):
    model = build(encoders)
    watched = Watched(model)
    with torch.no_grad():
        model(**BATCH)
    watched.forget()
    with pytest.raises(KeyError):
        watched.layer(0)
    watched.close()
    with torch.no_grad():
        model(**BATCH)
    with pytest.raises(KeyError):
        watched.layer(0)
    assert not any(module._forward_hooks for module in model.modules())


def compared(encoders, student, teacher, mapping="uniform", **weights):
    """The loss of both on a batch, the module, and the models."""
    torch.manual_seed(0)
    matching = Matching(student, teacher, mapping)
    ours, theirs = Watched(student), Watched(teacher)
    student(**BATCH)
    with torch.no_grad():
        teacher(**BATCH)
    return matching(terms(**weights), ours, theirs, MASK, None), matching, ours, theirs


def test_a_model_matches_itself(encoders):
    loss, matching, *_ = compared(
        encoders,
        build(encoders),
        build(encoders),
        hidden_states=1,
        embeddings=1,
        relations=1,
        minilm=1,
        attention_maps=1,
    )
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert list(matching.parameters()) == []  # of one width, nothing is projected


def test_losses_are_the_weighted_mean_over_the_student_s_layers(encoders):
    student, teacher = build(encoders, layers=2, seed=1), build(encoders, layers=4)
    loss, _, ours, theirs = compared(encoders, student, teacher, "0,3", hidden_states=2, embeddings=0.5)
    real = MASK.bool()

    def apart(one, other):
        return (one.hidden - other.hidden)[real].square().mean()

    layers = [apart(ours.layer(i), theirs.layer(j)) for i, j in ((0, 0), (1, 3))]
    expected = 2 * torch.stack(layers).mean() + 0.5 * apart(ours.embeddings(), theirs.embeddings())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_narrower_student_is_projected(encoders):
    student = build(encoders, layers=2, hidden_size=8, seed=1)
    loss, matching, ours, theirs = compared(encoders, student, build(encoders), "last", hidden_states=1, embeddings=1)
    sizes = {name: tuple(weight.shape) for name, weight in matching.named_parameters()}
    assert sizes == {"hidden.weight": (16, 8), "embeddings.weight": (16, 8)}
    for projection in (matching.hidden, matching.embeddings):  # no length changes in the beginning
        assert torch.allclose(projection.weight.T @ projection.weight, torch.eye(8), atol=1e-5)
    assert not torch.equal(matching.hidden.weight, matching.embeddings.weight)
    real = MASK.bool()

    def apart(one, projection, other):
        return (one.hidden @ projection.weight.T - other.hidden)[real].square().mean()

    layers = [apart(ours.layer(i), matching.hidden, theirs.layer(i + 1)) for i in range(2)]
    expected = torch.stack(layers).mean() + apart(ours.embeddings(), matching.embeddings, theirs.embeddings())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert matching.hidden.weight.grad.abs().sum() > 0
    assert student.get_input_embeddings().weight.grad.abs().sum() > 0


def test_a_learned_mapping_weighs_every_pair_of_layers(encoders):
    student, teacher = build(encoders, layers=2, seed=1), build(encoders, layers=3)
    loss, matching, ours, theirs = compared(encoders, student, teacher, "learned", hidden_states=1)
    real = MASK.bool()
    pairs = torch.stack(
        [
            torch.stack([(ours.layer(i).hidden - theirs.layer(j).hidden)[real].square().mean() for j in range(3)])
            for i in range(2)
        ]
    )
    alone = LearnedMapping(2, 3)
    assert loss.item() == pytest.approx(alone(pairs).item(), rel=1e-5)
    assert torch.allclose(matching.learned.mean_losses, pairs.detach(), rtol=1e-4)
    assert loss.item() == pytest.approx((alone.weights() * pairs).sum(1).mean().item(), rel=1e-5)


class Layerless:
    class config:
        model_type = "conv"


def test_a_student_without_layers_can_not_be_compared_inside():
    for weights in ({"hidden_states": 1}, {"embeddings": 1}):
        with pytest.raises(ConfigError, match="compares layers, and a student of the kind conv has none like it"):
            check_blocks(Layerless(), terms(**weights), "conv")
    check_blocks(Layerless(), terms(logit_mse=1), "conv")


# --- in training -----------------------------------------------------------------------------------------------------


@pytest.fixture
def interrupted(monkeypatch):
    """Stops a stage's end, so that its checkpoints can be looked at."""
    from lilliput.compress import outcome

    class Stop(BaseException):
        pass

    def stop(*_):
        raise Stop

    monkeypatch.setattr(outcome, "save", stop)
    return Stop


@pytest.mark.usefixtures("quick_training")
@pytest.mark.parametrize("mapping", ["uniform", "learned"])
def test_projections_are_trained_and_in_checkpoints_but_not_in_the_student(
    distil, save_teacher, tmp_path, monkeypatch, interrupted, mapping
):
    first = []
    original = Matching.__init__

    def noting(self, *arguments):
        original(self, *arguments)
        first.append(self.hidden.weight.detach().clone())

    monkeypatch.setattr(Matching, "__init__", noting)
    settings = {"student": "layers=2,hidden=8,ffn=12", "objective": ("hidden-states", "logit-mse"), "mapping": mapping}
    with pytest.raises(interrupted):
        distil(save_teacher(), **settings, learning_rate=1e-2)
    folder = tmp_path / "out/.student.partial/checkpoints"
    with safe_open(checkpoints.newest(folder) / "model.safetensors", "pt") as file:
        beside = {name: file.get_tensor(name) for name in file.keys() if name.startswith("beside.")}  # noqa: SIM118
    names = {"beside.hidden.weight", "beside.embeddings.weight"}
    assert beside.keys() == names | (
        {"beside.learned.mean_losses", "beside.learned.batches"} if mapping == "learned" else set()
    )
    assert (beside["beside.hidden.weight"] - first[0]).abs().max() > 1e-3
    if mapping == "learned":
        assert beside["beside.learned.batches"] == 5  # 34 texts, 8 at a time
        assert beside["beside.learned.mean_losses"].min() > 0
    with safe_open(checkpoints.best(folder) / "model.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "beside" in name]  # noqa: SIM118


@pytest.mark.usefixtures("quick_training")
def test_a_student_of_compared_layers_is_plain(distil, save_teacher, tmp_path):
    distil(save_teacher(), student="layers=2,hidden=8,ffn=12", stage="hidden-states,embeddings")
    student = models.load_finetuned_classifier(tmp_path / "out/student")
    assert encoder.shape_of(student).hidden == 8
    result = json.loads((tmp_path / "out/student/result.json").read_text())
    assert result["parameters"] == sum(weight.numel() for weight in student.parameters())
