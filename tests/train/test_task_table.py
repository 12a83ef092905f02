"""Every row of the task table through the command line: train, evaluate, save, load again, predict."""

import json
import math
import shutil
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet
import pytest
import transformers
from typer.testing import CliRunner

from lilliput import cli, tasks
from lilliput.config import FinetuneConfig
from lilliput.errors import ModelError
from lilliput.train import sources
from lilliput.train.predicting import load

pytestmark = pytest.mark.usefixtures("quick_training")

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
SIZES = {"train": 12, "validation": 6, "test": 6}


@dataclass(frozen=True)
class Case:
    """A kind of data for a task.

    ``row`` makes a row of a text, its sentiment and its number; ``asked`` is what `lilliput predict` is asked, and
    ``answer`` tells whether it answers as it should.
    """

    task: str
    row: Any
    asked: tuple[str, ...]
    answer: Any


def scored(*keys):
    """Whether an answer has these keys and a probability, or is a list of such."""

    def holds(answer):
        some = answer if isinstance(answer, list) else [answer]
        return all(one.keys() == {*keys, "score"} and 0 <= one["score"] <= 1 for one in some)

    return holds


def has_length_1(answer):
    return len(answer) == 16 and math.isclose(math.hypot(*answer), 1, abs_tol=1e-5)


def two_entities(text, label, number):
    first, _, rest = text.partition(" ")
    return {"text": f"[E1] {first} [/E1] [E2] {rest} [/E2]", "relation": label}


def tagged(text, label, number):
    return {"tokens": text.split(), "tags": ["B-X", *["I-X" if label == "positive" else "O"] * (len(text.split()) - 1)]}


def with_answer(text, label, number):
    start = text.rindex(" ") + 1
    answers = {"text": [text[start:]], "answer_start": [start]} if number % 3 else {"text": [], "answer_start": []}
    return {"question": f"what was it in {number}?", "context": text, "answers": answers}


def several(text, label, number):
    return {"text": text, "labels": [[], [label], [label, "both"]][number % 3]}


CASES = {
    "single text": Case(
        "classification", lambda text, label, _: {"text": text, "label": label}, ("it",), scored("label")
    ),
    "pair of texts": Case(
        "classification",
        lambda text, label, n: {"premise": text, "hypothesis": f"good {n}", "label": label},
        ("it", "--pair", "bad"),
        scored("label"),
    ),
    "several labels": Case("multi-label", several, ("a joy",), scored("label")),
    "score": Case(
        "regression",
        lambda text, label, n: {"text": text, "rating": n % 5 + 1},
        ("a joy",),
        lambda answer: answer.keys() == {"label", "score"} and answer["label"] == "score",
    ),
    "tags": Case(
        "token-classification",
        tagged,
        ("it was not good",),
        scored("entity", "index", "word", "start", "end"),
    ),
    "answers": Case(
        "question-answering",
        with_answer,
        ("--question", "what?", "--context", "it was not good"),
        scored("answer", "start", "end"),
    ),
    "relations": Case("relation-extraction", two_entities, ("[E1] it [/E1] was [E2] good [/E2]",), scored("label")),
    "pairs": Case(
        "sentence-embedding",
        lambda text, label, n: {"anchor": text, "positive": f"good {n}"},
        ("a joy",),
        has_length_1,
    ),
    "triples": Case(
        "sentence-embedding",
        lambda text, label, n: {"anchor": text, "positive": f"good {n}", "negative": f"bad {n}"},
        ("a joy",),
        has_length_1,
    ),
    "pairs with a similarity": Case(
        "sentence-embedding",
        lambda text, label, n: {"sentence1": text, "sentence2": f"good {n}", "score": n % 5},
        ("a joy",),
        has_length_1,
    ),
}


def run(*words):
    """A command line that must go well; gives what it prints."""
    result = CliRunner().invoke(cli.app, list(map(str, words)))
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_every_task_has_a_case():
    made = {name for name in tasks.names() if tasks.get(name).command == "finetune"}
    assert {case.task for case in CASES.values()} == made
    assert set(tasks.names()) - made == {"fill-mask"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_task_from_data_to_answers(case, architecture, checkpoint, encoders, tmp_path):
    task = tasks.get(case.task)
    data, out, start = tmp_path / "data", tmp_path / "out", 0
    data.mkdir()
    for split, size in SIZES.items():
        rows = [case.row(*row, start + i) for i, row in enumerate(encoders.rows(size, start))]
        (data / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        start += size
    settings = {"epochs": 1, "batch_size": 4, "max_length": 24, "device": "cpu", "task": case.task}
    settings |= {"data": data, "model": checkpoint(architecture), "out": out}
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    printed = run("finetune", *flags, "--json", tmp_path / "result.json")

    result = json.loads((tmp_path / "result.json").read_text())
    folder = out / "teacher"
    assert result["folder"] == str(folder)
    assert result["task"] == case.task
    assert result["n_test"] == SIZES["test"]
    assert task.metric in result["validation"].keys() & result["test"].keys()
    assert str(folder) in printed
    assert pyarrow.parquet.read_table(folder / "predictions.parquet").num_rows == SIZES["test"]

    # What was saved is what was measured; and plain transformers loads it.
    model = load(folder)
    assert (model.task, model.max_length, model.settings) == (task, 24, result["settings"])
    test = sources.load(FinetuneConfig(**{**settings, "data": str(data), "model": "unused"})).test
    again = task.metrics(model.predictions(test.inputs), test.targets, model.labels, model.settings)
    assert again == pytest.approx(result["test"], abs=1e-5)
    _, report = getattr(transformers, task.head).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]

    printed = run("predict", folder, *case.asked, "--json", tmp_path / "answers.json")
    (answer,) = json.loads((tmp_path / "answers.json").read_text())
    assert case.answer(answer)
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_masks_from_raw_text_to_answers(architecture, checkpoint, encoders, tmp_path):
    texts = [text for some in encoders.corpus().values() for text in some][:60]
    (tmp_path / "corpus.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    settings = ["--max-steps", 3, "--batch-size", 4, "--max-length", 24, "--held-out", 0.2, "--device", "cpu"]
    source = ["--model", checkpoint(architecture), "--corpus", tmp_path / "corpus.txt"]
    run("pretrain", *source, *settings, "--out", tmp_path / "out", "--json", tmp_path / "result.json")
    folder = json.loads((tmp_path / "result.json").read_text())["folder"]

    model = load(folder)
    assert model.task.name == "fill-mask"
    mask = model.tokenizer.mask_token
    text = f"the film was {mask}, not {mask}"
    printed = run("predict", folder, text, "--json", tmp_path / "answers.json")
    (answer,) = json.loads((tmp_path / "answers.json").read_text())
    assert [len(words) for words in answer] == [5, 5]
    assert all(scored("token", "token_str", "sequence")(words) for words in answer)
    assert printed.endswith(f"\t{text}\n")
    theirs = transformers.pipeline("fill-mask", model=folder, device="cpu")(text)
    assert [[one["token"] for one in words] for words in answer] == [
        [one["token"] for one in words] for words in theirs
    ]


@pytest.mark.parametrize(
    "command",
    [
        "predict MODEL text",
        "finetune --model MODEL --data DATA --out OUT",
        "pretrain --model MODEL --corpus DATA --out OUT",
    ],
)
def test_an_architecture_that_is_not_known_is_told_with_those_that_are(command, checkpoint, encoders, tmp_path):
    folder = shutil.copytree(checkpoint("bert"), tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    data = encoders.write_csv(tmp_path / "rows.csv", encoders.rows(60))
    places = {"MODEL": folder, "DATA": data, "OUT": tmp_path / "out"}
    with pytest.raises(ModelError, match="'gpt2' is not supported; supported are bert, roberta, distilbert, electra"):
        run(*(places.get(word, word) for word in command.split()))
