"""Questions and contexts: rows, answers in windows, and what the pipeline of transformers 4 answered."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers.pipelines.document_question_answering import select_starts_ends

from lilliput import models
from lilliput.config import FinetuneConfig
from lilliput.errors import ConfigError
from lilliput.tasks import Tokens
from lilliput.tasks.question_answering import LONGEST, TASK, Reading, Window
from lilliput.tokenization import WindowEncoder
from lilliput.train import finetune
from lilliput.train.evaluate import outputs_of, predict
from lilliput.train.features import windows_of

CONTEXT = "The film was a joy from start to finish, and the joy was not bad."
HEAD = "AutoModelForQuestionAnswering"
SPAN_LABELS = ("start", "end")


def windows(tokenizer, question, context, max_length):
    return WindowEncoder(tokenizer.backend_tokenizer, max_length, TASK.overlap)([Tokens(question, context)])[0]


@pytest.fixture(params=["bert", "roberta"])
def tokenizer(request, encoders, tiny):
    return encoders.tokenizer(request.param, tiny.tokenizer)


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "more", "target"),
    [
        ({"text": ["joy", "a joy"], "answer_start": [53, 13]}, {}, ((53, "joy"), (13, "a joy"))),
        ({"text": ["joy"]}, {}, ((15, "joy"),)),
        (["joy", "film"], {}, ((15, "joy"), (4, "film"))),
        (["joy", "film"], {"answer_start": [53, 4]}, ((53, "joy"), (4, "film"))),
        ("joy", {}, ((15, "joy"),)),
        (" joy ", {}, ((15, "joy"),)),
        ("joy", {"answer_start": 49}, ((49, "joy"),)),
        ("joy", {"answer_start": "49"}, ((49, "joy"),)),
        (" joy", {"answer_start": 48}, ((49, "joy"),)),
        ({"text": [], "answer_start": []}, {}, ()),
        ([], {}, ()),
        ("", {}, ()),
        (None, {}, ()),
        ([""], {}, ()),
    ],
)
def test_answers_are_read_in_every_form(answers, more, target, rows):
    context = "The film was a joy from start to finish, and the joy was joy."
    target = tuple((49 if start == 53 else start, answer) for start, answer in target)
    if isinstance(answers, dict) and "answer_start" in answers:
        answers = {**answers, "answer_start": [49 if start == 53 else start for start in answers["answer_start"]]}
    if "answer_start" in more and isinstance(more["answer_start"], list):
        more = {"answer_start": [49, 4]}
    ((item, found),), rejected = rows(TASK, {"question": "what?", "context": context, "answers": answers, **more})
    assert item == ("what?", context)
    assert found == target
    assert rejected == {}
    assert all(context[start : start + len(answer)] == answer for start, answer in found)


def test_the_context_stays_as_it_is(rows):
    ((item, target),), _ = rows(TASK, {"question": " q ", "context": "\n  a joy ", "answer": "joy", "answer_start": 5})
    assert item == ("q", "\n  a joy ")
    assert target == ((5, "joy"),)


def test_faulty_rows_are_rejected_with_their_reason(rows):
    good = {"question": "q", "context": CONTEXT, "answers": "joy", "answer_start": None}
    found, rejected = rows(
        TASK,
        good,
        good | {"answers": "sorrow"},
        good | {"answers": "sorrow", "answer_start": 3},
        good | {"answer_start": 14},
        good | {"answer_start": -2},
        good | {"answer_start": "there"},
        good | {"answers": 3},
        good | {"answers": [3]},
        good | {"answers": {"text": ["joy", "film"], "answer_start": [15]}},
        good | {"context": " "},
        good | {"question": None},
    )
    assert len(found) == 1
    assert rejected == {
        "answer that is not in the context": 2,
        "answer_start that does not fit the answer": 2,
        "malformed row": 4,
        "empty text": 2,
    }


def test_unlabelled_rows_need_no_answers(rows):
    record = {"question": "q", "context": CONTEXT}
    assert rows(TASK, record, labelled=False)[0] == [(("q", CONTEXT), None)]


def test_targets_are_shown_with_their_places():
    assert TASK.label_names([()]) == ("start", "end")
    assert TASK.index(((15, "joy"),), ("start", "end")) == ((15, "joy"),)
    assert TASK.shown(((15, "joy"),), ()) == {"text": ["joy"], "answer_start": [15]}
    assert [TASK.counted(target, ())[0] for target in (((15, "joy"),), ())] == ["answerable", "unanswerable"]


# --- windows ---------------------------------------------------------------------------------------------------------


def test_answers_are_found_in_the_windows_that_hold_them(tiny):
    # [CLS] joy ? [SEP] the film was a joy from start to finish , ... : the context's first token is number 4.
    (window,) = windows(tiny.tokenizer(), "joy ?", CONTEXT, 40)
    assert TASK.training(((15, "joy"),), window) == {"start_positions": 8, "end_positions": 8}
    assert TASK.training(((13, "a joy from"),), window) == {"start_positions": 7, "end_positions": 9}
    assert TASK.training((), window) == {"start_positions": 0, "end_positions": 0}

    first, *_, last = windows(tiny.tokenizer(), "joy ?", CONTEXT, 10)  # 5 tokens of the context each
    assert TASK.training(((13, "a joy"),), first) == {"start_positions": 7, "end_positions": 8}
    assert TASK.training(((13, "a joy from"),), first) == {"start_positions": 0, "end_positions": 0}  # cut
    assert TASK.training(((13, "a joy"),), last) == {"start_positions": 0, "end_positions": 0}


LETTERS = st.text(st.sampled_from("filmjoyun漢字é😀' .,-"), min_size=1, max_size=60).filter(str.strip)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(context=LETTERS, data=st.data())
def test_a_model_sure_of_the_gold_tokens_answers_with_the_gold_text(context, data, tokenizer):
    """Whole words of a context, read in short windows: training positions and predictions are inverse."""
    (window,) = windows(tokenizer, "?", context, 100_000)
    parts = [
        place for place, (part, word) in enumerate(zip(window.sequence_ids, window.word_ids, strict=True)) if part == 1
    ]
    words = {}
    for place in parts:
        start, end = window.offsets[place]
        begin, _ = words.get(window.word_ids[place], (start, end))
        words[window.word_ids[place]] = (begin, end)
    spans = sorted(span for span in words.values() if context[slice(*span)].strip())
    first = data.draw(st.integers(0, len(spans) - 1))
    last = data.draw(st.integers(first, min(first + 2, len(spans) - 1)))
    start, end = spans[first][0], spans[last][1]
    target = ((start, context[start:end]),)

    found = windows(tokenizer, "?", context, 60)
    outputs, held = [], False
    for one in found:
        output = np.zeros((len(one.ids), 2), dtype=np.float32)
        positions = TASK.training(target, one)
        output[positions["start_positions"], 0] = output[positions["end_positions"], 1] = 9
        held |= positions["end_positions"] > 0
        outputs.append(output)
    prediction = TASK.predict(("?", context), found, outputs, {})
    assert prediction.context[slice(*prediction.span)] == prediction.answer({})
    if held:
        assert prediction.answer({}) == context[start:end]
        assert prediction.score == 18


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(context=LETTERS, seed=st.integers(0, 99))
def test_offsets_slice_to_the_answer(context, seed, tokenizer):
    found = windows(tokenizer, "film ?", context, 24)
    draw = np.random.default_rng(seed)
    outputs = [draw.normal(size=(len(one.ids), 2)).astype(np.float32) for one in found]
    prediction = TASK.predict(("film ?", context), found, outputs, {})
    for answer in TASK.answer(None, prediction, SPAN_LABELS, {}, top_k=4):
        assert context[answer["start"] : answer["end"]] == answer["answer"]


def test_the_best_span_is_the_best_of_all_valid_ones(tokenizer):
    draw = np.random.default_rng(1)
    (window,) = windows(tokenizer, "was it good ?", CONTEXT * 3, 1000)
    output = draw.normal(size=(len(window.ids), 2)).astype(np.float32)
    inside = [place for place, part in enumerate(window.sequence_ids) if part == 1]
    expected = max(output[i, 0] + output[j, 1] for i in inside for j in inside if i <= j < i + LONGEST)
    prediction = TASK.predict(("", CONTEXT * 3), [window], [output], {})
    assert prediction.score == pytest.approx(expected)
    assert prediction.null == pytest.approx(output[0].sum())


def test_the_null_score_is_the_least_of_the_windows(tiny):
    found = windows(tiny.tokenizer(), "joy ?", CONTEXT, 10)
    outputs = [np.full((len(one.ids), 2), number, dtype=np.float32) for number, one in enumerate(found)]
    prediction = TASK.predict(("joy ?", CONTEXT), found, outputs, {})
    assert prediction.null == 0
    assert prediction.score == 2 * (len(found) - 1)


def test_a_context_without_tokens_has_no_answer(tiny):
    found = windows(tiny.tokenizer(), "joy ?", "\u200b", 20)
    prediction = TASK.predict(("joy ?", "\u200b"), found, [np.zeros((len(found[0].ids), 2), dtype=np.float32)], {})
    assert prediction.answer({}) == ""
    assert TASK.answer(None, prediction, SPAN_LABELS, {})["answer"] == ""
    assert TASK.record(prediction, SPAN_LABELS, {})["prediction"] == {"text": [], "answer_start": []}


# --- answers ---------------------------------------------------------------------------------------------------------

QUESTIONS = [("was it good ?", CONTEXT), ("who ?", "un unwatchable naïve café, a movie! 漢字 😀"), ("?", "joy")]


def by_hand(tokenizer, model, item, top_k, longest, impossible):
    """The pipeline of transformers 4: its choice of spans is still there, for documents; the rest is written anew."""
    encoded = tokenizer(*item)
    (window,) = windows_of(TASK, tokenizer, [item], 40)[0]
    (output,) = outputs_of(model, tokenizer, [window])
    mask = np.array([part != 1 for part in encoded.sequence_ids()])
    mask[0] = False
    starts, ends, scores, null = select_starts_ends(
        output[None, :, 0],
        output[None, :, 1],
        mask,
        None,
        top_k=2 * top_k + 10,
        handle_impossible_answer=impossible,
        max_answer_len=longest,
    )
    answers = {}
    for first, last, score in zip(starts, ends, scores, strict=True):
        if score == 0:
            continue
        start = encoded.word_to_chars(encoded.token_to_word(first), sequence_index=1).start
        end = encoded.word_to_chars(encoded.token_to_word(last), sequence_index=1).end
        one = answers.setdefault(item[1][start:end].lower(), {"score": 0, "start": start, "end": end})
        one["score"] += score
        one.setdefault("answer", item[1][start:end])
    every = [*answers.values(), *([{"score": null, "start": 0, "end": 0, "answer": ""}] if impossible else [])]
    every = sorted(every, key=lambda one: -one["score"])[:top_k]
    return [{**one, "score": pytest.approx(float(one["score"]), rel=1e-4)} for one in every]


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
@pytest.mark.parametrize(("top_k", "longest", "impossible"), [(1, 15, False), (3, 15, True), (5, 2, False)])
def test_answers_are_those_of_the_pipeline_of_transformers_4(architecture, top_k, longest, impossible, headed, asked):
    tokenizer, model = headed(architecture, HEAD, SPAN_LABELS)
    options = {"top_k": top_k, "max_answer_len": longest, "handle_impossible_answer": impossible}
    found = asked(TASK, tokenizer, model, QUESTIONS, **options)
    for item, answer in zip(QUESTIONS, found, strict=True):
        expected = by_hand(tokenizer, model, item, top_k, longest, impossible)
        assert (expected == [answer]) if top_k == 1 else (expected == answer)


def test_a_fitted_threshold_decides_where_nobody_says():
    (logits,) = [np.array([[1, 1], [3, 0], [0, 3]], dtype=np.float32)]
    chars = np.array([[0, 0], [0, 3], [4, 7]])
    found = Reading("the joy", (Window(logits, chars),), (0, 7), 6.0, 2.0)
    chance = np.exp(3) / (np.exp(3) + np.exp(1) + 1)
    best = {"score": pytest.approx(chance**2), "start": 0, "end": 7, "answer": "the joy"}
    null = {"score": pytest.approx((np.exp(1) / (np.exp(3) + np.exp(1) + 1)) ** 2), "start": 0, "end": 0, "answer": ""}

    def ask(settings, **options):
        return TASK.answer(None, found, SPAN_LABELS, settings, **options)

    assert ask({}) == best
    assert ask({"null_threshold": -3.0}) == best  # 2 - 6 = -4 is not above it
    assert ask({"null_threshold": -5.0}) == null
    assert ask({"null_threshold": -5.0}, handle_impossible_answer=False) == best
    assert ask({"null_threshold": -5.0}, handle_impossible_answer=True) == best  # the likeliest, as in the pipeline
    assert ask({"null_threshold": -5.0}, top_k=2) == [null, best]
    for options in ({"top_k": 0}, {"max_answer_len": 0}, {"top_k": True}, {"doc_stride": 3}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            ask({}, **options)


def test_callers_give_question_and_context():
    assert TASK.asked(question="q", context="c") == ([("q", "c")], True)
    assert TASK.asked([{"question": "q", "context": "c"}]) == ([("q", "c")], False)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_it_is_learnt_and_saved(architecture, learner, tmp_path, quick_training):
    """Where is the joy? Contexts are longer than a window, and some have no answer."""
    import json

    draw = np.random.default_rng(0)
    for split, count in (("train", 200), ("validation", 30), ("test", 30)):
        made = []
        for number in range(count):
            line = [
                str(word) for word in draw.choice(["film", "movie", "start", "finish", "bad"], draw.integers(8, 24))
            ]
            answers = {"text": [], "answer_start": []}
            if number % 3:
                place = int(draw.integers(0, len(line)))
                line[place] = "joy"
                answers = {"text": ["joy"], "answer_start": [len(" ".join([*line[:place], ""]))]}
            made.append({"question": "great ?", "context": " ".join(line), "answers": answers})
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    result = finetune(
        FinetuneConfig(
            task="question-answering",
            model=str(learner(architecture)),
            data=str(tmp_path),
            epochs=8,
            learning_rate=1e-2,
            batch_size=16,
            max_length=24,
            device="cpu",
            out=tmp_path / "out",
        )
    )
    assert result["test"]["f1"] > 0.8
    assert "null_threshold" in result["settings"]
    model, tokenizer = models.load_finetuned(TASK, result["folder"]), models.load_tokenizer(result["folder"])
    assert models.labels_of(model) == SPAN_LABELS
    assert models.noted(model)["settings"] == result["settings"]
    (found,) = predict(model, tokenizer, TASK, [("great ?", "film " * 30 + "joy")], 24)
    assert len(found.windows) > 1
    assert found.answer(result["settings"]).strip() == "joy"
