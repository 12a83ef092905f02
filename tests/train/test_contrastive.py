"""The losses of sentence embeddings by hand, on an encoder whose hidden states are chosen."""

import math
from types import SimpleNamespace

import pytest
import torch

from lilliput.train.contrastive import Contrastive, CoSENT, embeddings_of

ANGLES = torch.tensor([0.0, 90.0, 10.0, 80.0, 45.0, 180.0])
"""Of the vectors that tokens 0 to 5 have, in degrees."""


def encoder(input_ids, attention_mask):
    radians = torch.deg2rad(ANGLES)[input_ids]
    return SimpleNamespace(last_hidden_state=3 * torch.stack([radians.cos(), radians.sin()], dim=-1))


def batch(*texts, numbers=None, labels=None):
    """Texts of one token, by row: anchors, partners and perhaps negatives."""
    columns = {}
    for prefix, tokens in zip(("", "pair_", "negative_"), zip(*texts, strict=True), strict=False):
        columns[f"{prefix}input_ids"] = torch.tensor(tokens)[:, None]
        columns[f"{prefix}attention_mask"] = torch.ones(len(tokens), 1, dtype=torch.int64)
    columns["texts"] = torch.tensor(numbers or texts)
    return columns | ({} if labels is None else {"labels": torch.tensor(labels)})


def cosine(one, other):
    return math.cos(math.radians(float(ANGLES[one] - ANGLES[other])))


def surprise(anchor, partner, others, temperature=0.05):
    """-log of the share that the partner has among the candidates."""
    values = [math.exp(cosine(anchor, other) / temperature) for other in (partner, *others)]
    return -math.log(values[0] / sum(values))


def test_a_vector_is_the_mean_over_the_tokens_that_are_read():
    columns = {
        "input_ids": torch.tensor([[0, 1, 5], [2, 3, 3]]),
        "attention_mask": torch.tensor([[1, 1, 0], [1, 0, 0]]),
    }
    (found,) = embeddings_of(encoder, columns)
    expected = [[math.sqrt(0.5)] * 2, [math.cos(math.radians(10)), math.sin(math.radians(10))]]
    assert torch.allclose(found, torch.tensor(expected), atol=1e-6)


def test_texts_of_different_lengths_go_together():
    columns = batch((0, 1), (2, 3))
    columns["pair_input_ids"] = torch.tensor([[1, 0, 5], [3, 0, 0]])
    columns["pair_attention_mask"] = torch.tensor([[1, 1, 0], [1, 0, 0]])
    anchors, partners = embeddings_of(encoder, columns)
    assert torch.allclose(anchors, embeddings_of(encoder, batch((0, 1), (2, 3)))[0])
    assert torch.allclose(partners[0], torch.tensor([math.sqrt(0.5)] * 2), atol=1e-6)


def test_the_other_rows_partners_are_the_negatives():
    expected = (surprise(0, 4, [2]) + surprise(1, 2, [4])) / 2
    assert Contrastive()(encoder, batch((0, 4), (1, 2))).item() == pytest.approx(expected, rel=1e-5)


def test_hard_negatives_of_every_row_count_for_every_row():
    expected = (surprise(0, 2, [3, 4, 5], 0.5) + surprise(1, 3, [2, 4, 5], 0.5)) / 2
    assert Contrastive(0.5)(encoder, batch((0, 2, 4), (1, 3, 5))).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("rows", "numbers", "candidates"),
    [
        # The second row's partner is the first one's, under whatever tokens.
        ([(0, 2), (1, 3)], [[10, 11], [12, 11]], [[], []]),
        # The second row's partner is the first row's text.
        ([(0, 2), (1, 3)], [[10, 11], [12, 10]], [[], [2]]),
        # Both rows have the same text: each one's partner is right for the other.
        ([(0, 2), (1, 3)], [[10, 11], [10, 12]], [[], []]),
        # The same row twice.
        ([(0, 2), (0, 2)], [[10, 11], [10, 11]], [[], []]),
        # A hard negative that is the partner of its own row, and one that is the other row's text.
        ([(0, 2, 4), (1, 3, 5)], [[10, 11, 11], [12, 13, 10]], [[3], [2, 4, 5]]),
    ],
)
def test_what_is_no_negative_is_left_out(rows, numbers, candidates):
    expected = [surprise(row[0], row[1], others, 0.5) for row, others in zip(rows, candidates, strict=True)]
    found = Contrastive(0.5)(encoder, batch(*rows, numbers=numbers))
    assert found.item() == pytest.approx(sum(expected) / 2, rel=1e-5, abs=1e-6)


def test_cosent_by_hand():
    """Similarities 3, 1, 1: the first pair must be above both others; the others don't compare."""
    cosines = [cosine(0, 2), cosine(1, 4), cosine(0, 5)]
    expected = math.log(1 + sum(math.exp(20 * (cosines[j] - cosines[0])) for j in (1, 2)))
    found = CoSENT()(encoder, batch((0, 2), (1, 4), (0, 5), labels=[3.0, 1.0, 1.0])).item()
    assert found == pytest.approx(expected, rel=1e-4)
    wrong = CoSENT()(encoder, batch((0, 2), (1, 4), labels=[1.0, 3.0])).item()
    assert wrong == pytest.approx(math.log(1 + math.exp(20 * (cosines[0] - cosines[1]))), rel=1e-5)


def test_cosent_depends_on_the_order_of_the_similarities_alone():
    rows = [(0, 2), (1, 4), (0, 5)]
    one, other = (CoSENT()(encoder, batch(*rows, labels=labels)) for labels in ([0.9, 0.1, -1.0], [5.0, 4.0, 0.0]))
    assert one.item() == pytest.approx(other.item())


def test_equal_similarities_teach_nothing():
    assert CoSENT()(encoder, batch((0, 2), (1, 4), labels=[2.0, 2.0])).item() == 0.0
