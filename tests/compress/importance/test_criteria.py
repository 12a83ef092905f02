"""What holds of every criterion, and rankings themselves."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForTokenClassification

from lilliput import encoder
from lilliput.architectures.pruned import MODELS
from lilliput.compress import importance
from lilliput.compress.evidence import Evidence
from lilliput.compress.importance import Ranking, greedy
from lilliput.errors import ConfigError

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
CRITERIA = ("block-fisher", "fisher", "magnitude", "reconstruction", "taylor")
BLOCKS = [(2, 24), (0, 5), (1, 0), (3, 7)]


def batches(seed=0):
    generator = torch.Generator().manual_seed(seed)
    found = []
    for lengths in ((7, 4, 2), (5, 5)):
        mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
        ids = torch.where(mask == 1, torch.randint(5, 300, mask.shape, generator=generator), 1)
        found.append({"input_ids": ids, "attention_mask": mask})
    return found


def pruned(plain, blocks):
    """A random model with these blocks, each so many heads and neurons."""
    own = MODELS[type(plain)]
    sizes = {"block_heads": [b[0] for b in blocks], "block_ffn": [b[1] for b in blocks], "head_size": 8}
    kept = {key: value for key, value in plain.config.to_dict().items() if key != "model_type"}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return own(own.config_class(**{**kept, **sizes})).eval()


def test_criteria_are_the_files_there_are():
    assert importance.names() == CRITERIA
    with pytest.raises(ConfigError, match="--importance weight: unknown; known are block-fisher, fisher, magnitude"):
        importance.get("weight")


def check(rankings, shapes, width):
    groups = [*zip(rankings.heads, [shape.heads for shape in shapes], strict=True)]
    groups += [*zip(rankings.neurons, [shape.ffn for shape in shapes], strict=True), (rankings.dimensions, width)]
    for ranking, count in groups:
        assert sorted(ranking.order) == list(range(count))
        assert len(ranking.loss) == count + 1
        assert ranking.loss[0] == 0
        assert all(a <= b for a, b in itertools.pairwise(ranking.loss))
        assert ranking.loss[-1] > 0 or not count


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rankings_are_whole_and_the_same_each_time(encoders, architecture):
    plain = encoders.classifier(architecture, layers=2)
    uneven = pruned(encoders.classifier(architecture, layers=4), BLOCKS)
    for model in (plain, uneven):
        evidence, again = Evidence(model, "classes", batches()), Evidence(model, "classes", batches())
        for name in CRITERIA:
            found = importance.get(name)(evidence)
            check(found, encoder.block_shapes_of(model), 16)
            assert found == importance.get(name)(again)


@pytest.mark.parametrize("name", CRITERIA)
def test_answers_about_tokens(encoders, name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForTokenClassification.from_config(encoders.config("bert")).eval()
    check(importance.get(name)(Evidence(model, "tokens", batches())), encoder.block_shapes_of(model), 16)


def test_additive():
    ranking = Ranking.additive(torch.tensor([3.0, 1.0, 2.0, 1.0]))
    assert ranking == Ranking((1, 3, 2, 0), (0, 1, 2, 4, 7))
    assert Ranking.additive(torch.zeros(0)) == Ranking((), (0,))


def test_the_loss_never_falls():
    assert Ranking.of([2, 0, 1], [1.0, -2.0, 3.0]) == Ranking((2, 0, 1), (0, 1, 1, 2))


# --- block Fisher -----------------------------------------------------------------------------------------------------


def quadratic(fisher, chosen):
    return float(fisher[list(chosen)][:, list(chosen)].sum() / 2)


def best(fisher, count):
    return min(quadratic(fisher, chosen) for chosen in itertools.combinations(range(len(fisher)), count))


def test_two_that_do_the_same_do_not_go_together():
    """Neurons 0 and 1 push the same way, so one can go but not both; 2 matters more than either."""
    fisher = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.5]])
    assert greedy(fisher) == Ranking((0, 2, 1), (0, 0.5, 1.25, 2.75))
    assert Ranking.additive(fisher.diagonal() / 2).order == (0, 1, 2)
    assert [best(fisher, count) for count in range(4)] == [0, 0.5, 1.25, 2.75]


@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_greedy_losses_are_those_of_the_quadratic_form(gradients):
    """Of gradients that are not negative the form never falls, so nothing is cut off."""
    rows = torch.tensor(gradients, dtype=torch.float64)
    fisher = rows.T @ rows
    ranking = greedy(fisher)
    for count, loss in enumerate(ranking.loss):
        assert loss == pytest.approx(quadratic(fisher, ranking.order[:count]))
        assert loss >= best(fisher, count) - 1e-9
    assert ranking.loss[1] == pytest.approx(best(fisher, 1))


@given(st.lists(st.integers(0, 50), min_size=5, max_size=5))
@settings(max_examples=20, deadline=None)
def test_greedy_is_best_where_structures_are_independent(diagonal):
    fisher = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    assert list(greedy(fisher).loss) == pytest.approx([best(fisher, count) for count in range(6)])


def test_fisher_criteria_read_the_moments(encoders):
    evidence = Evidence(encoders.classifier("bert", layers=2), "classes", batches())
    diagonal, block = importance.get("fisher")(evidence), importance.get("block-fisher")(evidence)
    for number in range(2):
        fisher = evidence.neuron_fishers[number].double()
        assert diagonal.neurons[number] == Ranking.additive(evidence.masks.neurons[number].square / 2)
        assert diagonal.neurons[number].loss[-1] == pytest.approx(float(fisher.trace() / 2), rel=1e-4)
        assert block.neurons[number].loss[1] == pytest.approx(float(fisher.diagonal().min() / 2), rel=1e-4)
        assert block.heads[number] == greedy(evidence.masks.head_fishers[number])
