"""Which plan a budget gets: what is proposed by estimate is decided by measuring."""

import pytest
import torch

from lilliput import encoder, models, tasks
from lilliput.compress import importance
from lilliput.compress.calibration_texts import CalibrationTexts
from lilliput.compress.cost import Facts, ParameterCost
from lilliput.compress.evidence import Evidence
from lilliput.compress.plans import Planner, _blocks
from lilliput.config import DataConfig
from lilliput.errors import ConfigError
from lilliput.train import sources
from lilliput.types import BlockShape


@pytest.fixture
def planner(data, save_teacher):
    source = save_teacher(layers=3)
    model, tokenizer = models.load_finetuned_classifier(source).eval(), models.load_tokenizer(source)
    dataset = sources.load(DataConfig(data=str(data)))
    texts = CalibrationTexts(dataset, tasks.get("classification"), model, tokenizer, count=24, max_length=16, seed=0)
    facts = Facts.of(model)

    def make(uniform=False, fitted=True):
        rankings = importance.get("fisher")(Evidence(model, texts.kind, texts))
        return Planner(
            model,
            rankings,
            texts,
            lambda hidden: ParameterCost(facts.for_hidden(hidden)),
            uniform=uniform,
            fitted=fitted,
        )

    return make, model, texts


@pytest.mark.parametrize("uniform", [False, True])
def test_the_model_is_within_the_budget_and_its_divergence_is_what_was_measured(planner, uniform):
    make, model, texts = planner
    whole = sum(weight.numel() for weight in model.parameters())
    one = make(uniform)
    found = one.built(one.best(0.8 * whole, "--parameters 0.8"))
    assert sum(weight.numel() for weight in found.model.parameters()) <= 0.8 * whole
    assert found.divergence == pytest.approx(texts.divergence(found.model))
    kept = [shape for shape in found.candidate.blocks if shape != BlockShape(0, 0)]
    assert list(encoder.block_shapes_of(found.model)) == kept
    assert len(set(kept)) == 1 or not uniform


def test_a_budget_for_everything_keeps_everything(planner):
    make, model, _ = planner
    whole = sum(weight.numel() for weight in model.parameters())
    one = make()
    found = one.built(one.best(whole * 1.01, "--parameters"))
    assert encoder.block_shapes_of(found.model) == encoder.block_shapes_of(model)
    assert found.divergence == pytest.approx(0, abs=1e-6)


def test_what_is_measured_decides_among_what_is_proposed(planner, monkeypatch):
    make, model, _ = planner
    whole = sum(weight.numel() for weight in model.parameters())
    one = make(fitted=False)
    proposed = one._proposed(0.9 * whole)
    assert len(proposed) > 1
    wanted = len(proposed[-1].plan(one.rankings).layers)

    def divergence(built):
        return 0.0 if len(encoder.layers_of(built)) == wanted else 1.0

    monkeypatch.setattr(one.others, "divergence", divergence)
    assert len(one.best(0.9 * whole, "--parameters").plan(one.rankings).layers) == wanted


def test_reconstruction_brings_the_answers_nearer(planner):
    make, model, _ = planner
    whole = sum(weight.numel() for weight in model.parameters())
    fitted, plain = (make(fitted=fitted) for fitted in (True, False))
    plan = fitted.best(0.8 * whole, "--parameters").plan(fitted.rankings)
    near, far = (one.texts.divergence(one._built(plan, one.texts)) for one in (fitted, plain))
    assert near < far


def test_the_family_rises_in_cost_and_falls_in_loss_and_what_is_cheaper_is_refused(planner):
    one = planner[0]()
    costs, losses = zip(*[(c.cost, c.loss) for c in one.family.candidates], strict=True)
    assert list(costs) == sorted(set(costs))
    assert list(losses) == sorted(set(losses), reverse=True)
    with pytest.raises(ConfigError, match=r"--parameters 0.1: .* out of reach"):
        one.best(costs[0] - 1, "--parameters 0.1")


def test_another_budget_may_keep_the_same_blocks(planner):
    make, model, _ = planner
    whole = sum(weight.numel() for weight in model.parameters())
    one = make()
    first = one.best(0.9 * whole, "--parameters")
    least = min(family.candidates[0].cost for family in one.families)
    for budget in (0.95 * whole, 0.85 * whole, whole):
        found = one.like(first, budget)
        assert found is not None
        assert found.cost <= budget
        # Every other candidate made of those blocks that fits is estimated to lose as much at least.
        family = next(some for some in reversed(one.families) if _blocks(first) <= _blocks(some.candidates[-1]))
        assert found.loss == min(other.loss for other in family.candidates if other.cost <= budget)
    assert one.like(first, least - 1) is None
    assert make(uniform=True).like(first, whole) is None


def test_a_sliced_model_has_the_shape_and_the_weights(planner):
    make, model, _ = planner
    whole = sum(weight.numel() for weight in model.parameters())
    one = make()
    chosen = one.best(0.8 * whole, "--parameters")
    sliced, built = one.sliced(chosen), one.built(chosen).model
    assert encoder.block_shapes_of(sliced) == encoder.block_shapes_of(built)
    assert torch.equal(encoder.word_embeddings_of(sliced).weight, encoder.word_embeddings_of(model).weight)
