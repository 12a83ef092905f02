"""Random tiny encoders of every architecture cut to random plans."""

import dataclasses

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lilliput import encoder, models
from lilliput.compress import surgery
from lilliput.compress.surgery import masked, prune
from lilliput.errors import ConfigError, ModelError
from lilliput.export.onnx import export_onnx
from lilliput.types import BlockShape, PrunePlan

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
HEADS = (
    "AutoModel",
    "AutoModelForMaskedLM",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
)
LAYERS, HIDDEN, COUNT, SIZE, FFN = 3, 16, 4, 4, 10
UNPRUNED = (BlockShape(COUNT, FFN),) * LAYERS
EXAMPLES = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def build(encoders, architecture, head="AutoModelForSequenceClassification", seed=0):
    """A model of 3 blocks of 4 heads and 10 neurons; no weight is zero or one."""
    names = ("n_heads", "hidden_dim") if architecture == "distilbert" else ("num_attention_heads", "intermediate_size")
    config = encoders.config(architecture, layers=LAYERS, **dict(zip(names, (COUNT, FFN), strict=True)))
    model = getattr(transformers, head).from_config(config).eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.3, generator=draw)
        for norm in [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]:
            norm.weight += 1
    return model


def inputs():
    """Two texts of 9 and 6 tokens."""
    ids = torch.tensor([[2, 7, 30, 31, 32, 33, 34, 35, 3], [2, 40, 41, 42, 43, 3, 1, 1, 1]])
    return {"input_ids": ids, "attention_mask": (torch.arange(9) < torch.tensor([[9], [6]])).long()}


@torch.no_grad()
def answers(model):
    """All that the model computes for two texts, at tokens that are not padding."""
    given = inputs()
    return [
        part[given["attention_mask"].bool()] if part.ndim > 1 and part.shape[1] == 9 else part
        for part in model(**given).to_tuple()
    ]


def some(of, least=0):
    return st.lists(st.sampled_from(of), unique=True, min_size=least).map(lambda chosen: tuple(sorted(chosen)))


@st.composite
def any_plans(draw, shapes=UNPRUNED, hidden=HIDDEN):
    """Blocks of unequal shapes; some without heads, without neurons, or gone."""
    heads = [draw(some(range(shape.heads))) if shape.heads else () for shape in shapes]
    neurons = [draw(some(range(shape.ffn))) if shape.ffn else () for shape in shapes]
    if not any(heads) and not any(neurons):
        return PrunePlan.whole(shapes)
    dimensions = draw(st.none() | some(range(hidden), 1).filter(lambda kept: len(kept) != 8))
    return PrunePlan(tuple(heads), tuple(neurons), dimensions)


@st.composite
def uniform_plans(draw):
    """Plans that leave what plain transformers can load."""
    count, ffn = draw(st.sampled_from([1, 3, 4])), draw(st.integers(1, FFN))
    layers = draw(some(range(LAYERS), 1))

    def one(of, number, at):
        return tuple(sorted(draw(st.permutations(range(of)))[:number])) if at in layers else ()

    return PrunePlan(
        tuple(one(COUNT, count, number) for number in range(LAYERS)),
        tuple(one(FFN, ffn, number) for number in range(LAYERS)),
        None if count == COUNT else tuple(sorted(draw(st.permutations(range(HIDDEN)))[: count * SIZE])),
    )


def check_cut(model, plan, head, folder):
    """Cut as masked, of the shapes of the plan, and the same once saved and loaded; returns the loaded model."""
    before = answers(model)
    smaller = prune(model, plan)
    with masked(model, plan) as same:
        assert same is model
        expected = answers(model)
    assert all(map(torch.equal, answers(model), before))
    found = answers(smaller)
    if head == "AutoModel" and plan.dimensions is not None:
        features = torch.tensor(surgery.kept_features(model, plan), dtype=torch.long)
        expected = [
            part[..., kept] for part, kept in zip(expected, (torch.tensor(plan.dimensions), features), strict=False)
        ]
    assert [part.shape for part in found] == [part.shape for part in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-5)
    hidden = HIDDEN if plan.dimensions is None else len(plan.dimensions)
    assert encoder.block_shapes_of(smaller) == plan.shapes
    assert encoder.shape_of(smaller).hidden == hidden
    assert encoder.head_size_of(smaller) == SIZE
    for block, shape in zip(encoder.blocks_of(smaller), plan.shapes, strict=True):
        assert block.query.weight.shape == block.key.weight.shape == block.value.weight.shape
        assert block.value.weight.shape == (SIZE * shape.heads, hidden)
        assert block.output.weight.shape == (hidden, SIZE * shape.heads)
        assert block.ffn_in.weight.shape == (shape.ffn, hidden)
        assert block.ffn_out.weight.shape == (hidden, shape.ffn)
    smaller.save_pretrained(folder)
    loaded, told = getattr(transformers, head).from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    assert type(loaded) is type(smaller)
    assert encoder.block_shapes_of(loaded) == plan.shapes
    assert all(map(torch.equal, answers(loaded.eval()), found))
    return loaded


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@EXAMPLES
@given(plan=any_plans(), head=st.sampled_from(HEADS), seed=st.integers(0, 3))
def test_a_cut_model_computes_what_the_masked_one_does(encoders, tmp_path, architecture, plan, head, seed):
    check_cut(build(encoders, architecture, head, seed), plan, head, tmp_path)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@EXAMPLES
@given(plan=uniform_plans(), head=st.sampled_from(HEADS))
def test_a_uniform_plan_leaves_a_plain_model(encoders, tmp_path, architecture, plan, head):
    model = build(encoders, architecture, head)
    loaded = check_cut(model, plan, head, tmp_path)
    assert type(loaded) is type(model)
    assert loaded.config.model_type == architecture


def composed(first, second):
    """The plan that cuts at once what two plans cut one after the other."""
    heads, neurons = [()] * LAYERS, [()] * LAYERS
    for place, number in enumerate(first.layers):
        heads[number] = tuple(first.heads[number][i] for i in second.heads[place])
        neurons[number] = tuple(first.neurons[number][i] for i in second.neurons[place])
    kept = range(HIDDEN) if first.dimensions is None else first.dimensions
    dimensions = kept if second.dimensions is None else tuple(kept[i] for i in second.dimensions)
    return PrunePlan(tuple(heads), tuple(neurons), tuple(dimensions))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@EXAMPLES
@given(data=st.data(), first=any_plans())
def test_a_pruned_model_can_be_pruned_again(encoders, architecture, data, first):
    model = build(encoders, architecture, "AutoModelForTokenClassification")
    once = prune(model, first)
    second = data.draw(any_plans(first.shapes, encoder.shape_of(once).hidden))
    twice, at_once = prune(once, second), prune(model, composed(first, second))
    assert type(twice) is type(at_once)
    assert all(map(torch.equal, answers(twice), answers(at_once)))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_whole_plan_changes_nothing(encoders, architecture):
    model = build(encoders, architecture)
    plan = PrunePlan.whole(encoder.shape_of(model))
    assert plan == PrunePlan.whole(encoder.block_shapes_of(model))
    assert plan.layers == (0, 1, 2)
    whole = prune(model, plan)
    assert type(whole) is type(model)
    assert all(map(torch.equal, answers(whole), answers(model)))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_heads_and_neurons_that_go_are_weights_that_are_zero(encoders, architecture):
    """Head 2 of block 0 writes channels 8 to 11, and block 2 loses neurons 0 and 9 and all heads."""
    model = build(encoders, architecture)
    plan = PrunePlan(((0, 1, 3), (0, 1, 2, 3), ()), (tuple(range(FFN)), tuple(range(FFN)), tuple(range(1, 9))))
    found = answers(prune(model, plan))
    blocks = encoder.blocks_of(model)
    blocks[0].output.weight[:, 8:12] = 0
    blocks[2].output.weight[:] = 0
    blocks[2].ffn_out.weight[:, [0, 9]] = 0
    for ours, theirs in zip(found, answers(model), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_those_of_the_masked_model(encoders, architecture):
    model, given = build(encoders, architecture), inputs()
    plan = PrunePlan(((0, 2), (), (1,)), ((0, 3, 4), (1, 2), ()), (0, 1, 2, 4, 5, 7, 8, 11, 13))
    smaller = prune(model, plan)
    smaller(**given).logits.square().sum().backward()
    assert all(weight.grad is not None for weight in smaller.parameters())
    blocks = encoder.blocks_of(model)
    with masked(model, plan):
        model(**given).logits.square().sum().backward()
    kept = torch.tensor(plan.dimensions)
    found = encoder.blocks_of(smaller)
    for ours, theirs, channels in (
        (found[0], blocks[0], [0, 1, 2, 3, 8, 9, 10, 11]),
        (found[2], blocks[2], [4, 5, 6, 7]),
    ):
        expected = theirs.output.weight.grad[kept][:, channels]
        assert torch.allclose(ours.output.weight.grad, expected, rtol=1e-3, atol=1e-4 * expected.abs().max())
    expected = blocks[1].ffn_in.weight.grad[[1, 2]][:, kept]
    assert torch.allclose(found[1].ffn_in.weight.grad, expected, rtol=1e-3, atol=1e-4 * expected.abs().max())


def test_features_that_stay_are_those_that_matter_or_those_of_the_plan(encoders, tmp_path):
    model = build(encoders, "bert")
    plan = PrunePlan.whole(encoder.shape_of(model))
    assert surgery.kept_features(model, plan) == tuple(range(16))
    plan = dataclasses.replace(plan, dimensions=tuple(range(12)))
    ends = encoder.ends_of(model)
    with torch.no_grad():
        ends.features.weight[[1, 5, 6], :12] = 0  # they read nothing that stays
        ends.last.weight[:, 9] = 0  # nothing reads it
    assert surgery.kept_features(model, plan) == (0, 2, 3, 4, 7, 8, 10, 11, 12, 13, 14, 15)
    chosen = dataclasses.replace(plan, features=(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 15))
    assert surgery.kept_features(model, chosen) == chosen.features
    check_cut(model, chosen, "AutoModelForSequenceClassification", tmp_path)


WHOLE = PrunePlan.whole(UNPRUNED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": WHOLE.heads[:2]}, "tells of 2 and 3 blocks, and the model has 3"),
        ({"heads": ((0, 4), (), ())}, "heads of block 0 must be rising numbers from 0 to 3, and are 0, 4"),
        ({"neurons": ((), (1, 1), ())}, "neurons of block 1 must be rising numbers from 0 to 9, and are 1, 1"),
        ({"neurons": ((3, 2), (), ())}, "neurons of block 0 must be rising numbers from 0 to 9, and are 3, 2"),
        ({"heads": ((),) * 3, "neurons": ((),) * 3}, "leaves no block"),
        ({"dimensions": ()}, "leaves no dimension of the residual stream"),
        ({"dimensions": (-1, 2)}, "dimensions must be rising numbers from 0 to 15, and are -1, 2"),
        ({"dimensions": (1, 2), "features": (3,)}, "keeps 1 features and 2 dimensions; as many of both"),
    ],
)
def test_plans_that_do_not_fit_are_refused(encoders, changes, message):
    model = build(encoders, "bert")
    for use in (lambda plan: prune(model, plan), lambda plan: masked(model, plan).__enter__()):
        with pytest.raises(ConfigError, match=r"^pruning plan: ") as caught:
            use(dataclasses.replace(WHOLE, **changes))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_electra_without_its_widening_layer_is_refused(encoders):
    with pytest.raises(ConfigError, match=r"leaves 8 dimensions, the width of this model's embeddings"):
        prune(build(encoders, "electra"), dataclasses.replace(WHOLE, dimensions=tuple(range(8))))


def test_a_head_without_a_class_is_refused(encoders):
    model = build(encoders, "bert", "AutoModelForNextSentencePrediction")
    with pytest.raises(
        ModelError, match="BertForNextSentencePrediction: blocks of unequal shapes can't have such a head"
    ):
        prune(model, dataclasses.replace(WHOLE, heads=((0,), (), ())))


def test_notes_and_labels_survive(encoders):
    model = build(encoders, "roberta")
    models.note(model, task="classification", max_length=12)
    model.config.problem_type = "single_label_classification"
    for plan in (WHOLE, dataclasses.replace(WHOLE, heads=((0,), (1,), ()))):
        smaller = prune(model, plan)
        assert models.noted(smaller) == {"task": "classification", "max_length": 12}
        assert models.labels_of(smaller) == ("negative", "positive")
        assert smaller.config.problem_type == "single_label_classification"


@pytest.mark.parametrize(
    ("architecture", "last"),
    [("bert", ()), ("bert", (0, 1)), ("roberta", (0, 1)), ("distilbert", ()), ("electra", ())],
)
def test_graphs_of_unequal_blocks_answer_as_torch_does(encoders, tiny, tmp_path, architecture, last):
    """The last block, of which the first token alone is computed, with heads and without."""
    import numpy as np
    import onnxruntime

    plan = PrunePlan(
        ((0, 2), (), last), ((0, 3, 4), (1, 2), (5, 6, 7) if not last else ()), (0, 1, 2, 4, 5, 7, 8, 11, 13)
    )
    model = build(encoders, architecture)
    smaller = prune(model, plan)
    names = encoder.input_names_of(smaller, encoders.tokenizer(architecture, tiny.tokenizer))
    export_onnx(smaller, names, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for rows, tokens in ((1, 1), (2, 9), (3, 5)):
        ids = torch.arange(rows * tokens).reshape(rows, tokens) * 7 % 400 + 5
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
        given["attention_mask"][-1, (tokens + 1) // 2 :] = 0
        given = {name: given[name] for name in names}
        (found,) = session.run(["logits"], {name: values.numpy() for name, values in given.items()})
        with torch.no_grad():
            assert np.abs(found - smaller(**given).logits.numpy()).max() < 1e-4


@pytest.mark.usefixtures("quick_training")
def test_a_pruned_model_learns_from_the_unpruned_one_and_teaches(encoders, tiny, distil, save_teacher, tmp_path):
    teacher = save_teacher("bert")
    plan = PrunePlan(((0,), (), (0, 1)), ((1, 2, 3), (4, 5), ()), tuple(range(12)))
    smaller = prune(models.load_finetuned_classifier(teacher), plan)
    models.save(smaller, encoders.tokenizer("bert", tiny.tokenizer), tmp_path / "pruned")
    assert len(models.load_tokenizer(tmp_path / "pruned")) > 100
    settings = {"initial_model": str(tmp_path / "pruned"), "objective": ("soft-targets", "hidden-states")}
    distil(teacher, out="recovered", student="layers=3", **settings)
    recovered = models.load_finetuned_classifier(next((tmp_path / "recovered").rglob("model.safetensors")).parent)
    assert encoder.block_shapes_of(recovered) == plan.shapes
    assert not torch.equal(encoder.blocks_of(recovered)[2].query.weight, encoder.blocks_of(smaller)[2].query.weight)
    distil(tmp_path / "pruned", out="taught", student="layers=2")
    taught = models.load_finetuned_classifier(next((tmp_path / "taught").rglob("model.safetensors")).parent)
    assert encoder.block_shapes_of(taught) == (plan.shapes[0], plan.shapes[2])
    with pytest.raises(ConfigError, match=r"were pruned to unequal shapes, so that only layers can be given"):
        distil(teacher, out="narrower", **settings | {"student": "layers=3,ffn=2"})
    with pytest.raises(ConfigError, match="a block has no heads; use hidden-states"):
        distil(
            teacher, out="attention", **settings | {"student": "layers=3", "objective": ("soft-targets", "relations")}
        )
