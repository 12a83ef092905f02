"""Words and their labels: alignment by hand and for random words, entities as seqeval counts them, and the answers of
transformers' own pipeline."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.metrics.sequence_labeling import get_entities

from lilliput import models
from lilliput.config import FinetuneConfig
from lilliput.errors import ConfigError
from lilliput.tasks import IGNORED, Tokens
from lilliput.tasks.token_classification import TASK, Tagging
from lilliput.tokenization import WindowEncoder
from lilliput.train import finetune
from lilliput.train.evaluate import predict

NAMES = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")


def windows_of(tokenizer, words, max_length):
    return WindowEncoder(tokenizer.backend_tokenizer, max_length, TASK.overlap)([Tokens(tuple(words))])[0]


@pytest.fixture(params=["bert", "roberta"])
def tokenizer(request, encoders, tiny):
    return encoders.tokenizer(request.param, tiny.tokenizer)


# --- rows ------------------------------------------------------------------------------------------------------------


def test_lists_and_strings_are_the_same_row(rows):
    found, rejected = rows(
        TASK,
        {"tokens": ["Ann", "left", "New York"], "ner_tags": ["B-PER", "O", "B-LOC"]},
        {"tokens": "Ann left  Rome", "ner_tags": "B-PER O B-LOC"},
        {"tokens": ["a", "b"], "ner_tags": [3, 11]},
    )
    assert found == [
        (("Ann", "left", "New York"), ("B-PER", "O", "B-LOC")),
        (("Ann", "left", "Rome"), ("B-PER", "O", "B-LOC")),
        (("a", "b"), ("3", "11")),
    ]
    assert rejected == {}


def test_faulty_rows_are_rejected_with_their_reason(rows):
    found, rejected = rows(
        TASK,
        {"words": ["a"], "tags": ["O"]},
        {"words": ["a", "b"], "tags": ["O"]},
        {"words": ["a", " "], "tags": ["O", "O"]},
        {"words": ["a", 3], "tags": ["O", "O"]},
        {"words": [], "tags": []},
        {"words": ["a"], "tags": []},
        {"words": ["a"], "tags": [None]},
        {"words": ["a"], "tags": ["B-"]},
        {"words": {"a": 1}, "tags": ["O"]},
    )
    assert len(found) == 1
    assert rejected == {
        "different numbers of tokens and tags": 1,
        "empty token": 1,
        "malformed row": 2,
        "empty text": 1,
        "missing label": 2,
        "BIO tag without a type": 1,
    }


def test_unlabelled_rows_need_no_tags(rows):
    assert rows(TASK, {"tokens": ["a", "b"]}, labelled=False)[0] == [(("a", "b"), None)]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC"),  # IOB1
        ("I-PER B-PER I-PER", "B-PER B-PER I-PER"),  # IOB1: two neighbours
        ("B-PER I-LOC I-LOC", "B-PER B-LOC I-LOC"),
        ("B-PER I-PER O", "B-PER I-PER O"),  # IOB2 stays
        ("B-X E-X S-X O", "B-X E-X S-X O"),
        ("NOUN I VERB", "NOUN I VERB"),
    ],
)
def test_entities_are_turned_into_iob2(written, read, rows):
    ((_, target),), _ = rows(TASK, {"tokens": written, "tags": written})
    assert target == tuple(read.split())


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=1, max_size=20))
def test_turning_tags_into_iob2_keeps_the_entities(tags):
    _, target = TASK.read({"text": tags, "label": tags})
    assert get_entities(list(target)) == get_entities(tags)
    for before, tag in zip(("O", *target), target, strict=False):
        assert not tag.startswith("I-") or before[2:] == tag[2:]


def test_targets_become_numbers_and_names_again():
    names = TASK.label_names([("O", "B-PER"), ("B-LOC", "O")])
    assert names == ("B-LOC", "B-PER", "O")
    assert TASK.index(("O", "B-LOC"), names) == (2, 0)
    assert TASK.shown((2, 0), names) == ["O", "B-LOC"]
    assert TASK.counted((2, 0), names) == ["O", "B-LOC"]
    with pytest.raises(Exception, match="never occurs in training"):
        TASK.index(("O", "I-LOC"), names)


# --- alignment -------------------------------------------------------------------------------------------------------


def test_the_first_sub_word_is_labelled(tiny):
    words = ("unfilm", "is", "\u200b", "naive", "!?")  # un f ##i ##l ##m | is | nothing | na ##ive | ! ?
    (window,) = windows_of(tiny.tokenizer(), words, 24)
    assert window.tokens == ["[CLS]", "un", "##f", "##i", "##l", "##m", "is", "na", "##ive", "!", "?", "[SEP]"]
    labels = TASK.training((1, 2, 3, 4, 5), window)["labels"]
    skip = IGNORED
    assert labels == [skip, 1, skip, skip, skip, skip, 2, 4, skip, 5, skip, skip]


def test_byte_level_words_are_labelled_too(encoders, tiny):
    tokenizer = encoders.tokenizer("roberta", tiny.tokenizer)
    (window,) = windows_of(tokenizer, ("film", "😀", "joy"), 40)
    firsts = [place for place, label in enumerate(TASK.training((7, 8, 9), window)["labels"]) if label != IGNORED]
    assert [window.word_ids[place] for place in firsts] == [0, 1, 2]
    assert all(window.tokens[place].startswith("Ġ") for place in firsts)


WORDS = st.text(st.sampled_from("filmjoyun漢字é😀'-.\u200b\u0301 "), min_size=1, max_size=6).filter(str.strip)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORDS, min_size=1, max_size=25))
def test_every_word_that_has_tokens_is_labelled_and_predicted_once(words, tokenizer):
    """Outputs name the word and, by 0.5 more, its first token, so that a prediction tells what it was made from."""
    found = windows_of(tokenizer, words, 12)
    (whole,) = windows_of(tokenizer, words, 100_000)
    first = {}
    for place, word in enumerate(whole.word_ids):
        if word is not None:
            first.setdefault(word, place - 1)
    outputs = [np.array([[-1 if w is None else w] for w in window.word_ids], dtype=np.float32) for window in found]
    prediction = TASK.predict(tuple(words), found, outputs, {})
    assert prediction.tokens == tuple(whole.tokens[1:-1])
    assert prediction.first.tolist() == [first.get(word, -1) for word in range(len(words))]
    assert prediction.logits[:, 0].tolist() == whole.word_ids[1:-1]

    labelled = set()
    for window in found:
        labels = TASK.training(tuple(range(len(words))), window)["labels"]
        assert all(label in (IGNORED, word) for label, word in zip(labels, window.word_ids, strict=True))
        given = [label for label in labels if label != IGNORED]
        assert len(given) == len(set(given))
        labelled |= set(given)
    assert labelled >= {word for word, place in first.items() if words[word][0] not in "\u200b\u0301"}


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORDS, min_size=1, max_size=25))
def test_spans_are_inside_their_words(words, tokenizer):
    found = windows_of(tokenizer, words, 14)
    outputs = [np.zeros((len(window.ids), 2), dtype=np.float32) for window in found]
    prediction = TASK.predict(tuple(words), found, outputs, {})
    assert prediction.text == " ".join(words)
    for word, token in enumerate(prediction.first.tolist()):
        if token >= 0:
            start, end = prediction.spans[token]
            begin = len(" ".join([*words[:word], ""]))
            assert begin <= start <= end <= begin + len(words[word])


def test_a_token_is_judged_in_the_window_where_it_has_most_context(tiny):
    # Windows of 4 tokens, 2 of them repeated: 0123 2345 4567 6789.
    words = tuple("abcdefghij")
    found = windows_of(tiny.tokenizer(), words, 6)
    assert [window.tokens[1:-1] for window in found] == [list(part) for part in ("abcd", "cdef", "efgh", "ghij")]
    outputs = [np.full((6, 1), number, dtype=np.float32) for number in range(4)]
    prediction = TASK.predict(words, found, outputs, {})
    # c is last but one in window 0 (one token on its poorer side) and first in window 1 (none).
    assert prediction.logits[:, 0].tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3]


# --- figures ---------------------------------------------------------------------------------------------------------


def tagging(tags, names=NAMES, unread=()):
    """A prediction of these tags, a token a word; words of the numbers in ``unread`` have no token."""
    kept = [tag for word, tag in enumerate(tags) if word not in unread]
    places = iter(range(len(kept)))
    first = np.array([-1 if word in unread else next(places) for word in range(len(tags))])
    logits = np.eye(len(names))[list(map(names.index, kept))]
    return Tagging("", ("x",) * len(kept), np.zeros((len(kept), 2), int), logits, first)


def test_entities_by_hand():
    gold = ["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC", "I-LOC"]
    found = ["B-PER", "I-PER", "O", "B-PER"], ["O", "I-LOC", "I-LOC"]
    scores = TASK.metrics([tagging(tags) for tags in found], [TASK.index(tags, NAMES) for tags in gold], NAMES, {})
    # Three entities each; the person is right, and so is the last place, which I-LOC begins as conlleval reads it.
    assert scores["precision"] == scores["recall"] == scores["f1"] == pytest.approx(2 / 3)
    assert scores["accuracy"] == pytest.approx(5 / 7)
    assert scores["unread_words"] == 0


def test_parity_with_seqeval_s_report():
    draw = np.random.default_rng(0)
    gold = [[NAMES[i] for i in draw.integers(0, 5, size)] for size in draw.integers(1, 20, 40)]
    gold = [list(TASK.read({"text": tags, "label": tags})[1]) for tags in gold]
    found = [[tag if draw.random() < 0.7 else NAMES[draw.integers(5)] for tag in tags] for tags in gold]
    scores = TASK.metrics([tagging(tags) for tags in found], [TASK.index(tags, NAMES) for tags in gold], NAMES, {})
    expected = classification_report(gold, found, output_dict=True)["micro avg"]
    assert scores["f1"] == pytest.approx(expected["f1-score"])
    assert scores["precision"] == pytest.approx(expected["precision"])
    assert scores["recall"] == pytest.approx(expected["recall"])


def test_a_word_that_vanished_is_outside_and_counted():
    scores = TASK.metrics([tagging(["B-LOC", "B-PER"], unread=[1])], [(0, 1)], NAMES, {})
    assert scores["unread_words"] == 1
    assert scores["accuracy"] == 0.5
    assert scores["f1"] == pytest.approx(2 / 3)


def test_an_input_without_tokens_is_outside_of_everything(tiny):
    found = windows_of(tiny.tokenizer(), ("\u200b", "\u200b"), 12)
    prediction = TASK.predict(("\u200b", "\u200b"), found, [np.zeros((2, 5), dtype=np.float32)], {})
    assert prediction.tags(NAMES) == ["O", "O"]
    assert TASK.answer(None, prediction, NAMES, {}, tokenizer=tiny.tokenizer().backend_tokenizer) == []


def test_no_entities_anywhere_are_no_warning():
    assert TASK.metrics([tagging(["O"])], [(4,)], NAMES, {})["f1"] == 0


def test_other_labels_than_bio_are_scored_by_words():
    names = ("ADJ", "NOUN", "VERB")
    predictions = [tagging(["NOUN", "NOUN", "VERB", "NOUN"], names)]
    scores = TASK.metrics(predictions, [(1, 0, 2, 1)], names, {})
    assert scores["accuracy"] == scores["f1"] == 0.75
    assert scores["macro_f1"] == pytest.approx((0 + 4 / 5 + 1) / 3)  # ADJ never; NOUN 2 of 3 right, all found; VERB


def test_records_hold_the_tags():
    assert TASK.record(tagging(["O", "B-LOC"]), NAMES, {}) == {"prediction": ["O", "B-LOC"], "probabilities": None}


# --- answers ---------------------------------------------------------------------------------------------------------

TEXTS = ["Unwatchable film, naïve café! 漢字 and a joy 😀 it's", "the", "hello worlds 'unfilmed' !?"]


def pipeline_answers(tokenizer, model, texts, strategy):
    from transformers import pipeline

    tokenizer.model_max_length = 40
    made = pipeline("token-classification", model=model, tokenizer=tokenizer, device="cpu")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tokenizer does not support real words", UserWarning)
        return [made(text, aggregation_strategy=strategy) for text in texts]


@pytest.mark.parametrize("strategy", ["none", "simple", "first"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_answers_are_those_of_the_pipeline_of_transformers(architecture, strategy, headed, asked):
    tokenizer, model = headed(architecture, "AutoModelForTokenClassification", NAMES)
    found = asked(TASK, tokenizer, model, TEXTS, aggregation_strategy=strategy)
    expected = pipeline_answers(tokenizer, model, TEXTS, strategy)
    assert sum(map(len, expected)) > 5
    for one, other in zip(found, expected, strict=True):
        assert [{k: v for k, v in piece.items() if k != "score"} for piece in one] == [
            {k: v for k, v in piece.items() if k != "score"} for piece in other
        ]
        scores = [float(piece["score"]) for piece in other]
        assert [piece["score"] for piece in one] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("strategy", ["none", "simple"])
def test_words_are_answered_as_the_pipeline_answers_them(strategy, headed, asked):
    from transformers import pipeline

    tokenizer, model = headed("bert", "AutoModelForTokenClassification", NAMES)
    words = ["unwatchable", "film", "naïve", "joy", "漢字"]
    made = pipeline("token-classification", model=model, tokenizer=tokenizer, device="cpu")
    (expected,) = made(words, is_split_into_words=True, aggregation_strategy=strategy)
    (found,) = asked(TASK, tokenizer, model, [tuple(words)], aggregation_strategy=strategy)
    assert found == [{**piece, "score": pytest.approx(float(piece["score"]), abs=1e-5)} for piece in expected]


def test_a_long_text_is_answered_to_its_end(headed, asked):
    tokenizer, model = headed("bert", "AutoModelForTokenClassification", NAMES)
    text = "the film was a joy and not bad at all " * 12
    (found,) = asked(TASK, tokenizer, model, [text], 16, ignore_labels=())
    assert [piece["index"] for piece in found] == list(range(1, len(found) + 1))
    assert [piece["word"] for piece in found] == tokenizer.tokenize(text)
    assert all(text[piece["start"] : piece["end"]] == piece["word"].removeprefix("##") for piece in found)


def test_wrong_options_are_named(headed, asked):
    tokenizer, model = headed("bert", "AutoModelForTokenClassification", NAMES)
    with pytest.raises(ConfigError, match="aggregation_strategy: 'best' is none of none, simple, first"):
        asked(TASK, tokenizer, model, ["a"], aggregation_strategy="best")
    with pytest.raises(ConfigError, match="stride: token-classification has"):
        asked(TASK, tokenizer, model, ["a"], stride=3)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_it_is_learnt_and_saved(architecture, learner, tmp_path, quick_training):
    import json

    kinds = {"film": "B-LOC", "joy": "B-PER", "movie": "I-LOC", "bad": "O", "great": "O"}
    draw = np.random.default_rng(0)
    for split, count in (("train", 120), ("validation", 20), ("test", 20)):
        lines = [[str(word) for word in draw.choice(list(kinds), draw.integers(3, 30))] for _ in range(count)]
        rows = [{"tokens": words, "tags": [kinds[word] for word in words]} for words in lines]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = finetune(
        FinetuneConfig(
            task="token-classification",
            model=str(learner(architecture)),
            data=str(tmp_path),
            epochs=8,
            learning_rate=1e-2,
            batch_size=16,
            max_length=16,
            device="cpu",
            out=tmp_path / "out",
        )
    )
    assert result["test"]["accuracy"] > 0.9
    model, tokenizer = models.load_finetuned(TASK, result["folder"]), models.load_tokenizer(result["folder"])
    (prediction,) = predict(model, tokenizer, TASK, [("bad", "film", "joy") * 8], 16)
    assert len(prediction.tags(models.labels_of(model))) == 24
    assert np.mean(np.array(prediction.tags(models.labels_of(model))) == ["O", "B-LOC", "B-PER"] * 8) > 0.9
