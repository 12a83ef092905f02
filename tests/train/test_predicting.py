"""A Hugging Face model answers as the pipeline of transformers for its task does, and `lilliput predict` prints it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from typer.testing import CliRunner

from lilliput import cli, models, tasks
from lilliput.errors import ConfigError, InputError, ModelError
from lilliput.train.predicting import load

TEXTS = ["the film was great", "", "漢字 movie 😀 was awful from start to finish", "it"]
NAMES = ("funny", "long", "sad")
OF_HEAD = {
    "AutoModelForSequenceClassification": "classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForQuestionAnswering": "question-answering",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModel": "sentence-embedding",
}


@pytest.fixture(scope="module")
def saved(encoders, tiny, tmp_path_factory):
    """Folders of tiny random models, as plain transformers saves them."""

    def save(head="AutoModelForSequenceClassification", architecture="bert", note=None, **config):
        folder = tmp_path_factory.mktemp("saved")
        with torch.random.fork_rng():
            torch.manual_seed(3)
            names = ("start", "end") if "Question" in head else NAMES
            described = encoders.config(architecture, **{"labels": names, **config})
            model = getattr(transformers, head).from_config(described)
        if note:
            models.note(model, **note)
        model.save_pretrained(folder)
        encoders.tokenizer(architecture, tiny.tokenizer).save_pretrained(folder)
        return folder

    return save


def theirs(folder, kind):
    return transformers.pipeline(kind, model=str(folder), device="cpu")


def assert_same(found, expected):
    """Equal but for rounding in scores."""
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, float | np.floating):
        assert float(found) == pytest.approx(expected, abs=1e-5)
    else:
        assert found == expected


# --- which task ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", OF_HEAD)
@pytest.mark.parametrize(("architecture", "length"), [("bert", 24), ("roberta", 40)])
def test_a_head_tells_the_task(saved, head, architecture, length):
    found = load(saved(head, architecture))
    assert found.task.name == OF_HEAD[head]
    assert (found.max_length, found.settings) == (length, {})


@pytest.mark.parametrize(
    ("problem", "task"),
    [
        ("single_label_classification", "classification"),
        ("multi_label_classification", "multi-label"),
        ("regression", "regression"),
    ],
)
def test_so_does_the_problem_type(saved, problem, task):
    assert load(saved(problem_type=problem)).task.name == task


def test_one_output_is_read_as_the_pipeline_reads_it(saved):
    folder = saved(labels=("relevant",))
    model = load(folder)
    assert model.task.name == "multi-label"
    assert_same(model(TEXTS), theirs(folder, "text-classification")(TEXTS, top_k=None))


def test_what_fine_tuning_noted_comes_first(saved):
    note = {"task": "relation-extraction", "settings": {}, "max_length": 12}
    found = load(saved(note=note))
    assert (found.task.name, found.max_length) == ("relation-extraction", 12)
    assert load(saved(note=note), task="classification").task.name == "classification"
    assert load(saved(note={"task": "poetry"})).task.name == "classification"


@pytest.mark.parametrize("length", [-1, 41, "12", [3], True])
def test_a_length_that_the_model_has_not_is_refused(saved, length):
    with pytest.raises(ModelError, match="says that it reads"):
        load(saved(note={"task": "classification", "max_length": length}))


def test_what_can_t_be_used_is_refused(saved, tmp_path):
    with pytest.raises(ModelError, match=r"made for BertForPreTraining; which task is that\? Give --task: classif"):
        load(saved("AutoModelForPreTraining"))
    with pytest.raises(ModelError, match="made for BertForMaskedLM, not for sequence classification"):
        load(saved("AutoModelForMaskedLM"), task="classification")
    with pytest.raises(ConfigError, match="--task poetry: unknown; known are classification"):
        load(saved(), task="poetry")
    with pytest.raises(ModelError, match="no such folder"):
        load(tmp_path / "nowhere")
    other = shutil.copytree(saved(), tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(ModelError, match="'gpt2' is not supported; supported are bert, roberta, distilbert, electra"):
        load(other)


# --- answers ---------------------------------------------------------------------------------------------------------

PAIR = {"text": "a joy", "text_pair": "not good"}


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
@pytest.mark.parametrize(
    "given",
    ["a joy", TEXTS, PAIR, [PAIR, PAIR], ["a joy", PAIR, "it"], {"text": "it"}],
    ids=lambda given: str(given)[:20],
)
def test_text_classification(saved, architecture, given):
    folder = saved(architecture=architecture)
    assert_same(load(folder)(given), theirs(folder, "text-classification")(given))


@pytest.mark.parametrize("given", ["a joy", TEXTS, PAIR])
def test_text_classification_with_every_label(saved, given):
    folder = saved()
    assert_same(load(folder)(given, top_k=None), theirs(folder, "text-classification")(given, top_k=None))


@pytest.mark.parametrize("given", ["a joy", TEXTS, PAIR])
def test_scores(saved, given):
    folder = saved(problem_type="regression", labels=("score",))
    assert_same(load(folder)(given), theirs(folder, "text-classification")(given))


@pytest.mark.parametrize("given", ["the film was great", [*TEXTS[:1], "a movie"]])
def test_token_classification(saved, given):
    folder = saved("AutoModelForTokenClassification", labels=("O", "B-X", "I-X"))
    assert_same(load(folder)(given), theirs(folder, "token-classification")(given))


@pytest.mark.parametrize("given", ["the film was [MASK]", ["[MASK] was good", "a [MASK] is a [MASK]"]])
def test_fill_mask(saved, given):
    folder = saved("AutoModelForMaskedLM")
    assert_same(load(folder)(given), theirs(folder, "fill-mask")(given))


def test_parts_by_name(saved):
    model = load(saved())
    assert model(**PAIR) == model(PAIR)
    answers = load(saved("AutoModelForQuestionAnswering"))
    given = {"question": "what was it?", "context": "the film was a joy from start to finish"}
    found = answers(**given)
    assert found == answers(given) == answers([given])[0]
    assert given["context"][found["start"] : found["end"]] == found["answer"]


def test_settings_are_the_noted_ones(saved):
    note = {"task": "multi-label", "settings": {"thresholds": [0.0, 1.0, 0.0]}}
    model = load(saved(problem_type="multi_label_classification", note=note))
    decided = model("a joy", above_threshold=True)
    assert {one["label"] for one in decided} == {"funny", "sad"}
    assert len(model("a joy")) == 3


def test_no_inputs_no_answers(saved):
    assert load(saved())([]) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "item 0 is NoneType, expected a string"),
        (["good", 3], "item 1 is int, expected a string"),
        (["good", None], "item 1 is NoneType, expected a string"),
        (["good", {"text": None}], "item 1 is NoneType, expected a string"),
        ([{"text_pair": "good"}], "item 0 lacks text"),
        (
            [{"text": "good", "question": "why?"}],
            "item 0 has the part 'question'; classification reads text, text_pair",
        ),
        (["good", "bad \ud800"], "item 1 has a lone surrogate"),
        ([{"text": "good", "text_pair": b"bad"}], "item 0 is bytes, expected a string"),
    ],
)
def test_a_wrong_input_is_named(saved, given, message):
    with pytest.raises(InputError, match=message):
        load(saved())(given)


def test_an_input_that_can_t_be_answered_is_named(saved):
    with pytest.raises(InputError, match=r"item 1: no \[MASK\] among the tokens that are read"):
        load(saved("AutoModelForMaskedLM"))(["a [MASK]", "nothing"])
    with pytest.raises(InputError, match="item 1 lacks context; question-answering needs question and context"):
        load(saved("AutoModelForQuestionAnswering"))([{"question": "q", "context": "c"}, {"question": "q"}])
    with pytest.raises(InputError, match="give one input or a list of inputs, or text and text_pair by name"):
        load(saved())("one", "two")


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def predict(tmp_path):
    """Run the command; gives what it prints and what it writes as JSON."""

    def predict(*arguments, stdin=None):
        file = tmp_path / "answers.json"
        words = ["predict", *map(str, arguments), "--json", str(file)]
        result = CliRunner().invoke(cli.app, words, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines(), json.loads(file.read_text())

    return predict


def test_labels_and_scores(predict, saved):
    folder = saved()
    lines, answers = predict(folder, *TEXTS)
    assert_same(answers, load(folder)(TEXTS))
    assert lines == [f"{a['label']}\t{a['score']:.4f}\t{text}" for text, a in zip(TEXTS, answers, strict=True)]
    assert predict(folder, stdin="".join(f"{text}\n" for text in TEXTS)) == (lines, answers)


def test_pairs(predict, saved):
    folder = saved()
    (line,), answers = predict(folder, "a joy", "--pair", "not good")
    assert_same(answers, [load(folder)(PAIR)])
    assert line == f"{answers[0]['label']}\t{answers[0]['score']:.4f}\ta joy not good"


def test_questions(predict, saved):
    folder = saved("AutoModelForQuestionAnswering")
    question, context = "what was it?", "the film was a joy"
    lines, answers = predict(folder, "--question", question, "--context", context)
    assert lines == [f"{answers[0]['answer']}\t{answers[0]['score']:.4f}\t{question} {context}"]
    assert predict(folder, context, "--question", question) == (lines, answers)
    assert predict(folder, question, "--context", context) == (lines, answers)
    assert_same(predict(folder, "--question", question, stdin=f"{context}\nit\n")[1][0], answers[0])


def test_entities_stand_in_brackets(predict, saved):
    folder = saved("AutoModelForTokenClassification", labels=("O", "B-X", "I-X"))
    text = "the film was great"
    (line,), (answer,) = predict(folder, text)
    assert_same(answer, load(folder)(text))
    assert line.replace("[", "").replace(" X]", "") == text
    groups = load(folder)(text, aggregation_strategy="first")
    assert all(f"[{text[one['start'] : one['end']]} X]" in line for one in groups)


def test_labels_that_the_model_decides_on(predict, saved):
    note = {"task": "multi-label", "settings": {"thresholds": [1.0, 1.0, 0.0]}}
    folder = saved(problem_type="multi_label_classification", note=note)
    (line,), (answer,) = predict(folder, "a joy")
    (sad,) = (one for one in answer if one["label"] == "sad")
    assert line == f"sad {sad['score']:.4f}\ta joy"
    assert len(answer) == 3


def test_words_for_a_mask(predict, saved):
    folder = saved("AutoModelForMaskedLM")
    (line,), (answer,) = predict(folder, "the film [MASK] great")
    words = ", ".join(f"{one['token_str'] or '(none)'} {one['score']:.4f}" for one in answer)
    assert line == f"{words}\tthe film [MASK] great"


def test_vectors(predict, saved):
    folder = saved("AutoModel")
    (line,), (answer,) = predict(folder, "a joy")
    assert line == " ".join(f"{number:.4f}" for number in answer[:5]) + " … (16 numbers)\ta joy"
    assert len(answer) == 16


@pytest.mark.parametrize(
    ("head", "arguments", "message"),
    [
        ("AutoModelForSequenceClassification", ["x", "--question", "q"], "--question: classification reads text and"),
        ("AutoModelForQuestionAnswering", ["x"], "item 0 lacks context; question-answering needs question and context"),
        (
            "AutoModelForQuestionAnswering",
            ["x", "--question", "q", "--context", "c"],
            "--question and --context: give no further texts beside them",
        ),
        ("AutoModelForSequenceClassification", ["x", "--threads", "2"], "--threads: .* is a Hugging Face model"),
        ("AutoModelForSequenceClassification", ["x", "--task", "fill-mask"], "made for BertForSequenceClassification"),
        ("AutoModelForMaskedLM", ["x"], "item 0: no .MASK. among the tokens"),
    ],
)
def test_wrong_arguments_are_named(predict, saved, head, arguments, message):
    with pytest.raises((ConfigError, InputError, ModelError), match=message):
        predict(saved(head), *arguments)


@pytest.mark.parametrize("flags", [["--task", "regression"], ["--revision", "r"]])
def test_what_a_bundle_does_not_take_is_named(predict, tiny_bundle, flags):
    with pytest.raises(ConfigError, match=f"{flags[0]}: .* is a bundle, which does not take it"):
        predict(tiny_bundle, "a joy", *flags)


def test_a_bundle_is_answered_without_the_toolkit(tiny_bundle):
    code = (
        "import sys; from lilliput import cli; sys.argv = ['lilliput', 'predict', sys.argv[1], 'a joy']\n"
        "cli.app(standalone_mode=False)\nprint(sorted({'torch', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tiny_bundle)], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_every_task_says_what_it_reads():
    for name in tasks.names():
        assert tasks.get(name).inputs
