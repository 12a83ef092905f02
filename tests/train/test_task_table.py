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
    """What a model for a kind of data is asked by `lilliput predict`, and whether it answers as it should."""

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


CASES = {
    "single text": Case(("it",), scored("label")),
    "pair of texts": Case(("it", "--pair", "bad"), scored("label")),
    "several labels": Case(("a joy",), scored("label")),
    "score": Case(("a joy",), lambda answer: answer.keys() == {"label", "score"} and answer["label"] == "score"),
    "tags": Case(("it was not good",), scored("entity", "index", "word", "start", "end")),
    "answers": Case(("--question", "what?", "--context", "it was not good"), scored("answer", "start", "end")),
    "relations": Case(("[E1] it [/E1] was [E2] good [/E2]",), scored("label")),
    "pairs": Case(("a joy",), has_length_1),
    "triples": Case(("a joy",), has_length_1),
    "pairs with a similarity": Case(("a joy",), has_length_1),
}


def run(*words):
    """A command line that must go well; gives what it prints."""
    result = CliRunner().invoke(cli.app, list(map(str, words)))
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_every_task_has_a_case(task_rows):
    made = {name for name in tasks.names() if tasks.get(name).command == "finetune"}
    assert {kind.task for kind in task_rows.KINDS.values()} == made
    assert CASES.keys() == task_rows.KINDS.keys()
    assert set(tasks.names()) - made == {"fill-mask"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", CASES)
def test_a_task_from_data_to_answers(kind, architecture, checkpoint, encoders, task_rows, tmp_path):
    case, task = CASES[kind], tasks.get(task_rows.KINDS[kind].task)
    data, out = task_rows.write(tmp_path / "data", kind, encoders.rows, SIZES), tmp_path / "out"
    settings = {"epochs": 1, "batch_size": 4, "max_length": 24, "device": "cpu", "task": task.name}
    settings |= {"data": data, "model": checkpoint(architecture), "out": out}
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    printed = run("finetune", *flags, "--json", tmp_path / "result.json")

    result = json.loads((tmp_path / "result.json").read_text())
    folder = out / "teacher"
    assert result["folder"] == str(folder)
    assert result["task"] == task.name
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
