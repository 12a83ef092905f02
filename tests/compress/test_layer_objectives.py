"""The losses on hidden states, attention and relations: by hand, against plain loops, against numerical gradients."""

import math

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput.compress import objectives
from lilliput.compress.objectives import LayerStates
from lilliput.errors import ConfigError

NAMES = ("attention-maps", "embeddings", "hidden-states", "minilm", "relations")
PARTS = ("hidden", "query", "key", "value")


def loss_of(name):
    return objectives.get(name).loss


def states(batch=2, tokens=4, *, hidden=6, width=8, heads=2, seed=0, dtype=torch.float64):
    generator = np.random.default_rng(seed)
    widths = (hidden, width, width, width)
    parts = [torch.tensor(generator.normal(size=(batch, tokens, w)), dtype=dtype) for w in widths]
    return LayerStates(*parts, heads)


def change(given, function):
    """The same states with ``function`` applied to every tensor."""
    return LayerStates(*(function(getattr(given, part)) for part in PARTS), given.heads)


def lengths_mask(lengths, tokens):
    return (torch.arange(tokens) < torch.tensor(lengths)[:, None]).long()


MASK = lengths_mask([4, 2], 4)


# Values worked out by hand


def vectors(*rows):
    return torch.tensor([[list(row) for row in rows]])


@pytest.mark.parametrize("name", ["hidden-states", "embeddings"])
def test_hidden_states_by_hand(name):
    student = LayerStates(vectors((1.0, 2.0), (0.0, 0.0), (9.0, 9.0)), None, None, None, 1)
    teacher = LayerStates(vectors((0.0, 0.0), (0.0, 3.0), (0.0, 0.0)), None, None, None, 1)
    # Squared differences 1, 4, 0, 9 of the two real tokens.
    assert loss_of(name)(student, teacher, torch.tensor([[1, 1, 0]])).item() == 3.5


def test_attention_maps_by_hand():
    # One head of 4 dimensions, so scores are halved. Teacher: scores (2, 0), (4, 0); student: none.
    query, key = vectors((2.0, 0, 0, 0), (4.0, 0, 0, 0)), vectors((2.0, 0, 0, 0), (0.0, 1, 0, 0))
    zeros = torch.zeros(1, 2, 4)
    teacher, student = LayerStates(zeros, query, key, zeros, 1), LayerStates(zeros, zeros, zeros, zeros, 1)
    assert loss_of("attention-maps")(student, teacher, torch.tensor([[1, 1]])).item() == (4 + 0 + 16 + 0) / 4
    assert loss_of("attention-maps")(student, teacher, torch.tensor([[1, 0]])).item() == 4


def test_minilm_and_relations_by_hand():
    # Scores log 3, 0 of the first token and 0, 0 of the second: probabilities (3/4, 1/4) and (1/2, 1/2).
    # The student's are 1/2 all over, so KL is 3/4 log 3 - log 2 for the first token, 0 for the second.
    zeros, root = torch.zeros(1, 2, 1), vectors((math.sqrt(math.log(3)),), (0.0,))
    half = (0.75 * math.log(3) - math.log(2)) / 2
    student, mask = LayerStates(zeros, zeros, zeros, zeros, 1), torch.ones(1, 2)
    expected = {
        # what the teacher has that is not zero -> MiniLM, MiniLMv2
        ("query",): (0, half),
        ("query", "key"): (half, 2 * half),
        ("value",): (half, half),
        ("query", "key", "value"): (2 * half, 3 * half),
    }
    for parts, (minilm, relations) in expected.items():
        teacher = LayerStates(zeros, *(root if part in parts else zeros for part in PARTS[1:]), 1)
        assert loss_of("minilm")(student, teacher, mask).item() == pytest.approx(minilm, rel=1e-5)
        assert loss_of("relations")(student, teacher, mask).item() == pytest.approx(relations, rel=1e-5)


# Against plain loops


def heads_of(projected, heads):
    return np.split(projected, heads, axis=-1)


def table(left, right):
    return np.array([[x @ y / math.sqrt(len(x)) for y in right] for x in left])


def divergences(student, teacher):
    p, q = scipy.special.softmax(teacher, axis=1), scipy.special.softmax(student, axis=1)
    return [sum(a * math.log(a / b) for a, b in zip(*rows, strict=True)) for rows in zip(p, q, strict=True)]


def reference(name, student, teacher, lengths, relation_heads):
    """Text by text, head by head, token by token, of the real tokens only."""
    collected = {part: [] for part in PARTS}
    for text, length in enumerate(lengths):
        mine, theirs = ({part: getattr(of, part)[text, :length].numpy() for part in PARTS} for of in (student, teacher))
        if name in ("hidden-states", "embeddings"):
            collected["hidden"] += [
                (s - t) ** 2 for s, t in zip(mine["hidden"].flat, theirs["hidden"].flat, strict=True)
            ]
            continue
        heads = relation_heads if name == "relations" else student.heads
        mine, theirs = ({part: heads_of(of[part], heads) for part in PARTS[1:]} for of in (mine, theirs))
        for head in range(heads):
            maps = [table(of["query"][head], of["key"][head]) for of in (mine, theirs)]
            relations = {part: [table(of[part][head], of[part][head]) for of in (mine, theirs)] for part in PARTS[1:]}
            if name == "attention-maps":
                collected["query"] += list(((maps[0] - maps[1]) ** 2).flat)
            elif name == "minilm":
                collected["query"] += divergences(*maps)
                collected["value"] += divergences(*relations["value"])
            else:
                for part in PARTS[1:]:
                    collected[part] += divergences(*relations[part])
    return sum(sum(values) / len(values) for values in collected.values() if values)


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    heads=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 2**31 - 1),
    relation_heads=st.sampled_from([1, 2, 4]),
)
@pytest.mark.parametrize("name", NAMES)
def test_against_plain_loops(name, lengths, heads, seed, relation_heads):
    tokens = max(lengths) + 1
    student = states(len(lengths), tokens, width=4, heads=heads, seed=seed)
    teacher = states(len(lengths), tokens, width=12, heads=heads, seed=seed + 1)
    value = loss_of(name)(student, teacher, lengths_mask(lengths, tokens), relation_heads=relation_heads)
    assert value.shape == ()
    assert value.item() == pytest.approx(
        reference(name, student, teacher, lengths, relation_heads), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name):
    student, teacher = states(), states(width=12, seed=1)
    inputs = [getattr(student, part).requires_grad_() for part in PARTS]
    assert torch.autograd.gradcheck(lambda *parts: loss_of(name)(LayerStates(*parts, 2), teacher, MASK), inputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_student_that_equals_its_teacher_has_no_loss_and_no_gradient(name):
    teacher = states(dtype=torch.float32)
    student = change(teacher, lambda part: part.clone().requires_grad_())
    loss = loss_of(name)(student, teacher, MASK)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-7)
    for part in PARTS:
        gradient = getattr(student, part).grad
        assert gradient is None or gradient.abs().max().item() < 1e-7


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("garbage", [5.0, 1e30, math.inf, math.nan])
def test_padding_counts_for_nothing(name, garbage):
    """Whatever stands at padding, and however much of it there is: the value and the gradient are the same."""
    student, teacher = states(dtype=torch.float32), states(seed=1, dtype=torch.float32)

    def padded(part):
        batch, _, width = part.shape
        longer = torch.cat([part, torch.full((batch, 3, width), garbage)], dim=1)
        longer[1, 2:] = garbage
        return torch.cat([longer, torch.full((1, 7, width), garbage)])  # and a text of nothing but padding

    alone = change(student, lambda part: part.clone().requires_grad_())
    longer = change(student, lambda part: padded(part).requires_grad_())
    expected = loss_of(name)(alone, teacher, MASK)
    value = loss_of(name)(longer, change(teacher, padded), lengths_mask([4, 2, 0], 7).bool())
    expected.backward()
    value.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    for part in PARTS:
        before, after = getattr(alone, part).grad, getattr(longer, part).grad
        assert (before is None) == (after is None)
        if before is not None:
            assert torch.allclose(after[:2, :4], before, rtol=1e-5, atol=1e-7)
            assert after[~lengths_mask([4, 2, 0], 7).bool()].abs().max().item() == 0


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_padding_is_no_loss(name):
    student = change(states(), lambda part: part.requires_grad_())
    loss = loss_of(name)(student, states(seed=1), torch.zeros(2, 4))
    loss.backward()
    assert loss.item() == 0
    assert all(part is None or part.abs().max() == 0 for part in (student.query.grad, student.hidden.grad))


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_autocast_compute_in_float32(name):
    student, teacher = (states(seed=seed, dtype=torch.bfloat16) for seed in (0, 1))
    expected = loss_of(name)(*(change(of, torch.Tensor.float) for of in (student, teacher)), MASK)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss_of(name)(student, teacher, MASK)
    assert value.dtype == torch.float32
    assert value.item() == expected.item()


@pytest.mark.parametrize("name", NAMES)
def test_large_states_stay_finite(name):
    student = change(states(dtype=torch.float32), lambda part: (100 * part).requires_grad_())
    loss = loss_of(name)(student, change(states(seed=1, dtype=torch.float32), lambda part: -100 * part), MASK)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(part.grad).all() for part in (student.hidden, student.query) if part.grad is not None)


# Numbers of heads, widths, and what can be wrong with them


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        ((24, 3), (48, 4), 4),  # the teacher's number divides both
        ((8, 2), (24, 12), 8),  # 12 does not divide 8; of 1, 2, 4, 8 the largest is not above 12
        ((10, 2), (24, 12), 2),
        ((9, 3), (16, 4), 1),
    ],
)
def test_relation_heads_by_default(student, teacher, expected):
    student, teacher = (states(width=width, heads=heads, seed=heads) for width, heads in (student, teacher))
    loss = loss_of("relations")
    assert loss(student, teacher, MASK).item() == loss(student, teacher, MASK, relation_heads=expected).item()


def test_more_relation_heads_than_the_teacher_has_heads():
    student, teacher = states(width=8, heads=2), states(width=16, heads=4, seed=1)
    values = {
        heads: loss_of("relations")(student, teacher, MASK, relation_heads=heads).item() for heads in (1, 2, 4, 8)
    }
    assert len(set(values.values())) == 4
    assert values[8] == pytest.approx(reference("relations", student, teacher, [4, 2], 8), rel=1e-9)


@pytest.mark.parametrize("heads", [-2, 0, 3, 8, 24])
def test_relation_heads_must_divide_both_widths(heads):
    with pytest.raises(ConfigError) as caught:
        loss_of("relations")(states(width=12), states(width=8), MASK, relation_heads=heads)
    assert str(caught.value) == (
        f"--relation-heads {heads}: must divide the widths of the student's and the teacher's attention, 12 and 8; "
        "fitting are 1, 2, 4"
    )


@pytest.mark.parametrize("name", ["attention-maps", "minilm"])
def test_head_by_head_needs_equal_numbers_of_heads(name):
    with pytest.raises(ConfigError) as caught:
        loss_of(name)(states(heads=2), states(heads=4), MASK)
    assert str(caught.value) == (
        f"--objective {name}: compares head by head, but the student has 2 heads and the teacher 4; "
        "use relations, which takes any numbers of heads"
    )


def test_hidden_states_need_equal_widths():
    with pytest.raises(ConfigError) as caught:
        loss_of("hidden-states")(states(hidden=6), states(hidden=9), MASK)
    assert str(caught.value).startswith("--objective hidden-states: the student is 6 wide, the teacher 9; project")


@pytest.mark.parametrize("name", ["attention-maps", "minilm", "relations"])
def test_embeddings_have_no_attention(name):
    without = LayerStates(torch.zeros(2, 4, 6), None, None, None, 2)
    with pytest.raises(ConfigError, match="needs a block's query, key and value"):
        loss_of(name)(without, without, MASK)
