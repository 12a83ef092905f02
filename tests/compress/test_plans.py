"""Which plan a budget gets: what is proposed by estimate is decided by measuring."""

import pytest

from lilliput import encoder, models, tasks
from lilliput.compress import importance
from lilliput.compress.calibration_texts import CalibrationTexts
from lilliput.compress.cost import Facts, ParameterCost
from lilliput.compress.evidence import Evidence
from lilliput.compress.plans import Planner
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
    found = make(uniform).best(0.8 * whole, "--parameters 0.8")
    assert sum(weight.numel() for weight in found.model.parameters()) <= 0.8 * whole
    assert found.divergence == pytest.approx(texts.divergence(found.model))
    kept = [shape for shape in found.candidate.blocks if shape != BlockShape(0, 0)]
    assert list(encoder.block_shapes_of(found.model)) == kept
    assert len(set(kept)) == 1 or not uniform


def test_a_budget_for_everything_keeps_everything(planner):
    make, model, _ = planner
    whole = sum(weight.numel() for weight in model.parameters())
    found = make().best(whole * 1.01, "--parameters")
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
    assert len(one.best(0.9 * whole, "--parameters").plan.layers) == wanted


def test_reconstruction_brings_the_answers_nearer(planner):
    make, model, _ = planner
    whole = sum(weight.numel() for weight in model.parameters())
    fitted, plain = (make(fitted=fitted) for fitted in (True, False))
    plan = fitted.best(0.8 * whole, "--parameters").plan
    near, far = (one.texts.divergence(one._built(plan, one.texts)) for one in (fitted, plain))
    assert near < far


def test_the_family_rises_in_cost_and_falls_in_loss_and_what_is_cheaper_is_refused(planner):
    one = planner[0]()
    costs, losses = zip(*[(c.cost, c.loss) for c in one.family.candidates], strict=True)
    assert list(costs) == sorted(set(costs))
    assert list(losses) == sorted(set(losses), reverse=True)
    with pytest.raises(ConfigError, match=r"--parameters 0.1: .* out of reach"):
        one.best(costs[0] - 1, "--parameters 0.1")
