"""Every task through the command line: train, export, and answer from the bundle as the model in PyTorch does."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import lilliput
from lilliput import bundle, cli, tasks
from lilliput.config import ExportConfig
from lilliput.errors import ConfigError, InputError
from lilliput.train import masked_rows, predicting

pytestmark = pytest.mark.usefixtures("quick_training")

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra")
SIZES = {"train": 12, "validation": 6, "test": 6}
ASKED = {
    "single text": [{"text": "it"}, {"text": "a joy from start to finish " * 9}],
    "pair of texts": [{"text": "it", "text_pair": "bad"}, {"text": "the film " * 30, "text_pair": "good 😀"}],
    "several labels": [{"text": "a joy"}],
    "score": [{"text": "a joy"}, {"text": ""}],
    "tags": [{"text": "it was not good"}, {"text": "the film was a joy, " * 20}],
    "answers": [
        {"question": "what?", "context": "it was not good"},
        {"question": "what was it?", "context": "the film was a joy, " * 20},
    ],
    "relations": [{"text": "[E1] it [/E1] was [E2] good [/E2]"}],
    "pairs": [{"text": "a joy"}, {"text": "漢字 film"}],
}
CASES = [
    # Every task and every architecture once; the rest of the table takes minutes.
    pytest.param(kind, architecture, marks=[] if number % 4 == place else [pytest.mark.slow])
    for number, kind in enumerate(ASKED)
    for place, architecture in enumerate(ARCHITECTURES)
]
FLAGS = {"text_pair": "--pair", "question": "--question", "context": "--context"}


def run(*words):
    """A command line that must go well; gives what it prints."""
    result = CliRunner().invoke(cli.app, list(map(str, words)))
    if result.exception is not None:
        raise result.exception
    return result.stdout


def flags(**settings):
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]


def same(one, other):
    """Answers that differ in the rounding of their numbers at most."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == pytest.approx(other, abs=1e-4) if isinstance(one, float) else one == other


@pytest.mark.parametrize(("kind", "architecture"), CASES)
def test_a_bundle_answers_as_the_model_it_is_of(kind, architecture, checkpoint, encoders, task_rows, tmp_path):
    task = tasks.get(task_rows.KINDS[kind].task)
    given = {
        "task": task.name,
        "data": task_rows.write(tmp_path / "data", kind, encoders.rows, SIZES),
        "max_length": 24,
    }
    training = {
        "epochs": 1,
        "batch_size": 4,
        "device": "cpu",
        "model": checkpoint(architecture),
        "out": tmp_path / "out",
    }
    run("finetune", *flags(**given, **training))
    source, out = tmp_path / "out" / "teacher", tmp_path / "bundle"
    run("export", *flags(**given, model=source, out=out, min_agreement=0.1))

    theirs, ours = predicting.load(source), lilliput.load(out, precision="fp32")
    assert (ours.task, ours.settings, ours.manifest.max_length) == (task, theirs.settings, 24)
    found = ours(ASKED[kind])
    assert same(found, theirs(ASKED[kind]))
    assert same(found, [ours(one) for one in ASKED[kind]])
    assert same(ours(**ASKED[kind][0]), theirs(**ASKED[kind][0]))
    items, _ = task.asked(ASKED[kind])
    windows = ours.windows(items)
    alone = [array for some in ours.outputs(windows) for array in some]
    for one, other in zip(alone, ours.together([w for some in windows for w in some]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)

    assert len(lilliput.load(out, precision="int8")(ASKED[kind])) == len(found)
    assert sum("smoke predictions" in line for line in bundle.verify(out)) == 2
    parts = [word for name, text in ASKED[kind][0].items() for word in (FLAGS.get(name, ""), text) if word != ""]
    printed = run("predict", out, *parts, "--precision", "fp32", "--json", tmp_path / "answers.json")
    assert len(printed.splitlines()) == 1
    assert same(json.loads((tmp_path / "answers.json").read_text()), found[:1])


@pytest.mark.parametrize(
    "architecture",
    [name if name == "roberta" else pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES],
)
def test_a_masked_language_model_fills_masks_from_a_bundle(architecture, checkpoint, encoders, tmp_path):
    texts = [text for some in encoders.corpus().values() for text in some][:60]
    (tmp_path / "corpus.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    settings = flags(max_steps=3, batch_size=4, max_length=24, held_out=0.2, device="cpu", out=tmp_path / "out")
    run("pretrain", "--model", checkpoint(architecture), "--corpus", tmp_path / "corpus.txt", *settings)
    source, out = tmp_path / "out" / "model", tmp_path / "bundle"
    given = {"task": "fill-mask", "data": tmp_path / "corpus.txt", "model": source, "max_length": 24}
    run("export", *flags(**given, out=out, min_agreement=0.1))

    theirs, ours = predicting.load(source), lilliput.load(out, precision="fp32")
    mask = theirs.tokenizer.mask_token
    assert same(ours(f"the film was {mask}, not {mask}"), theirs(f"the film was {mask}, not {mask}"))
    with pytest.raises(InputError, match=r"item 1: no "):
        ours([f"the {mask}", "no mask"])
    assert bundle.verify(out)


def test_raw_text_with_masks(tmp_path):
    (tmp_path / "corpus.txt").write_text("\n".join(f"one two three {i}" for i in range(100)), encoding="utf-8")
    config = ExportConfig(task="fill-mask", data=str(tmp_path / "corpus.txt"), model="m", out=tmp_path)
    found = masked_rows.load(config, "<mask>")
    assert len(found.train) + len(found.validation) == 100
    assert len(found.validation) > 0
    for text in (*found.train.inputs, *found.validation.inputs):
        assert text.split().count("<mask>") == 1
        assert len(text.split()) == 4
    assert found.fingerprint == masked_rows.load(config, "[MASK]").fingerprint
    with pytest.raises(ConfigError, match="--text-column alone"):
        masked_rows.load(config.model_copy(update={"label_column": "x"}), "<mask>")
