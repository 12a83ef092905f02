"""Logits in the order of the texts, whatever the batches; accuracy by hand."""

import numpy as np
import pytest
import torch

from lilliput import models
from lilliput.train.evaluate import accuracy, logits_of

TEXTS = ["the film is great", "", "漢字 movie was awful 😀 from start to finish", "it", "مرحبا film", "שלום joy"]


@pytest.fixture(params=["bert", "roberta", "distilbert", "electra"])
def loaded(request, checkpoint):
    source = checkpoint(request.param)
    return models.load_finetuned_classifier(source), models.load_tokenizer(source)


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_logits_are_those_of_each_text_alone(loaded, batch_size):
    model, tokenizer = loaded
    expected = [model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in TEXTS]
    found = logits_of(model, tokenizer, TEXTS, 40, batch_size=batch_size)
    assert found.shape == (6, 2)
    assert found.dtype == np.float32
    assert np.abs(found - np.array(expected)).max() < 2e-5


@torch.no_grad()
def test_a_text_is_cut_at_the_longest_length(loaded):
    model, tokenizer = loaded
    long = "the film was very long " * 20
    ids = tokenizer(long, truncation=True, max_length=8, return_tensors="pt")
    assert ids["input_ids"].shape == (1, 8)
    assert np.abs(logits_of(model, tokenizer, [long], 8)[0] - model(**ids).logits[0].numpy()).max() < 2e-5


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_and_the_mode_is_put_back(loaded, training):
    model, tokenizer = loaded
    model.train(training)
    assert np.array_equal(logits_of(model, tokenizer, TEXTS, 16), logits_of(model, tokenizer, TEXTS, 16))
    assert model.training is training
    state = torch.get_rng_state()
    logits_of(model, tokenizer, TEXTS, 16)
    assert torch.equal(torch.get_rng_state(), state)


def test_bfloat16_comes_near_and_is_given_in_float32(loaded):
    model, tokenizer = loaded
    exact, rough = logits_of(model, tokenizer, TEXTS, 16), logits_of(model, tokenizer, TEXTS, 16, bf16=True)
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.2


def test_progress_counts_texts(loaded):
    seen = []
    logits_of(*loaded, TEXTS, 16, batch_size=4, progress=lambda *given: seen.append(given), what="reading")
    assert seen == [(4, 6, "reading"), (6, 6, "reading")]


def test_no_texts_are_no_logits(loaded):
    assert logits_of(*loaded, [], 16).shape == (0, 2)


def test_accuracy_by_hand():
    logits = np.array([[0.0, 1.0], [2.0, 1.0], [-1.0, -3.0], [0.5, 0.6]], dtype=np.float32)
    assert accuracy(logits, [1, 0, 0, 1]) == 1.0
    assert accuracy(logits, [1, 0, 1, 0]) == 0.5
    assert accuracy(logits, [0, 1, 1, 0]) == 0.0
