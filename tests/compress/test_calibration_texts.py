"""The texts that pruning looks at: which ones, in which batches, and how far answers are apart."""

import copy
import logging

import numpy as np
import pytest
import torch

from lilliput import models, tasks
from lilliput.compress.calibration_texts import CalibrationTexts
from lilliput.config import DataConfig
from lilliput.train import sources
from lilliput.train.evaluate import logits_of


@pytest.fixture
def made(data, save_teacher):
    """The calibration texts of a tiny classifier, the classifier and its tokenizer."""
    source = save_teacher()
    model, tokenizer = models.load_finetuned_classifier(source).eval(), models.load_tokenizer(source)
    dataset = sources.load(DataConfig(data=str(data)))
    task = tasks.get("classification")

    def make(count=24, seed=0):
        return CalibrationTexts(dataset, task, model, tokenizer, count=count, max_length=16, seed=seed)

    return make, model, tokenizer, dataset


def test_batches_hold_every_text_once_with_the_models_own_answers(made):
    make, model, tokenizer, dataset = made
    rows = []
    for batch in make():
        outputs = model(**{name: batch[name] for name in tokenizer.model_input_names if name in batch}).logits
        torch.testing.assert_close(batch["teacher"], outputs.detach(), atol=1e-5, rtol=0)
        pairs = zip(batch["input_ids"], batch["attention_mask"], strict=True)
        rows += [tuple(ids[mask.bool()].tolist()) for ids, mask in pairs]
    expected = [tuple(tokenizer(text, truncation=True, max_length=16)["input_ids"]) for text in dataset.train.texts]
    assert sorted(rows) == sorted(expected)
    assert make().lengths == sorted(map(len, expected))


def test_a_sample_is_drawn_by_the_seed_and_holds_training_texts_only(made):
    make, _, tokenizer, dataset = made
    known = {tuple(tokenizer(text, truncation=True, max_length=16)["input_ids"]) for text in dataset.train.texts}

    def rows(texts):
        return [tuple(ids[ids != tokenizer.pad_token_id].tolist()) for batch in texts for ids in batch["input_ids"]]

    first, again, other = (rows(make(count=10, seed=seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert len(first) == 10
    assert set(first) <= known


def test_divergence_is_the_mean_divergence_of_the_probabilities(made):
    make, model, tokenizer, dataset = made
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    p, q = (
        np.exp(z.astype(float)) / np.exp(z.astype(float)).sum(axis=1, keepdims=True)
        for z in (logits_of(one, tokenizer, dataset.train.texts, 16) for one in (model, other))
    )
    expected = (p * np.log(p / q)).sum(axis=1).mean()
    assert make().divergence(other) == pytest.approx(expected, rel=1e-4)
    assert make().divergence(model) == pytest.approx(0, abs=1e-9)


def test_samples_with_other_shifts_share_no_text_and_cover_all_lengths(made):
    texts = made[0]()
    first, second = texts.sample(12), texts.sample(12, shift=1)
    assert len(first) == len(second) == 12
    assert first.lengths == texts.lengths[::2]
    assert second.lengths == texts.lengths[1::2]


@pytest.mark.parametrize("count", [24, 10])
def test_too_few_texts_are_warned_about_with_the_number_that_is_needed(made, caplog, count):
    with caplog.at_level(logging.WARNING):
        made[0](count=count).warn_if_few()
    (record,) = caplog.records
    # 128 texts at least; a tiny block has 4 tokens a neuron with fewer.
    assert record.message.startswith(f"{count} texts")
    assert "at least 128" in record.message
