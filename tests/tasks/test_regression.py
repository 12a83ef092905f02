"""Scores: rows, figures by hand, the same learning on any scale, and the answers of transformers' own pipeline."""

import json
import math

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from transformers import pipeline

from lilliput import models
from lilliput.config import FinetuneConfig
from lilliput.errors import ConfigError
from lilliput.tasks import NO_LABEL
from lilliput.tasks.regression import NO_NUMBER, TASK, correlation
from lilliput.train import finetune
from lilliput.train.evaluate import predict

TEXTS = ["the film was great", "", "漢字 movie 😀 was awful from start to finish", "it"]


@pytest.mark.parametrize("column", ["score", "rating", "similarity", "stars", "label"])
@pytest.mark.parametrize(("cell", "score"), [(3, 3.0), (0.5, 0.5), ("4.5", 4.5), (" -1e2 ", -100.0), ("0", 0.0)])
def test_scores_are_numbers(rows, column, cell, score):
    assert rows(TASK, {"text": "a", column: cell}) == ([("a", score)], {})


def test_pairs_and_faults(rows):
    pair = {"sentence1": "a", "sentence2": "b"}
    found, rejected = rows(TASK, *({**pair, "score": cell} for cell in (2, None, "", "great", "nan", "1,5", True, [1])))
    assert found == [(("a", "b"), 2.0)]
    assert rejected == {NO_LABEL: 2, NO_NUMBER: 5}


def test_the_one_output_is_called_score():
    assert TASK.label_names([1.0, 2.0]) == ("score",)
    assert TASK.shown(TASK.index(2.5, ("score",)), ("score",)) == 2.5
    assert TASK.counted(2.5, ("score",)) == []


def test_what_is_standardised():
    assert TASK.prior([1.0, 3.0]) == {"mean": 2.0, "deviation": 1.0}
    assert TASK.prior([7.0, 7.0]) == {"mean": 7.0, "deviation": 1.0}
    assert TASK.predict("x", [], [np.array([0.5], dtype=np.float32)], {"mean": 3.0, "deviation": 2.0}) == 4.0
    assert TASK.predict("x", [], [np.array([0.5], dtype=np.float32)], {}) == 0.5


def test_figures_by_hand():
    """Of 1 2 3 and 2 4 9: ranks agree; Pearson is 7 / sqrt(2 * 26); squared errors 1, 4, 36."""
    found = TASK.metrics([2.0, 4.0, 9.0], [1.0, 2.0, 3.0], ("score",), {})
    assert found == {
        "spearman": pytest.approx(1.0),
        "pearson": pytest.approx(7 / math.sqrt(52)),
        "rmse": pytest.approx(math.sqrt(41 / 3)),
    }
    assert TASK.metric in found
    assert TASK.falling == {"rmse"}


def test_correlations_are_scipy_s():
    one, other = np.random.default_rng(0).normal(size=(2, 50))
    assert correlation(one, other) == pytest.approx(pearsonr(one, other).statistic)
    assert correlation(one, other, ranks=True) == pytest.approx(spearmanr(one, other).statistic)


@pytest.mark.parametrize("ranks", [True, False])
@pytest.mark.parametrize("constant", [[0.0] * 3, [2.5] * 3, [1e9, 1e9 + 1e-7, 1e9]])
def test_what_does_not_vary_correlates_with_nothing(constant, ranks):
    varied = np.array([1.0, 2.0, 3.0])
    assert correlation(np.array(constant), varied, ranks) == 0.0
    assert correlation(varied, np.array(constant), ranks) == 0.0
    assert correlation(np.array([1.0]), np.array([2.0]), ranks) == 0.0
    assert TASK.metrics(constant, [1.0, 2.0, 3.0], ("score",), {})["spearman"] == 0.0


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_answers_are_those_of_the_pipeline(architecture, headed, asked):
    tokenizer, model = headed(architecture, TASK.head, ("score",))
    model.config.problem_type = TASK.problem
    found = asked(TASK, tokenizer, model, TEXTS)
    expected = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")(TEXTS)
    assert [one["label"] for one in found] == ["score"] * 4 == [one["label"] for one in expected]
    assert [one["score"] for one in found] == pytest.approx([one["score"] for one in expected], abs=1e-5)


def test_there_are_no_options():
    with pytest.raises(ConfigError, match="top_k: regression has no options"):
        TASK.answer("x", 1.0, ("score",), {}, tokenizer=None, top_k=2)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.fixture
def learn(encoders, tiny, tmp_path):
    """Fine-tune on ratings from 1 to 5, brought to another scale; gives the result and the model's predictions."""
    stars = {"great": 5, "a joy": 5, "good": 4, "not bad": 4, "not good": 2, "un good": 2, "bad": 1, "awful": 1}
    source = encoders.save(tmp_path / "source", "bert", tiny.tokenizer, initializer_range=0.1)
    judged = [(text, next(n for word, n in stars.items() if word in text)) for text, _ in encoders.rows(240)]

    def learn(name, scale):
        folder = tmp_path / name
        folder.mkdir()
        for split, start, end in (("train", 0, 160), ("validation", 160, 200), ("test", 200, 240)):
            lines = (json.dumps({"text": text, "rating": scale(n)}) for text, n in judged[start:end])
            (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        settings = {"epochs": 5, "batch_size": 8, "max_length": 16, "learning_rate": 5e-3, "device": "cpu"}
        settings |= {"data": str(folder), "task": "regression", "out": tmp_path / f"{name}-out"}
        result = finetune(FinetuneConfig(model=str(source), **settings))
        model, tokenizer = models.load_finetuned(TASK, result["folder"]), models.load_tokenizer(result["folder"])
        return result, np.array(predict(model, tokenizer, TASK, [text for text, _ in judged[200:]], 16))

    return learn


@pytest.mark.usefixtures("quick_training")
def test_ratings_of_any_scale_are_learnt(learn):
    """The saved model answers in the units of the data, and what is learnt does not depend on them."""
    stars, small = learn("stars", lambda n: n)
    percent, large = learn("percent", lambda n: 25 * (n - 1))
    assert stars["test"]["spearman"] > 0.6
    assert stars["test"]["rmse"] < 1.3  # always saying 3 has 1.58
    assert percent["test"]["rmse"] < 25 * 1.3
    assert np.abs(large - 25 * (small - 1)).max() < 0.1
    assert stars["settings"] == {}
