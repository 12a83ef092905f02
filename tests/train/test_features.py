"""Data sets for the loop, by hand."""

import json
import shutil

import pytest
import torch

from lilliput import models, tasks
from lilliput.tasks import IGNORED
from lilliput.train.data import Split
from lilliput.train.features import Collate, encode


@pytest.fixture
def tokenizer(tiny):
    return tiny.tokenizer()


def test_a_row_carries_tokens_label_length_number_and_place(tokenizer):
    split = Split(["a joy", "the film was bad"], [1, 0], ["a.csv:2", "a.csv:5"])
    data = encode(split, tasks.get("classification"), tokenizer, 16)
    assert data["input_ids"][:] == tokenizer(split.inputs)["input_ids"]
    assert data["labels"][:] == [1, 0]
    assert data["length"][:] == [4, 6]
    assert data["row"][:] == [0, 1]
    assert data["place"][:] == ["a.csv:2", "a.csv:5"]


def test_pairs_have_token_types(tokenizer):
    data = encode(Split([("a joy", "bad")], [0]), tasks.get("classification"), tokenizer, 16)
    assert data["input_ids"][0] == tokenizer("a joy", "bad")["input_ids"]
    assert data["token_type_ids"][0] == [0, 0, 0, 0, 1, 1]
    assert data["place"][0] == "row 0"


def test_a_batch_is_padded_and_one_label_a_token_is_padded_with_ignored(tokenizer):
    rows = [
        {"input_ids": [2, 7, 3], "attention_mask": [1, 1, 1], "labels": [IGNORED, 4, IGNORED], "row": 0, "place": "x"},
        {"input_ids": [2, 3], "attention_mask": [1, 1], "labels": [IGNORED, IGNORED], "row": 1, "place": "y"},
    ]
    batch = Collate(tokenizer, per_token=True)(rows)
    assert batch.keys() == {"input_ids", "attention_mask", "labels", "row"}
    assert batch["input_ids"].tolist() == [[2, 7, 3], [2, 3, tokenizer.pad_token_id]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 4, IGNORED], [IGNORED] * 3]


def test_a_tokenizer_that_pads_on_the_left_is_made_to_pad_where_labels_are(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("bert"), tmp_path / "left")
    told = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**told, "padding_side": "left"}))
    rows = [{"input_ids": [2, 7, 3], "labels": [IGNORED, 4, IGNORED]}, {"input_ids": [2, 3], "labels": [IGNORED, 5]}]
    batch = Collate(models.load_tokenizer(folder), per_token=True)(rows)
    assert batch["input_ids"].tolist() == [[2, 7, 3], [2, 3, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 4, IGNORED], [IGNORED, 5, IGNORED]]


def test_labels_that_are_a_vector_stay_one(tokenizer):
    rows = [{"input_ids": [2, 3], "attention_mask": [1, 1], "labels": [0.0, 1.0, 1.0]}] * 2
    assert torch.equal(Collate(tokenizer)(rows)["labels"], torch.tensor([[0.0, 1.0, 1.0]] * 2))
