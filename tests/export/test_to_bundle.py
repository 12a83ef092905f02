"""Bundles: whole or not at all."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

import lilliput
from lilliput import bundle, models, tasks
from lilliput.config import ExportConfig
from lilliput.errors import BundleError, GateError
from lilliput.export import to_bundle as module
from lilliput.export.to_bundle import to_bundle
from lilliput.tasks import Tokens
from lilliput.tokenization import WindowEncoder
from lilliput.train.evaluate import logits_of

TEXTS = [
    "the film is great",
    "漢字 movie was awful 😀",
    "مرحبا film",
    "שלום naïve café",
    "it",
    "a joy from start to finish",
]


@pytest.fixture(scope="module")
def graphs():
    """Graphs that were exported in this module, by the weights they are of."""
    return {}


@pytest.fixture
def quick_export(graphs, monkeypatch):
    """Exporting takes seconds, and here the same model is exported again and again: its graphs are kept."""
    original = module.onnx.export_onnx

    def export(model, inputs, path, outputs):
        key = (model.config.model_type, inputs, float(sum(w.double().abs().sum() for w in model.parameters())))
        if key not in graphs:
            original(model, inputs, path, outputs)
            graphs[key] = path.read_bytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(graphs[key])

    monkeypatch.setattr(module.onnx, "export_onnx", export)


@pytest.fixture
def make(checkpoint, quick_export):
    def make(out, architecture="bert", change=None, texts=TEXTS, **changes):
        source = checkpoint(architecture)
        model, tokenizer = models.load_finetuned_classifier(source), models.load_tokenizer(source)
        tokenizer.model_max_length = 24
        if change:
            change(model)
        config = ExportConfig(**{"model": str(source), "out": out, "max_length": 24, "min_agreement": 0.5, **changes})
        reference = [[row] for row in logits_of(model, tokenizer, texts, 24)]
        return to_bundle(
            model,
            tokenizer,
            config,
            texts,
            reference,
            samples=["a film", "the joy was not good"],
            provenance={"data": {"name": "tiny"}},
            recipe={"epochs": 3},
        )

    return make


def left_beside(out):
    return sorted(path.name for path in out.parent.iterdir())


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_a_bundle_is_verified_and_answers_as_torch(make, checkpoint, tmp_path, architecture):
    result = make(tmp_path / "small", architecture)
    assert left_beside(tmp_path / "small") == ["small"]
    assert any("smoke predictions" in line for line in bundle.verify(tmp_path / "small"))
    fp32, int8 = result["parity"]
    assert (fp32["precision"], int8["precision"], fp32["texts"]) == ("fp32", "int8", 6)
    assert fp32["max_difference"] <= 1e-4
    assert fp32["agreement"] == 1.0

    source = checkpoint(architecture)
    torch_model, tokenizer = models.load_finetuned_classifier(source), models.load_tokenizer(source)
    expected = logits_of(torch_model, tokenizer, TEXTS, 24)
    model = lilliput.load(tmp_path / "small", precision="fp32")
    assert np.abs(model.logits(TEXTS) - expected).max() < 1e-4
    assert model.labels == ("negative", "positive")
    assert lilliput.load(tmp_path / "small").precision == "int8"


def test_files_and_manifest(make, checkpoint, tmp_path):
    result = make(tmp_path / "small", seed=7)
    folder = tmp_path / "small"
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "config.json",
        "lilliput.json",
        "model.safetensors",
        "onnx/model.onnx",
        "onnx/model_quantized.onnx",
        "ort_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    for path in [folder, *folder.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o044 == 0o044, path
        assert not path.is_dir() or mode & 0o011 == 0o011
    manifest = bundle.Bundle.open(folder).manifest
    model = models.load_finetuned_classifier(checkpoint("bert"))
    assert (manifest.name, manifest.task, manifest.architecture) == ("small", "classification", "bert")
    assert (manifest.labels, manifest.max_length, manifest.seeds) == (("negative", "positive"), 24, (7,))
    assert manifest.inputs == ("input_ids", "attention_mask", "token_type_ids")
    assert manifest.parameters == result["parameters"] == sum(w.numel() for w in model.parameters())
    assert manifest.graphs["fp32"]["file"] == "onnx/model.onnx"
    assert manifest.graphs["fp32"]["disabled_optimizers"] == []
    assert manifest.graphs["int8"]["disabled_optimizers"] == ["SkipLayerNormFusion"]
    assert manifest.graphs["int8"]["operators"]["MatMulInteger"] > 0
    assert (manifest.provenance, manifest.recipe) == ({"data": {"name": "tiny"}}, {"epochs": 3})
    assert {record["precision"] for record in manifest.smoke} == {"fp32", "int8"}
    assert [record["text"] for record in manifest.smoke] == [*TEXTS[:2], *TEXTS[:2]]
    assert json.loads((folder / "config.json").read_text())["id2label"] == {"0": "negative", "1": "positive"}
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == 24


@pytest.mark.parametrize(("task", "most"), [("classification", 24), ("question-answering", None)])
def test_a_tokenizer_is_shipped_without_padding_and_cuts_what_has_no_windows(checkpoint, tmp_path, task, most):
    folder = Path(shutil.copytree(checkpoint("bert"), tmp_path / "before"))
    noted = models.load_tokenizer(folder)
    noted.backend_tokenizer.enable_padding(length=48)
    noted.backend_tokenizer.enable_truncation(48, stride=8)
    noted.save_pretrained(folder)
    tokenizer = models.load_tokenizer(folder)
    assert tokenizer.backend_tokenizer.padding["length"] == 48
    before = tokenizer.backend_tokenizer.to_str()

    own = module.tokenizer_for_loaders(tokenizer, tasks.get(task), 24)
    models.save_tokenizer(own, tmp_path / "own")
    assert tokenizer.backend_tokenizer.to_str() == before
    plain = Tokenizer.from_file(str(tmp_path / "own" / "tokenizer.json"))
    assert plain.padding is None
    assert len(plain.encode("it").ids) == 3
    assert len(plain.encode("it " * 40).ids) == (most or 42)
    config = json.loads((tmp_path / "own" / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == 24
    assert not config.keys() & {"max_length", "stride", "pad_to_multiple_of"}
    assert models.load_tokenizer(tmp_path / "own")("it " * 40, truncation=True)["input_ids"][-1] == own.sep_token_id


def test_windows_of_a_long_input_do_not_depend_on_what_a_tokenizer_cuts(checkpoint):
    task = tasks.get("question-answering")
    tokenizer = models.load_tokenizer(checkpoint("bert"))
    asked = [Tokens("the film", "great " * 40)]
    expected = WindowEncoder(tokenizer.backend_tokenizer, 24, task.overlap)(asked)
    for name in ("question-answering", "classification"):
        own = module.tokenizer_for_loaders(tokenizer, tasks.get(name), 24)
        found = WindowEncoder(own.backend_tokenizer, 24, task.overlap)(asked)
        assert [window.ids for window in found[0]] == [window.ids for window in expected[0]]
    assert len(expected[0]) > 2


def test_a_bundle_without_int8(make, tmp_path):
    make(tmp_path / "small", precisions=("fp32",), name="other name")
    assert not (tmp_path / "small/onnx/model_quantized.onnx").exists()
    assert lilliput.load(tmp_path / "small").precision == "fp32"
    assert bundle.Bundle.open(tmp_path / "small").manifest.name == "other name"
    assert json.loads((tmp_path / "small/ort_config.json").read_text())["quantization"] == {}


def test_the_same_model_gives_the_same_bundle(make, tmp_path):
    make(tmp_path / "a" / "small")
    make(tmp_path / "b" / "small")
    one, other = ((tmp_path / place / "small" / bundle.MANIFEST).read_bytes() for place in "ab")
    assert one == other  # and with it the hash of every file


# --- failing ---------------------------------------------------------------------------------------------------------


def spoil_graph(monkeypatch, precision):
    """Exports a model, or quantizes a graph, that is not the one asked for."""
    if precision == "fp32":
        original = module.onnx.export_onnx

        def export(model, inputs, path, outputs):
            with torch.no_grad():
                model.classifier.bias[0] += 0.01
                original(model, inputs, path, outputs)
                model.classifier.bias[0] -= 0.01

        monkeypatch.setattr(module.onnx, "export_onnx", export)
    else:
        original_quantize = module.quantize.quantize_int8

        def quantize(source, target, feeds):
            import onnx

            original_quantize(source, target, feeds)
            graph = onnx.load(target)
            last = next(node for node in graph.graph.node if "logits" in node.output)
            last.output[0] = "negated"
            graph.graph.node.append(onnx.helper.make_node("Neg", ["negated"], ["logits"]))
            onnx.save(graph, target)

        monkeypatch.setattr(module.quantize, "quantize_int8", quantize)


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        (
            "fp32",
            r"small: the fp32 graph's outputs differ from torch by up to .*e-0[23] on 6 texts.*No bundle was written",
        ),
        ("int8", r"small: the int8 graph agrees with the torch model on .*% of 6 texts.*No bundle was written"),
    ],
)
def test_a_graph_that_answers_otherwise_is_no_bundle_and_leaves_nothing(
    make, tmp_path, monkeypatch, precision, message
):
    spoil_graph(monkeypatch, precision)
    with pytest.raises(GateError, match=message):
        make(tmp_path / "small", min_agreement=0.9)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_bundle_that_is_there(make, tmp_path, monkeypatch):
    make(tmp_path / "small")
    before = (tmp_path / "small" / bundle.MANIFEST).read_bytes()
    spoil_graph(monkeypatch, "fp32")
    with pytest.raises(GateError):
        make(tmp_path / "small")
    assert left_beside(tmp_path / "small") == ["small"]
    assert (tmp_path / "small" / bundle.MANIFEST).read_bytes() == before
    bundle.verify(tmp_path / "small")


def test_a_bundle_that_is_there_is_replaced(make, tmp_path):
    make(tmp_path / "small")
    (tmp_path / "small" / "README.md").write_text("old card")
    make(tmp_path / "small", seed=3)
    assert bundle.Bundle.open(tmp_path / "small").manifest.seeds == (3,)
    assert not (tmp_path / "small" / "README.md").exists()
    assert left_beside(tmp_path / "small") == ["small"]


def test_a_folder_that_is_no_bundle_is_not_replaced(make, tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="a folder that is not a bundle"):
        make(tmp_path / "small")
    assert (tmp_path / "small" / "thesis.tex").read_text() == "years of work"
    assert left_beside(tmp_path / "small") == ["small"]


def test_a_model_that_answers_nan_is_no_bundle(make, tmp_path):
    def poison(model):
        with torch.no_grad():
            model.classifier.bias[1] = float("nan")

    with pytest.raises(
        GateError, match=r"the model's own outputs are not finite on 6 of 6 texts; .*No bundle was written"
    ):
        make(tmp_path / "small", change=poison)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["models.save", "onnx.export_onnx", "quantize.quantize_int8", "write_json", "smoke"])
def test_a_full_disk_at_any_step_leaves_nothing(make, tmp_path, monkeypatch, step):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"lilliput.export.to_bundle.{step}", full)
    with pytest.raises(OSError, match="No space left"):
        make(tmp_path / "small")
    assert list(tmp_path.iterdir()) == []


def test_what_killed_exports_left_is_removed_and_what_others_work_on_is_not(make, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in (f".small.{ended.pid}.partial", f".small.{os.getppid()}.partial", f".other.{ended.pid}.partial"):
        (tmp_path / name / "onnx").mkdir(parents=True)
    make(tmp_path / "small")
    assert left_beside(tmp_path / "small") == sorted(
        ["small", f".small.{os.getppid()}.partial", f".other.{ended.pid}.partial"]
    )
