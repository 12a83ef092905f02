"""The registry of objectives, and the losses on predictions: against values worked out by hand, against plain loops in
numpy, and against numerical gradients."""

import math

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput.compress import objectives
from lilliput.errors import ConfigError

LAYERS = ("attention-maps", "hidden-states", "minilm", "relations")
PREDICTIONS = ("cosine", "decoupled", "logit-mse", "soft-targets")
NAMES = tuple(sorted((*LAYERS, *PREDICTIONS, "embeddings")))
KNOWN = f"unknown; known are {', '.join(NAMES)}, or package.module:function for your own"


def loss_of(name):
    return objectives.get(name).loss


def pair(*shape, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=shape), generator.normal(size=shape)


def tensors(*shape, seed=0):
    return tuple(map(torch.tensor, pair(*shape, seed=seed)))


# The registry


def test_the_objectives_there_are_and_what_they_are_on():
    assert objectives.names() == NAMES
    for name in NAMES:
        objective = objectives.get(name)
        assert objective.name == name
        assert objective.on == ("layers" if name in LAYERS else "predictions" if name in PREDICTIONS else "embeddings")


def test_an_unknown_objective_is_refused_with_those_there_are():
    for name in ("mse", "", "logit_mse", "__init__", "-attention", "../evil", "Logit-MSE"):
        with pytest.raises(ConfigError) as caught:
            objectives.get(name)
        assert str(caught.value) == f"--objective {name}: {KNOWN}"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a module with losses of a user's own to a place where it is found; gives its name."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(text):
        name = f"own_losses_{tmp_path.name.rstrip('0123456789')}{len(written)}"
        written.append((tmp_path / f"{name}.py").write_text(text, encoding="utf-8"))
        return name

    return write


def test_a_function_of_the_user_s_own(own):
    module = own("""
def distance(student, teacher, *, temperature, labels, valid):
    return (student - teacher).abs().mean()
def anything(*args, **kwargs): ...
def of_layers(student, teacher, mask, **kwargs): ...
of_layers.ON = "layers"
class Weighted:
    def __call__(self, student, teacher, temperature=1.0, labels=None, valid=None): return 3
weighted = Weighted()
""")
    objective = objectives.get(f"{module}:distance")
    assert (objective.name, objective.on) == (f"{module}:distance", "predictions")
    student, teacher = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 5.0]])
    assert objective.loss(student, teacher, temperature=1.0, labels=None, valid=None).item() == 2.0
    assert objectives.get(f"{module}:anything").on == "predictions"
    assert objectives.get(f"{module}:of_layers").on == "layers"
    assert objectives.get(f"{module}:weighted").loss(student, teacher) == 3
    module = own('ON = "embeddings"\ndef loss(student, teacher, mask, *, relation_heads): ...')
    assert objectives.get(f"{module}:loss").on == "embeddings"


def test_what_can_be_wrong_with_a_function_of_the_user_s_own(own):
    module = own("""
number = 3
def short(student, teacher): ...
def masked(student, teacher, mask): ...
masked.ON = "layers"
def nowhere(student, teacher, **kwargs): ...
nowhere.ON = "logits"
""")
    broken = own("raise KeyError('no such thing')")
    expected = {
        f"{module}:missing": f"{module} has no function missing",
        f"{module}:number": f"{module} has no function number",
        f"{module}:short": "must take (student, teacher, *, temperature, labels, valid): got an unexpected keyword",
        f"{module}:masked": "must take (student, teacher, mask, *, relation_heads): got an unexpected keyword",
        f"{module}:nowhere": "its ON is 'logits'; must be one of predictions, layers, embeddings",
        "own_nowhere_at_all:loss": "importing own_nowhere_at_all failed (ModuleNotFoundError: No module named",
        f"{broken}:loss": f"importing {broken} failed (KeyError: 'no such thing'); its folder must be in PYTHONPATH",
    }
    malformed = "must be package.module:function, for example my_losses:distance"
    expected |= dict.fromkeys((":loss", "a:", "a:b:c", "../a:b", ".a:b", "a b:c"), malformed)
    for name, message in expected.items():
        with pytest.raises(ConfigError) as caught:
            objectives.get(name)
        assert str(caught.value).startswith(f"--objective {name}: {message}")


# Values worked out by hand


def test_logit_mse_by_hand():
    loss = loss_of("logit-mse")
    student, teacher = torch.tensor([[1.0, -1.0], [0.0, 3.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    # Squared differences 1, 4, 0, 4 of 4 entries.
    assert loss(student, teacher).item() == 2.25
    assert loss(student, teacher, temperature=5.0).item() == 2.25  # the temperature is not used
    # Without the last entry 1, 4, 0 of 3.
    valid = torch.tensor([[True, True], [True, False]])
    assert loss(student, teacher, valid=valid).item() == pytest.approx(5 / 3, rel=1e-6)


def test_soft_targets_by_hand():
    loss = loss_of("soft-targets")
    # Teacher's probabilities 3/4 and 1/4, the student's 1/2 and 1/2:
    # KL = 3/4 log(3/4 / 1/2) + 1/4 log(1/4 / 1/2) = 3/4 log 3 - log 2.
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    expected = 0.75 * math.log(3) - math.log(2)
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-6)
    # Logits twice as large at temperature 2 are the same probabilities; the factor is 2^2.
    assert loss(2 * student, 2 * teacher, temperature=2.0).item() == pytest.approx(4 * expected, rel=1e-6)
    # The mean over a batch whose second text matches is half.
    batch = torch.cat([student, teacher]), torch.cat([teacher, teacher])
    assert loss(*batch).item() == pytest.approx(expected / 2, rel=1e-6)


def test_decoupled_by_hand():
    loss = loss_of("decoupled")
    teacher, student = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.25, 0.25, 0.5]]).log()
    # Target 0 against the rest: (1/2, 1/2) and (1/4, 3/4). The others: (1/2, 1/2) and (1/3, 2/3).
    target = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    others = 0.5 * math.log(3 / 2) + 0.5 * math.log(3 / 4)
    for labels in (torch.tensor([0]), torch.tensor([-100]), None):  # 0 is the teacher's likeliest class too
        assert loss(student, teacher, labels=labels).item() == pytest.approx(target + 8 * others, rel=1e-5)
    assert loss(student, teacher, alpha=3.0, beta=2.0).item() == pytest.approx(3 * target + 2 * others, rel=1e-5)
    # Target 1: (1/4, 3/4) in both, so nothing; the others are (2/3, 1/3) and (1/3, 2/3).
    others = 2 / 3 * math.log(2) - 1 / 3 * math.log(2)
    assert loss(student, teacher, labels=torch.tensor([1])).item() == pytest.approx(8 * others, rel=1e-5)
    # A label that is not valid is none.
    valid = torch.tensor([[True, True, True, False]])
    padded = [torch.cat([logits, torch.tensor([[50.0]])], dim=1) for logits in (student, teacher)]
    assert loss(*padded, labels=torch.tensor([3]), valid=valid) == loss(student, teacher, labels=torch.tensor([0]))


def test_cosine_by_hand():
    student, teacher = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, -3.0]])
    # Angles of 45 and 180 degrees.
    assert loss_of("cosine")(student, teacher).item() == pytest.approx((1 - math.sqrt(0.5) + 2) / 2, rel=1e-6)
    assert loss_of("cosine")(student, 7 * teacher).item() == pytest.approx((3 - math.sqrt(0.5)) / 2, rel=1e-6)


# Against plain loops


def row_loss(name, student, teacher, temperature, label):
    """The loss of one row of valid entries, and its weight in the mean."""
    if name == "logit-mse":
        return sum((s - t) ** 2 for s, t in zip(student, teacher, strict=True)) / len(student), len(student)
    if name == "cosine":
        return 1 - student @ teacher / np.sqrt((student @ student) * (teacher @ teacher)), 1
    p, q = scipy.special.softmax(teacher / temperature), scipy.special.softmax(student / temperature)
    if name == "soft-targets":
        return temperature**2 * kl(p, q), 1
    target = label if label >= 0 else max(range(len(p)), key=lambda i: p[i])
    rest_p, rest_q = np.delete(p, target), np.delete(q, target)
    value = kl([p[target], 1 - p[target]], [q[target], 1 - q[target]])
    return temperature**2 * (value + 8 * kl(rest_p / rest_p.sum(), rest_q / rest_q.sum())), 1


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 6),
    classes=st.integers(2, 7),
    temperature=st.sampled_from([0.5, 1.0, 4.0]),
    seed=st.integers(0, 2**32 - 1),
    masked=st.booleans(),
)
@pytest.mark.parametrize("name", PREDICTIONS)
def test_against_plain_loops(name, rows, classes, temperature, seed, masked):
    student, teacher = pair(rows, classes, seed=seed)
    generator = np.random.default_rng(seed)
    valid = generator.random((rows, classes)) < 0.6 if masked else np.ones((rows, classes), bool)
    valid[:, :2] = True
    labels = generator.choice([-100, 0, 1], size=rows)
    each = [
        row_loss(name, s[v], t[v], temperature, label)
        for s, t, v, label in zip(student, teacher, valid, labels, strict=True)
    ]
    expected = sum(value * weight for value, weight in each) / sum(weight for _, weight in each)
    value = loss_of(name)(
        torch.tensor(student),
        torch.tensor(teacher),
        temperature=temperature,
        labels=torch.tensor(labels),
        valid=torch.tensor(valid) if masked else None,
    )
    assert value.shape == ()
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert value.item() > 0


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_gradients_are_those_of_finite_differences(name, temperature):
    student, teacher = tensors(4, 3)
    student.requires_grad_()
    valid = torch.tensor([[True, True, True], [True, False, True], [False, False, False], [False, True, False]])
    labels = torch.tensor([1, -100, 0, 1])
    for given_valid in (None, valid):
        assert torch.autograd.gradcheck(
            lambda logits, v=given_valid: loss_of(name)(
                logits, teacher, temperature=temperature, labels=labels, valid=v
            ),
            (student,),
        )


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_student_that_equals_its_teacher_has_no_loss_and_no_gradient(name, temperature):
    teacher = torch.tensor(pair(6, 3)[0], dtype=torch.float32)
    student = teacher.clone().requires_grad_()
    loss = loss_of(name)(student, teacher, temperature=temperature)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.grad.abs().max().item() < 1e-6


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize("garbage", [7.0, -1e30, -math.inf, math.nan])
def test_entries_that_are_not_valid_count_for_nothing(name, garbage):
    """Neither more columns of garbage nor more rows of it change the value or the gradient."""
    student, teacher = (values.float() for values in tensors(4, 3))
    labels = torch.tensor([2, -100, 0, 1])
    alone = student.clone().requires_grad_()
    expected = loss_of(name)(alone, teacher, temperature=2.0, labels=labels)
    expected.backward()
    padded = torch.full((2, 6, 8), garbage)
    padded[0, :4, :3], padded[1, :4, :3] = student, teacher
    valid = torch.zeros(6, 8, dtype=torch.bool)
    valid[:4, :3] = True
    longer = padded[0].requires_grad_()
    more_labels = torch.cat([labels, torch.tensor([1, -100])])
    value = loss_of(name)(longer, padded[1], temperature=2.0, labels=more_labels, valid=valid)
    value.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(longer.grad[:4, :3], alone.grad, rtol=1e-6, atol=1e-7)
    assert longer.grad[~valid].abs().max().item() == 0


@pytest.mark.parametrize("name", PREDICTIONS)
def test_nothing_valid_at_all_is_no_loss(name):
    student = torch.ones(2, 3, requires_grad=True)
    loss = loss_of(name)(student, torch.zeros(2, 3), valid=torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max().item() == 0
    assert loss_of(name)(torch.zeros(0, 3), torch.zeros(0, 3)).item() == 0


@pytest.mark.parametrize("name", PREDICTIONS)
def test_half_precision_is_widened(name):
    student, teacher = (values.bfloat16() for values in tensors(5, 3))
    loss = loss_of(name)(student, teacher)
    assert loss.dtype == torch.float32
    assert loss.item() == loss_of(name)(student.float(), teacher.float()).item()


@pytest.mark.parametrize("name", PREDICTIONS)
def test_large_logits_stay_finite(name):
    student = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = loss_of(name)(student, torch.tensor([[-1e4, 1e4, 0.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


# What the papers say of the losses


def test_at_high_temperature_soft_targets_become_the_squared_difference_of_the_logits():
    """For logits of zero mean, T^2 KL goes to 1 / (2 C) sum (z_s - z_t)^2, half the MSE (Hinton et al. 2015, 2.1)."""
    student, teacher = (torch.tensor(v - v.mean(axis=1, keepdims=True)) for v in pair(16, 3))
    squared = loss_of("logit-mse")(student, teacher).item()
    distance = [
        abs(loss_of("soft-targets")(student, teacher, temperature=t).item() - squared / 2) for t in (1.0, 10.0, 1e3)
    ]
    assert distance[2] < 1e-3 * squared
    assert distance[2] < distance[1] < distance[0]


def test_soft_targets_do_not_see_a_constant_added_to_the_logits_of_a_text():
    student, teacher = tensors(5, 3)
    loss = loss_of("soft-targets")
    shift = torch.arange(5.0, dtype=torch.float64)[:, None]
    assert loss(student + shift, teacher - 2 * shift, temperature=1.5).item() == pytest.approx(
        loss(student, teacher, temperature=1.5).item(), rel=1e-12
    )


def test_soft_targets_of_rows_of_two_classes_are_the_divergence_of_independent_labels():
    student, teacher = pair(4, 5)
    rows = [torch.stack([torch.tensor(logits), torch.zeros(4, 5)], dim=-1).view(-1, 2) for logits in (student, teacher)]
    p, q = scipy.special.expit(teacher / 3), scipy.special.expit(student / 3)
    expected = 9 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean()
    assert loss_of("soft-targets")(*rows, temperature=3.0).item() == pytest.approx(expected, rel=1e-9)


def test_decoupled_parts_make_up_the_soft_targets():
    """KL = TCKD + (1 - p_t) NCKD (Zhao et al. 2022, section 3), and with two classes NCKD is 0."""
    student, teacher = tensors(1, 6)
    labels = torch.tensor([4])
    others = 1 - (teacher / 2).softmax(dim=-1)[0, 4].item()
    whole = loss_of("soft-targets")(student, teacher, temperature=2.0).item()
    parts = loss_of("decoupled")(student, teacher, temperature=2.0, labels=labels, alpha=1.0, beta=others)
    assert parts.item() == pytest.approx(whole, rel=1e-9)
    student, teacher = tensors(8, 2)
    assert loss_of("decoupled")(student, teacher).item() == pytest.approx(
        loss_of("soft-targets")(student, teacher).item(), rel=1e-9
    )
