"""Sentence embeddings: rows, ranks by hand, vectors as plain transformers makes them, and files for other libraries."""

import json

import numpy as np
import pytest
import torch

from lilliput import models
from lilliput.config import FinetuneConfig
from lilliput.errors import ConfigError
from lilliput.tasks import NO_LABEL, NO_TEXT
from lilliput.tasks.regression import NO_NUMBER
from lilliput.tasks.sentence_embedding import TASK, Embedded
from lilliput.train import finetune
from lilliput.train.data import Split
from lilliput.train.evaluate import predict
from lilliput.train.features import Collate, encode, number_of

ARCHITECTURES = ["bert", "roberta", "distilbert", "electra"]
TEXTS = ["the film was great", "", "漢字 movie 😀 was awful from start to finish", "it"]


# --- rows ------------------------------------------------------------------------------------------------------------


def test_pairs_triples_and_pairs_with_a_similarity(rows):
    assert rows(TASK, {"anchor": "a", "positive": "b"}) == ([(("a", "b"), None)], {})
    assert rows(TASK, {"query": "a", "positive": "b", "negative": "c"}) == ([(("a", "b", "c"), None)], {})
    assert rows(TASK, {"sentence1": "a", "sentence2": "b", "score": "3.5"}) == ([(("a", "b"), 3.5)], {})
    assert TASK.loss([None]) == "contrastive"
    assert TASK.loss([3.5, 0.0]) == "cosent"


def test_a_column_that_is_there_is_there_for_every_row(rows):
    triple = {"anchor": "a", "positive": "b", "negative": "c", "score": 1}
    given = [triple, *({**triple, name: None} for name in triple), {**triple, "score": "near"}]
    found, rejected = rows(TASK, *given)
    assert found == [(("a", "b", "c"), 1.0)]
    assert rejected == {NO_TEXT: 3, NO_LABEL: 1, NO_NUMBER: 1}


def test_a_row_of_the_loop_has_the_tokens_of_every_text(tiny):
    tokenizer = tiny.tokenizer()
    split = Split([("a joy", "good", "the film was bad"), ("A  JOY", "an awful movie", "it")], [None, None])
    data = encode(split, TASK, tokenizer, 16)
    for prefix, texts in zip(("", "pair_", "negative_"), zip(*split.inputs, strict=True), strict=True):
        assert data[f"{prefix}input_ids"][:] == tokenizer(list(texts))["input_ids"]
    assert data["length"][:] == [6, 5]
    assert data["texts"][0][0] == data["texts"][1][0] == number_of("a joy")
    assert len({number for row in data["texts"][:] for number in row}) == 5
    assert "labels" not in data.column_names
    batch = Collate(tokenizer)([data[0], data[1]])
    assert {name: tuple(value.shape) for name, value in batch.items() if "input_ids" in name} == {
        "input_ids": (2, 4),
        "pair_input_ids": (2, 5),
        "negative_input_ids": (2, 6),
    }
    assert batch["negative_attention_mask"].tolist() == [[1] * 6, [1] * 3 + [0] * 3]
    assert batch["texts"].dtype == torch.int64


def test_similarities_are_labels(tiny):
    data = encode(Split([("a joy", "good"), ("bad", "awful")], [0.5, 4.0]), TASK, tiny.tokenizer(), 16)
    assert data["labels"][:] == [0.5, 4.0]


# --- figures ---------------------------------------------------------------------------------------------------------


def embedded(*pairs):
    """Predictions of pairs: names of texts and the angles of their vectors, in degrees."""

    def vectors(*angles):
        return np.stack([[np.cos(np.radians(a)), np.sin(np.radians(a))] for a in angles]).astype(np.float32)

    return [Embedded((one, other), vectors(first, second)) for (one, first), (other, second) in pairs]


def test_ranks_by_hand():
    """The first text's partner is 10 degrees away, another one 5: rank 2. The others' are nearest."""
    found = embedded((("a", 0), ("A", 10)), (("b", 50), ("B", 55)), (("c", -90), ("C", -5)))
    assert TASK.metrics(found, [None] * 3, (), {}) == {
        "ranking": pytest.approx((1 / 2 + 1 + 1) / 3),
        "mrr": pytest.approx((1 / 2 + 1 + 1) / 3),
        "accuracy_at_1": pytest.approx(2 / 3),
    }


@pytest.mark.parametrize("rival", [(("b", 90), ("A", 5)), (("a", 0), ("B", 5))], ids=["same partner", "same text"])
def test_what_is_right_too_is_no_rival(rival):
    found = embedded((("a", 0), ("A", 10)), rival)
    ranks = TASK.metrics(found[:1] + found, [None] * 3, (), {})
    assert ranks["accuracy_at_1"] == 1.0


def test_a_model_that_gives_every_text_the_same_vector_ranks_last():
    found = embedded(*(((f"a{i}", 30), (f"b{i}", 30)) for i in range(5)))
    assert TASK.metrics(found, [None] * 5, (), {})["mrr"] == pytest.approx(1 / 5)


def test_many_texts_are_ranked_in_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    found = embedded(
        *(((f"a{i}", x), (f"b{i}", x + dx)) for i, (x, dx) in enumerate(generator.uniform(0, 90, (50, 2))))
    )
    whole = TASK.metrics(found, [None] * 50, (), {})
    monkeypatch.setattr("lilliput.tasks.sentence_embedding.BLOCK", 7)
    assert TASK.metrics(found, [None] * 50, (), {}) == whole


def test_similarities_are_compared_with_cosines():
    """Angles 60, 30, 90 have the cosines 0.5, 0.87, 0; the similarities 1, 5, 3 have ranks 1, 3, 2: Spearman 0.5."""
    found = embedded((("a", 0), ("b", 60)), (("c", 10), ("d", 40)), (("e", 0), ("f", 90)))
    figures = TASK.metrics(found, [1.0, 5.0, 3.0], (), {})
    assert figures["ranking"] == figures["spearman"] == pytest.approx(0.5)
    cosines = [0.5, np.sqrt(3) / 2, 0.0]
    assert figures["pearson"] == pytest.approx(np.corrcoef(cosines, [1, 5, 3])[0, 1], abs=1e-6)
    assert TASK.record(found[0], (), {}) == {"prediction": pytest.approx(0.5), "probabilities": None}


# --- answers ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_vector_is_the_mean_of_the_last_hidden_states_of_length_1(architecture, headed, asked):
    tokenizer, model = headed(architecture, TASK.head, ("a", "b"))
    for text, vector in zip(TEXTS, asked(TASK, tokenizer, model, TEXTS), strict=True):
        hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        assert vector == pytest.approx((hidden / hidden.norm()).tolist(), abs=1e-5)
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


@torch.no_grad()
def test_every_text_of_an_input_has_its_vector(headed):
    tokenizer, model = headed("bert", TASK.head, ("a", "b"))
    single = predict(model, tokenizer, TASK, ["good", "bad"], 16)
    (pair,) = predict(model, tokenizer, TASK, [("good", "bad")], 16)
    assert pair.texts == ("good", "bad")
    assert np.abs(pair.vectors - np.concatenate([one.vectors for one in single])).max() < 1e-6


def test_there_are_no_options():
    with pytest.raises(ConfigError, match="normalize: sentence-embedding has no options"):
        TASK.answer("x", embedded((("a", 0), ("b", 1)))[0], (), {}, tokenizer=None, normalize=True)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pairs(encoders, tmp_path):
    """Folder of pairs of texts of one subject: the same judgement with two endings belongs together; with ``scored``,
    two judgements are alike where both are positive or both negative."""

    def write(scored):
        folder = tmp_path / f"pairs-{scored}"
        folder.mkdir()
        by_label = list(encoders.corpus().values())
        ends = len(encoders.ENDINGS)  # texts in a row that differ in their endings only
        for split, start, end in (("train", 0, 72), ("validation", 72, 96), ("test", 96, 120)):
            lines = []
            for number in range(start, end):
                place = 35 * number // 2 % 64 * ends
                one, other = number % 2, (number % 2 + number // 2 % 2 * scored) % 2
                first, second = by_label[one][place + number % 4], by_label[other][place + 4 + number % 5]
                row = {"sentence1": first, "sentence2": second}
                lines.append(json.dumps({**row, "score": 5.0 * (one == other)} if scored else row))
            (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        return folder

    return write


@pytest.mark.usefixtures("quick_training")
@pytest.mark.parametrize("scored", [False, True])
def test_it_learns_and_other_libraries_find_their_files(scored, pairs, encoders, tiny, tmp_path):
    source = encoders.save(tmp_path / "source", "bert", tiny.tokenizer, initializer_range=0.1)
    settings = {"batch_size": 8, "max_length": 16, "device": "cpu", "task": "sentence-embedding"}
    settings |= {"data": str(pairs(scored)), "epochs": 5, "learning_rate": 5e-3}
    result = finetune(FinetuneConfig(model=str(source), out=tmp_path / "out", **settings))
    folder = tmp_path / "out" / "teacher"
    figure = result["validation"]["spearman" if scored else "mrr"]
    assert figure == result["validation"]["ranking"]
    assert figure > 0.75  # untrained, 0.06 and 0.58

    # As sentence-transformers describes a folder: modules in order, each with its path and configuration.
    modules = json.loads((folder / "modules.json").read_text())
    kinds = ["Transformer", "Pooling", "Normalize"]
    assert [(one["idx"], one["name"], one["path"], one["type"]) for one in modules] == [
        (i, str(i), path, f"sentence_transformers.models.{kind}")
        for i, (path, kind) in enumerate(zip(("", "1_Pooling", "2_Normalize"), kinds, strict=True))
    ]
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert pooling.pop("word_embedding_dimension") == 16
    assert {name for name, chosen in pooling.items() if chosen} == {"pooling_mode_mean_tokens"}
    bert = json.loads((folder / "sentence_bert_config.json").read_text())
    assert bert == {"max_seq_length": 16, "do_lower_case": False}
    assert type(models.load_finetuned(TASK, folder)).__name__ == "BertModel"
