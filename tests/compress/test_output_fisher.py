"""What is sent back from the outputs: Fisher information of answers, against its definition."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput.compress.output_fisher import PROJECTIONS, cotangents, label_losses
from lilliput.tasks import IGNORED

NAN = float("nan")


def whole(texts, tokens=1):
    return {"attention_mask": torch.ones(texts, tokens, dtype=torch.int64)}


def outer(rows):
    """``sum_r u_r u_r^T`` of each text, ``[B, n, n]``, over its flattened outputs."""
    flat = rows.flatten(2).double()
    return torch.einsum("rbi,rbj->bij", flat, flat)


def categorical(p):
    return torch.diag(p) - torch.outer(p, p)


@given(st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=9))
@settings(max_examples=60, deadline=None)
def test_few_classes_are_exact_with_a_row_less_than_there_are(logits):
    z = torch.tensor([logits])
    rows = cotangents("classes", z, whole(1), 0)
    assert rows.shape == (len(logits) - 1, 1, len(logits))
    expected = categorical(z[0].double().softmax(-1))
    assert torch.allclose(outer(rows)[0], expected, atol=1e-7, rtol=1e-5)


def test_a_sure_model_still_tells_apart_by_what_it_is_not_sure_of():
    expected = (torch.tensor(20.0).sigmoid() * torch.tensor(-20.0).sigmoid()).sqrt().item()  # 4.5e-5
    for logits in ([20.0, 0.0], [0.0, 20.0]):
        rows = cotangents("classes", torch.tensor([logits]), whole(1), 0)
        assert rows.abs().flatten().tolist() == pytest.approx([expected, expected], rel=1e-4)


def test_several_labels_and_scores_are_exact():
    z = torch.tensor([[0.3, -2.0, 5.0]])
    p = z[0].double().sigmoid()
    assert torch.allclose(outer(cotangents("labels", z, whole(1), 0))[0], torch.diag(p * (1 - p)) / 3, atol=1e-7)
    assert cotangents("score", torch.tensor([[7.0], [-2.0]]), whole(2), 0).tolist() == [[[1], [1]]]


def mean_outer(kind, outputs, mask, texts=1500):
    batch = {"attention_mask": mask.expand(texts, -1)}
    rows = cotangents(kind, outputs.expand(texts, *outputs.shape[1:]), batch, 0)
    assert len(rows) == PROJECTIONS
    return outer(rows).mean(0)


def close(found, expected):
    """Within four deviations of a mean of 6,000 samples."""
    return torch.allclose(found, expected.double(), atol=0.08 * expected.abs().max().item())


def test_many_classes_are_right_on_average():
    z = torch.linspace(-1, 1, 12)[None]
    assert close(mean_outer("classes", z, torch.ones(1, 1)), categorical(z[0].double().softmax(-1)))


def test_tokens_are_right_on_average_and_padding_is_nothing():
    z, mask = torch.tensor([[[1.0, 0.0, -1.0], [2.0, 0.5, 0.0], [9.0, 9.0, 0.0]]]), torch.tensor([[1, 1, 0]])
    p = z[0].double().softmax(-1)
    expected = torch.block_diag(categorical(p[0]) / 2, categorical(p[1]) / 2, torch.zeros(3, 3))
    assert close(mean_outer("tokens", z, mask), expected)


def test_spans_are_right_on_average_and_padding_is_nothing():
    z, mask = torch.tensor([[[1.0, 0.0], [2.0, 0.5], [-1.0, 1.0], [9.0, 9.0]]]), torch.tensor([[1, 1, 1, 0]])
    p = z[0, :3].double().softmax(0)  # [3, 2]
    expected = torch.zeros(4, 2, 4, 2, dtype=torch.float64)
    for end in range(2):
        expected[:3, end, :3, end] = categorical(p[:, end]) / 2
    assert close(mean_outer("span", z, mask), expected.reshape(8, 8))


def test_vectors_are_felt_in_their_direction_alone():
    e = torch.tensor([[3.0, 0.0, 4.0]])
    direction = e[0].double() / 5
    expected = (torch.eye(3, dtype=torch.float64) - torch.outer(direction, direction)) / 25
    assert torch.allclose(outer(cotangents("vector", e, whole(1), 0))[0], expected, atol=1e-8)
    change = torch.tensor([0.01, -0.02, 0.02])
    apart = 1 - torch.cosine_similarity(e[0] + change, e[0], dim=0)
    assert (change.double() @ expected @ change.double() / 2).item() == pytest.approx(apart.item(), rel=0.02)


def test_wide_vectors_are_right_on_average():
    e = torch.linspace(-1, 2, 16)[None]
    direction = e[0].double() / e[0].double().norm()
    expected = (torch.eye(16) - torch.outer(direction, direction)) / e[0].norm() ** 2
    assert close(mean_outer("vector", e, torch.ones(1, 1)), expected)


@pytest.mark.parametrize(
    ("kind", "shape"), [("classes", (12,)), ("tokens", (5, 3)), ("span", (5, 2)), ("vector", (16,))]
)
def test_the_probes_of_a_text_depend_on_its_number_alone(kind, shape):
    z = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 0]])
    together = cotangents(kind, z, {"attention_mask": mask}, 10)
    for number in range(4):
        length = int(mask[number].sum()) if len(shape) == 2 else shape[0]
        text = {"attention_mask": mask[number : number + 1, :length]}
        alone = cotangents(kind, z[number : number + 1, :length], text, 10 + number)
        assert torch.allclose(together[:, number, :length], alone[:, 0], atol=1e-6)
        assert not together[:, number, length:].any()
    assert not torch.equal(together, cotangents(kind, z, {"attention_mask": mask}, 11))


# --- with labels ------------------------------------------------------------------------------------------------------


def test_label_losses_by_hand():
    z = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    losses = label_losses("classes", z, {**whole(2), "labels": torch.tensor([0, IGNORED])})
    assert losses.tolist() == pytest.approx([torch.tensor(1.0).exp().log1p().item(), 0])
    several = {**whole(2), "labels": torch.tensor([[1.0, IGNORED], [0.0, 1.0]])}
    expected = [F.softplus(torch.tensor(-1.0)).item(), torch.tensor(2.0).log().item()]
    assert label_losses("labels", z, several).tolist() == pytest.approx(expected)
    scores = {**whole(2), "labels": torch.tensor([4.0, NAN])}
    assert label_losses("score", z[:, :1], scores).tolist() == pytest.approx([4.5, 0])


def test_label_losses_of_tokens_and_spans_by_hand():
    z = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    labels = torch.tensor([[IGNORED, 1, 0, IGNORED], [IGNORED] * 4])
    found = label_losses("tokens", z, {"attention_mask": mask, "labels": labels})
    assert found.tolist() == pytest.approx([F.cross_entropy(z[0, 1:3], labels[0, 1:3]).item(), 0])
    places = {"start_positions": torch.tensor([2, 0]), "end_positions": torch.tensor([3, 2])}
    found = label_losses("span", z, {"attention_mask": mask, **places})
    for text, length in enumerate((4, 3)):
        start, end = (-z[text, :length, i].log_softmax(0)[place[text]] for i, place in enumerate(places.values()))
        assert found[text].item() == pytest.approx(((start + end) / 2).item())


def test_with_labels_there_is_one_row_and_it_is_the_gradient():
    z = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    with torch.no_grad():
        rows = cotangents("classes", z, {**whole(2), "labels": torch.tensor([0, IGNORED])}, 0)
    expected = z[0].softmax(-1) - torch.tensor([1.0, 0, 0])
    assert rows.shape == (1, 2, 3)
    assert torch.allclose(rows[0, 0], expected)
    assert not rows[0, 1].any()
