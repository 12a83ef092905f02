"""One benchmark from places to report, with real tiny models."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from lilliput import cli, machine
from lilliput.benchmarks import contenders, entries, evidence, latency, origin, providers, report, sheets, structure
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.peers import bundle
from lilliput.benchmarks.scenarios import cold_start, server, sweep, threads
from lilliput.errors import BundleError, ConfigError, LilliputError, ModelError

LABELS = ["negative", "neutral", "positive"]
Specimen = Callable[..., dict[str, Any]]


# --- who takes part ---------------------------------------------------------------------------------------------------


def test_a_bundle_and_a_hugging_face_folder_are_told_apart(tiny_bundle: Path, tiny: ModuleType) -> None:
    found = contenders.find(str(tiny_bundle), LABELS)
    assert (found.name, found.is_bundle) == (tiny_bundle.name, True)
    assert (found.precisions, found.outputs) == (("fp32", "int8"), ())
    renamed = contenders.find(f"mine={tiny_bundle}", LABELS)
    assert (renamed.name, renamed.folder) == ("mine", tiny_bundle)
    assert contenders.named(f"mine={tiny_bundle}") == ("mine", str(tiny_bundle))
    assert contenders.named("someone/model@v1") == ("", "someone/model@v1")


def test_a_hugging_face_folder_answers_in_the_order_of_the_data(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint("bert"), tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    names = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
    data = [name.upper() for name in reversed(names)]
    found = contenders.find(str(folder), data)
    assert not found.is_bundle
    assert found.outputs == tuple(name.upper() for name in names)
    assert found.max_length <= contenders.LONG


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        ("./nowhere", ConfigError, "no such folder"),
        ("EMPTY", BundleError, "lilliput.json: missing"),
        ("BUNDLE", ConfigError, "answers negative, neutral, positive, but the data's labels are no, yes"),
        ("MODEL", ModelError, "but the data's are no, yes"),
    ],
)
def test_what_can_not_take_part_is_named(
    tiny_bundle: Path,
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    place: str,
    error: type[LilliputError],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": tmp_path / "empty", "BUNDLE": tiny_bundle, "MODEL": checkpoint("bert")}
    with pytest.raises(error, match=message):
        contenders.find(str(places.get(place, place)), ["no", "yes"])


def test_two_of_one_name_are_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    one = contenders.find(str(tiny_bundle), LABELS)
    with pytest.raises(ConfigError, match="NAME=PLACE gives one another name"):
        contenders.entries_of([one, one], tmp_path, (0,))


def test_outputs_in_another_order_are_put_into_that_of_the_data(fake: Callable[..., Entry], tmp_path: Path) -> None:
    from dataclasses import replace

    texts = ["x" * length for length in (1, 2, 3, 4)]
    straight = fake("straight")
    swapped = replace(fake("swapped", labels=["LABEL_0", "LABEL_1"]), outputs=("positive", "negative"))
    found = latency.run(
        [straight, swapped], texts, rounds=2, folder=tmp_path / "run", all_cores=False, labels=("negative", "positive")
    )
    first, second = found.models["straight"], found.models["swapped"]
    assert first.answers.tolist() == [1, 0, 1, 0]
    # Its first output stands for "positive": what it calls 1 is the data's 0.
    assert second.answers.tolist() == [0, 1, 0, 1]
    assert second.probabilities.tolist() == first.probabilities[:, ::-1].tolist()
    assert found.texts == tuple(texts)


# --- what is known of a model ----------------------------------------------------------------------------------------


def test_structures_of_several_architectures() -> None:
    bert = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4}
    found = structure.of_config({**bert, "intermediate_size": 32, "vocab_size": 99})
    assert found == {
        **{"kind": "bert", "hidden": 8, "vocabulary": 99, "head_size": 2, "layers": 2},
        "blocks": [{"heads": 4, "ffn": 32}] * 2,
    }
    pruned = {**bert, "num_attention_heads": 1, "intermediate_size": 9, "block_heads": [3, 0], "block_ffn": [9, 0]}
    found = structure.of_config({**pruned, "head_size": 2})
    assert found is not None
    assert found["blocks"] == [{"heads": 3, "ffn": 9}, {"heads": 0, "ffn": 0}]
    assert found["head_size"] == 2
    distil = {"model_type": "distilbert", "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
    assert structure.of_config(distil) is not None
    conv = structure.of_config({"model_type": "lilliput_conv", "width": 64, "layers": 3, "vocab_size": 50})
    assert conv is not None
    assert (conv["layers"], conv["blocks"]) == (3, [])


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_type": "bert", "hidden_size": "8"},
        {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": -1},
        {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2, "block_heads": [1]},
        {"model_type": 7, "hidden_size": 8},
    ],
    ids=["empty", "text", "negative", "too few", "no name"],
)
def test_what_is_no_structure_is_none(config: dict[str, Any]) -> None:
    assert structure.of_config(config) is None


def test_the_structure_of_a_bundle_and_of_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    entry = Entry("a", "onnxruntime", "fp32", "bundle", {"bundle": str(tiny_bundle)})
    found = structure.of_entry(entry)
    config = json.loads((tiny_bundle / "config.json").read_text())
    assert found is not None
    assert len(found["blocks"]) == config["num_hidden_layers"]
    assert structure.of_entry(Entry("a", "x", "fp32", "tfidf", {"train": "x"})) is None
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert structure.of_entry(Entry("a", "x", "fp32", "bundle", {"bundle": str(tmp_path)})) is None


def test_commands_from_a_manifest(small_bundle: Callable[..., Path]) -> None:
    recipe = {"student": "layers=2", "objective": ["logit-mse", "relations=0.5"], "data": "reviews.csv", "epochs": 4}
    folder = small_bundle("small", recipe={**recipe, "seed": 0, "quantization": {"int8-static": {"bits": 8}}})
    entry = Entry("a", "onnxruntime", "int8-static", "bundle", {"bundle": str(folder)})
    first, second, third = origin.commands(entry)
    assert first.startswith("lilliput distill --teacher TEACHER")
    assert "--student layers=2" in first
    assert "--objective logit-mse --objective relations=0.5" in first
    assert "--seed" not in first  # the default says as much
    assert first.endswith("--out TRAINED")
    assert second == "lilliput export --model TRAINED --data reviews.csv --out small"
    assert third == "lilliput quantize --model small --data reviews.csv --precision int8-static --out OUT"
    plain = small_bundle("plain", recipe={})
    assert origin.commands(Entry("a", "x", "fp32", "bundle", {"bundle": str(plain)})) == []
    assert origin.commands(Entry("a", "x", "fp32", "torch_eager", {"model": str(folder)})) == []


def test_a_quantization_report_beside_a_bundle_is_read(tmp_path: Path) -> None:
    entry = Entry("a", "onnxruntime", "int8", "bundle", {"bundle": str(tmp_path / "mine")})
    path = tmp_path / "mine.quantization.json"
    assert origin.sensitivity(entry) is None
    layer = {"layer": "MatMul_1", "weights": 64, "sqnr_db": 12.5, "flips": 0.25, "surprise": 1}
    found = {"precision": "int8", "layers": 9, "verdict": {"kept": ["MatMul_1"]}, "ranking": [layer]}
    path.write_text(json.dumps(found))
    del layer["surprise"]
    assert origin.sensitivity(entry) == {"layers": 9, "kept": ["MatMul_1"], "ranking": [layer]}
    for wrong in ({**found, "precision": "int4"}, {**found, "ranking": []}, {**found, "ranking": [{"layer": 1}]}, []):
        path.write_text(json.dumps(wrong))
        assert origin.sensitivity(entry) is None


def test_hits_are_packed_a_bit_a_text() -> None:
    import numpy as np

    hits = np.array([True, False, False, False, False, False, False, True, True])
    assert evidence.packed(hits) == "gYA="  # 10000001 1.......: 0x81 0x80
    assert evidence.unpacked("gYA=", 9).tolist() == hits.tolist()
    with pytest.raises(ValueError, match="2 bytes can't be the hits of 20 texts"):
        evidence.unpacked("gYA=", 20)
    assert evidence.digest(["a", "b"]) != evidence.digest(["ab"]) != evidence.digest(["a", "b", ""])


def test_slices_are_by_length_label_and_column() -> None:
    import numpy as np

    texts = ["one"] * 40 + ["one two three"] * 40
    gold = np.array([0, 1] * 40)
    hits = np.array([True] * 40 + [True, False] * 20)
    found = evidence.sliced(hits, gold, texts, ["no", "yes"], ("source", ["a"] * 60 + ["b"] * 20))
    parts = {(one["by"], one["value"]): one for one in found}
    assert parts["length", "1 word"]["score"] == 1.0
    assert parts["length", "3 words"]["score"] == 0.5
    assert parts["label", "yes"]["score"] == 0.5
    assert parts["source", "b"]["n"] == 20
    assert parts["length", "3 words"]["below"] == pytest.approx(0.25)


# --- sheets -----------------------------------------------------------------------------------------------------------


def test_a_report_as_csv_has_a_line_a_model(specimen: Specimen) -> None:
    made = specimen(rename={"student-l2 int8": "=1+1"})
    made["scenarios"] = {"server": {"settings": {}, "models": {"=1+1": {"rate_per_s": 900.0, "p99_ci": [1, 2]}}}}
    lines = list(csv.DictReader(io.StringIO(sheets.csv_of(made))))
    assert len(lines) == len(made["models"])
    line = lines[7]
    assert line["name"] == "'=1+1"  # a spreadsheet must not calculate with it
    assert float(line["latency_p50_ms"]) == made["models"][7]["latency_ms"]["p50"]
    assert float(line["retained_low"]) == made["models"][7]["retained_ci"][0]
    assert line["server.rate_per_s"] == "900.0"
    assert lines[0]["server.rate_per_s"] == ""
    assert "server.p99_ci" not in line


def test_a_report_as_markdown_says_all_that_the_page_says(specimen: Specimen) -> None:
    made = specimen(rename={"student-l2 int8": "a|b<script>"})
    found = {"a|b<script>": {"loaded_bytes": 10**8, "single_bytes": 2 * 10**8, "list_bytes": None}}
    made["scenarios"] = {"memory": {"settings": {}, "models": {**found, "teacher fp32": {"not_measured": "it | died"}}}}
    text = sheets.markdown(made)
    assert text.startswith("# Sentiment of films\n")
    assert "4.0× the speed of its teacher on plain ONNX Runtime int8" in text
    assert "| a\\|b&lt;script> | 100 | 200 | not measured |" in text
    assert "| teacher fp32 | not measured: it \\| died |  |  |" in text
    assert "    lilliput demo --out runs/demo" in text
    assert "<script" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.count("|") - line.count("\\|") for line in rows if line.count("|") > 12}) == 1


# --- the whole --------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    monkeypatch.setattr(latency, "WARM_S", 0.02)
    monkeypatch.setattr(cold_start, "PROCESSES", 2)
    monkeypatch.setattr(sweep, "LENGTHS", (8, 16))
    monkeypatch.setattr(sweep, "CELL_S", 0.02)
    monkeypatch.setattr(threads, "SAMPLE_S", 0.05)
    for name, seconds in (("TRIAL_S", 0.2), ("FINAL_S", 0.4)):
        monkeypatch.setattr(server, name, seconds)


@pytest.mark.slow
def test_bundles_and_models_side_by_side_in_all_scenarios(
    quick: None,
    tiny: ModuleType,
    encoders: ModuleType,
    own_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    encoders.write_csv(Path("reviews.csv"), encoders.rows(240))
    run = CliRunner()
    made = run.invoke(
        cli.app, ["export", "--model", str(own_model), "--data", "reviews.csv", "--out", "bundles/teacher"]
    )
    assert made.exit_code == 0, (made.output, made.exception)
    words = ["benchmark", "bundles/teacher", f"theirs={own_model}", "--data", "reviews.csv", "--out", "runs/one"]
    words += ["--rounds", "2", "--provider", "cuda", "--latency-bound", "200"]
    for name in ("single-stream", "offline", "sweep", "threads", "cold-start", "memory", "energy", "server"):
        words += ["--scenario", name]
    done = run.invoke(cli.app, words)
    assert done.exit_code == 0, (done.output, done.exception)
    found = report.read_report(Path("runs/one/report.json"))
    names = [row["name"] for row in found["models"]]
    assert names == [
        *("teacher torch eager", "teacher plain int8", "teacher fp32", "teacher int8", "theirs torch eager"),
        "TF-IDF + logistic regression",
    ]
    assert len(found["scenarios"]) == 8
    for name, measured in found["scenarios"].items():
        assert set(measured["models"]) == set(names)
        if name != "energy":
            assert not [one for one in measured["models"].values() if "not_measured" in one], name
    offline = found["scenarios"]["offline"]["models"]
    assert offline["teacher int8"]["size"] == 1
    assert {one["changed"] for one in offline.values()} == {0.0}
    assert found["scenarios"]["server"]["models"]["teacher fp32"]["rate_per_s"] > 10
    assert any(line.startswith("Provider cuda: this onnxruntime has") for line in found["not_measured"])
    command = found["recipe"]["commands"][0]
    assert command.startswith("lilliput benchmark ")
    assert f" bundles/teacher theirs={own_model} " in command
    assert "--scenario offline --scenario sweep" in command
    rows = {row["name"]: row for row in found["models"]}
    assert rows["theirs torch eager"]["score"] == rows["teacher torch eager"]["score"]
    assert rows["teacher fp32"]["structure"]["blocks"] == rows["theirs torch eager"]["structure"]["blocks"]
    assert sorted(file.name for file in Path("runs/one").glob("report.*")) == [
        *("report.csv", "report.html", "report.json", "report.md")
    ]
    same = run.invoke(cli.app, ["compare", "runs/one/report.json", "runs/one/report.json"])
    assert same.exit_code == 0, same.output


def test_an_unknown_scenario_is_refused_before_anything_is_measured(
    encoders: ModuleType, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    encoders.write_csv(Path("reviews.csv"), encoders.rows(60))
    words = ["benchmark", str(tiny_bundle), "--data", "reviews.csv", "--out", "runs/x", "--scenario", "multistream"]
    done = CliRunner().invoke(cli.app, words)
    assert isinstance(done.exception, ConfigError)
    assert "--scenario multistream: unknown; known are cold-start" in str(done.exception)


# --- the Hub and other providers --------------------------------------------------------------------------------------


def test_hub_ids_are_bundles_or_hugging_face_models(
    tiny_bundle: Path, checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[tuple[str, str | None]] = []

    def folder_of(name: str, revision: str | None = None) -> Path:
        asked.append((name, revision))
        if name == "someone/bundle":
            return tiny_bundle
        raise BundleError(f"{name}: this Hub repository holds no lilliput.json, so it is no bundle")

    def snapshot_download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision))
        assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in allow_patterns)
        return str(checkpoint("bert"))

    monkeypatch.setattr(contenders.hub, "folder_of", folder_of)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    found = contenders.find("someone/bundle@v2", LABELS)
    assert (found.name, found.is_bundle) == ("someone/bundle@v2", True)
    names = list(json.loads((checkpoint("bert") / "config.json").read_text())["id2label"].values())
    found = contenders.find("theirs=someone/model", names)
    assert (found.name, found.is_bundle) == ("theirs", False)
    assert asked == [("someone/bundle", "v2"), ("someone/model", None), ("someone/model", None)]


def test_a_hub_that_can_not_be_reached_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(name: str, revision: str | None = None) -> Path:
        raise BundleError(f"{name}: no such folder, and no bundle on the Hub or in its cache: offline")

    monkeypatch.setattr(contenders.hub, "folder_of", refuse)
    with pytest.raises(BundleError, match="someone/model: no such folder"):
        contenders.find("someone/model", LABELS)


def test_a_provider_is_a_row_of_its_own(tiny_bundle: Path) -> None:
    entry = entries.of_bundle(tiny_bundle, "small", "int8", provider="cuda")
    assert (entry.name, entry.provider) == ("small int8 cuda", "CUDAExecutionProvider")
    assert entry.options["provider"] == "cuda"
    assert entry.tolerance > 0
    plain = entries.of_bundle(tiny_bundle, "small", "int8")
    assert (plain.name, plain.provider, plain.tolerance) == ("small int8", "CPUExecutionProvider", 0.0)
    assert "provider" not in plain.options


def test_a_bundle_on_a_provider_answers_as_it_does(tiny_bundle: Path) -> None:
    options = {"bundle": str(tiny_bundle), "precision": "fp32", "provider": "cpu"}
    hosted = providers.load(options, 1)
    assert hosted.one("a fine film").tolist() == bundle.load(options, 1).one("a fine film").tolist()


def test_providers_that_are_not_there_or_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        @staticmethod
        def get_available_providers() -> list[str]:
            return ["CPUExecutionProvider", "CoreMLExecutionProvider"]

    monkeypatch.setattr(providers.sessions, "onnxruntime", Module)
    assert providers.missing("cpu") is None
    assert providers.missing("cuda") == "this onnxruntime has cpu, coreml only"
    with pytest.raises(ConfigError, match="--provider tpu: unknown; known are cpu, cuda"):
        providers.missing("tpu")
