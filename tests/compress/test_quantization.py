"""From a bundle to one of another precision: gates, layers that stay in float32, what is left behind."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import lilliput
from lilliput import bundle, cli, tasks
from lilliput.bundle import Bundle
from lilliput.compress import quantization, quantize_bundle
from lilliput.compress.batch_invariance import Invariance, measure
from lilliput.compress.quantization import Verdict
from lilliput.config import ExportConfig, QuantizeConfig
from lilliput.errors import BundleError, ConfigError, GateError
from lilliput.pipeline import export


@pytest.fixture(scope="module")
def source(encoders, tiny, tmp_path_factory):
    """A bundle with an fp32 graph alone, and the data that it is for."""
    place = tmp_path_factory.mktemp("source")
    data, model = encoders.data_set(place / "data"), encoders.save(place / "model", "bert", tiny.tokenizer)
    export(ExportConfig(model=str(model), data=str(data), precisions=("fp32",), max_length=16, out=place / "bundle"))
    return place / "bundle", data


@pytest.fixture
def quantized(source, tmp_path):
    def run(precision="int8", **changes):
        settings = {"model": str(source[0]), "data": str(source[1]), "max_drop": 100, "min_agreement": 0.1}
        return quantize_bundle(
            QuantizeConfig(**{**settings, "precision": precision, "out": tmp_path / "out", "block_size": 16, **changes})
        )

    return run


@pytest.mark.parametrize("precision", ["int8", "int8-static", "int4", "bf16"])
def test_a_bundle_of_another_precision(quantized, source, tmp_path, precision):
    result = quantized(precision)
    out = tmp_path / "out"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.quantization.json"]
    assert any("smoke predictions" in line for line in bundle.verify(out))
    manifest = Bundle.open(out).manifest
    assert manifest.graphs.keys() == {"fp32", precision}
    assert manifest.recipe["quantization"][precision]["precision"] == precision
    assert manifest.name == "out"
    model = lilliput.load(out, precision=precision)
    assert model("the film was a joy")[0]["label"] in model.labels
    assert json.loads((tmp_path / "out.quantization.json").read_text())["verdict"] == result["verdict"]
    facts = json.loads((out / "ort_config.json").read_text())["quantization"]
    assert facts.get("is_static") == {"int8": False, "int8-static": True}.get(precision)
    assert (result["batches"] is None) == (precision == "int8")
    fp32 = lilliput.load(source[0])
    items = [*json_items(source[1])]
    ours, theirs = (one.logits(items).argmax(axis=1) for one in (model, fp32))
    labels = np.array([fp32.labels.index(label) for label in json_labels(source[1])])
    drop = 100 * float((theirs == labels).mean() - (ours == labels).mean())
    assert result["verdict"]["drop"] == pytest.approx(drop)  # by hand, from the rows of the file


def json_items(data):
    return [line.rsplit(",", 1)[0].strip('"') for line in (data / "validation.csv").read_text().splitlines()[1:]]


def json_labels(data):
    return [line.rsplit(",", 1)[1] for line in (data / "validation.csv").read_text().splitlines()[1:]]


def test_a_gate_that_fails_leaves_nothing_but_its_report(quantized, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization._Quantization, "_ranking", lambda self: [])
    monkeypatch.setattr(type(tasks.get("classification")), "agreement", lambda *_: 0.5)
    with pytest.raises(
        GateError, match=r"the int4 graph agrees with fp32 on 50.00% of .*No bundle was written; .*json says what"
    ):
        quantized("int4", min_agreement=0.6)
    assert [path.name for path in tmp_path.iterdir()] == ["out.quantization.json"]
    assert json.loads((tmp_path / "out.quantization.json").read_text())["tried"]


class Attempts(quantization._Quantization):
    """The search for layers alone: an attempt passes from so many layers on."""

    def __init__(self, needed):
        self.config = QuantizeConfig(model="m", out="o", max_drop=0.3, min_agreement=0)
        self.needed, self.tried = needed, []

    def _attempt(self, kept):
        verdict = Verdict(tuple(kept), "accuracy", 0.9, 0.0 if len(kept) >= self.needed else 1.0, None, 1.0, 10)
        self.tried.append(verdict)
        return verdict


@pytest.mark.parametrize("needed", range(1, 14))
def test_the_fewest_layers_are_kept(needed):
    ranked = [f"layer {number}" for number in range(12)]
    work = Attempts(needed)
    found = work._fewest_kept(ranked, work._attempt(()))
    assert work.tried[-1] == found  # its graph is the one that lies there
    if needed <= 12:
        assert found.kept == tuple(ranked[:needed])
        assert found.fault(work.config) is None
    else:
        assert found.fault(work.config) == "loses 1.00 points of accuracy, and --max-drop is 0.3"
    assert len(work.tried) <= 9


def test_verdicts_by_hand():
    config = QuantizeConfig(model="m", out="o", max_drop=0.3, min_agreement=0.985)
    good = Verdict((), "accuracy", 0.9, 0.3, (-0.5, 1.1), 0.985, 100)
    assert good.fault(config) is None
    strict = config.model_copy(update={"strict": True})
    assert good.fault(strict) == "may lose up to 1.10 points of accuracy, and --max-drop is 0.3"
    nan = float("nan")
    for wrong in (
        Verdict((), "accuracy", 0.9, nan, None, 1.0, 100),
        Verdict((), "accuracy", 0.9, 0.0, None, nan, 100),
        Verdict((), "accuracy", 0.9, 0.31, None, 1.0, 100),
    ):
        assert wrong.fault(config)
    assert Verdict((), "f1", 0.9, 0.0, None, 1.0, 100).fault(strict)  # no interval, and one is asked for


def test_batch_invariance_by_hand(source):
    model = lilliput.load(source[0])
    windows = [
        window for some in model.windows(["the film was a joy", "awful", "it is bad film"] * 5) for window in some
    ]
    found = measure(model, windows)
    assert (found.texts, found.batches, found.flips) == (15, 8, 0)
    assert found.difference < 1e-4
    assert found.fault() is None

    class Moved:
        outputs = model.outputs

        def together(self, some):
            return [-array for array in model.together(some)]

    wrong = measure(Moved(), windows)
    assert wrong.flips == 8 * 15
    assert wrong.fault().startswith("flips 120 of 120 answers in batches")
    assert Invariance(1, 8, 0, 0.011).fault()
    assert Invariance(1, 8, 0, float("nan")).fault()


def test_what_can_not_be_quantized(quantized, source, tiny_bundle, tmp_path, encoders):
    with pytest.raises(BundleError, match="no such folder"):
        quantized(model=str(tmp_path / "missing"))
    with pytest.raises(
        ConfigError, match="answers negative, neutral, positive, but the data's labels are negative, pos"
    ):
        quantized(model=str(tiny_bundle))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(BundleError, match="a folder that is not a bundle"):
        quantized("bf16")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_the_command(source, tmp_path):
    words = ["quantize", "--model", source[0], "--data", source[1], "--precision", "bf16", "--max-drop", "50"]
    result = CliRunner().invoke(cli.app, list(map(str, [*words, "--sensitivity", "--out", tmp_path / "small"])))
    assert result.exit_code == 0, result.output
    assert "points of accuracy lost" in result.output
    assert "dB, " in result.output
    assert "bundle written to" in result.output
