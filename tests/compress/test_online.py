"""Texts that are changed on their tokens in every step."""

import pytest
import torch

from lilliput import models
from lilliput.compress.online import ChangedTexts
from lilliput.train.batches import LengthGroupedBatches, RepeatableCollate
from lilliput.train.features import Collate

UNLABELLED = {"labels": -100}


@pytest.fixture
def tokenizer(checkpoint):
    return models.load_tokenizer(checkpoint("bert"))


@pytest.fixture
def rows(tokenizer, encoders):
    """Sixteen rows; the tokens of no two texts are the same."""
    encoded = [tokenizer(text, truncation=True, max_length=16) for text, _ in encoders.rows(16)]
    return [
        {**one, "labels": i % 2, "length": len(one["input_ids"]), "row": i, "place": f"rows.csv:{i}"}
        for i, one in enumerate(map(dict, encoded))
    ]


def changed(tokenizer, rows, share, max_length=16, seed=0, **options):
    """What the collator would pad."""
    kept = []
    collate = ChangedTexts(lambda some: kept.extend(some) or {}, tokenizer, share, UNLABELLED, max_length, **options)
    torch.manual_seed(seed)
    collate(rows)
    return kept


def middle(row):
    return row["input_ids"][1:-1]


def test_all_are_changed_or_none(tokenizer, rows):
    assert changed(tokenizer, rows, 0.0) == rows
    assert not [row for row in changed(tokenizer, rows, 1.0) if row["labels"] != -100]


def test_a_share_is_changed_and_loses_its_labels_while_the_others_stay(tokenizer, rows):
    found = [row for seed in range(40) for row in changed(tokenizer, rows, 0.25, seed=seed)]
    touched = [row["labels"] == -100 for row in found]
    assert 0.2 < sum(touched) / len(touched) < 0.3
    assert all(row == rows[row["row"]] for row, one in zip(found, touched, strict=True) if not one)


def test_a_changed_row_is_a_row_of_one_text(tokenizer, rows):
    for seed in range(20):
        for row in changed(tokenizer, rows, 1.0, seed=seed):
            ids = row["input_ids"]
            assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
            assert not {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id} & set(ids[1:-1])
            assert len(ids) == len(row["attention_mask"]) == len(row["token_type_ids"]) == row["length"]
            assert set(row["attention_mask"]) == {1}
            assert set(row["token_type_ids"]) == {0}
            assert ids[1:-1]
            assert row["place"] == f"rows.csv:{row['row']}"


def test_tokens_come_from_the_row_and_perhaps_one_other_in_spans(tokenizer, rows):
    texts = [middle(row) for row in rows]

    def is_span(tokens, text):
        return any(text[i : i + len(tokens)] == tokens for i in range(len(text) - len(tokens) + 1))

    joined = 0
    found = [row for seed in range(20) for row in changed(tokenizer, rows, 1.0, seed=seed)]
    for row in found:
        tokens, own = middle(row), texts[row["row"]]
        if tokenizer.mask_token_id in tokens:
            assert set(tokens) <= {*own, tokenizer.mask_token_id}
            continue
        cuts = range(len(tokens) + 1)
        two = any(is_span(tokens[:i], own) and any(is_span(tokens[i:], text) for text in texts) for i in cuts)
        rest = iter(own)
        assert two or all(token in rest for token in tokens)  # else one span with tokens left out
        joined += two
    assert joined > 0.4 * len(found)


def test_no_row_is_longer_than_it_may_be(tokenizer, rows):
    found = [row for seed in range(20) for row in changed(tokenizer, rows, 1.0, max_length=6, seed=seed)]
    assert max(len(row["input_ids"]) for row in found) == 6
    assert {row["input_ids"][-1] for row in found} == {tokenizer.sep_token_id}


def test_words_that_the_vocabulary_lacks_count_as_words(tokenizer, rows):
    unk, mask = tokenizer.unk_token_id, tokenizer.mask_token_id
    unknown = {**rows[0], "input_ids": [tokenizer.cls_token_id, *[unk] * 9, tokenizer.sep_token_id]}
    assert all(set(middle(row)) <= {unk, mask} for row in changed(tokenizer, [unknown], 1.0))
    assert changed(tokenizer, [unknown], 1.0)[0]["labels"] == -100


def test_a_text_without_words_stays_as_it_is(tokenizer, rows):
    empty = {**rows[0], "input_ids": [tokenizer.cls_token_id, tokenizer.sep_token_id]}
    assert changed(tokenizer, [empty], 1.0) == [empty]


def test_a_row_of_a_model_without_token_types_has_none(tokenizer, rows):
    bare = [{name: value for name, value in row.items() if name != "token_type_ids"} for row in rows]
    assert all("token_type_ids" not in row for row in changed(tokenizer, bare, 1.0))


def test_the_same_seed_epoch_and_rows_are_changed_alike(tokenizer, rows):
    batches = LengthGroupedBatches([row["length"] for row in rows], 8, seed=3)
    pad = Collate(tokenizer)
    collate = RepeatableCollate(ChangedTexts(pad, tokenizer, 0.5, UNLABELLED, 16), batches)

    def batch(epoch, some=rows):
        batches.set_epoch(epoch)
        torch.rand(int(torch.randint(5, ())))  # wherever the generator is
        return collate([dict(row) for row in some])

    one, again, later = batch(1), batch(1), batch(2)
    assert one.keys() == {"input_ids", "attention_mask", "token_type_ids", "labels", "length", "row"}
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["labels"], later["labels"])
    assert one["row"].tolist() == list(range(16))
    assert one["labels"].tolist().count(-100) in range(2, 15)


def test_rows_are_not_changed_in_place(tokenizer, rows):
    before = [{name: list(v) if isinstance(v, list) else v for name, v in row.items()} for row in rows]
    changed(tokenizer, rows, 1.0)
    assert rows == before
