"""Writing, opening, reading and verifying bundles."""

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from lilliput import bundle
from lilliput.bundle import MANIFEST, Bundle, verify, write_manifest
from lilliput.errors import BundleError, IntegrityError


def test_round_trip(tiny, small_bundle):
    folder = small_bundle("one", smoke=[{"text": "漢字", "precision": "fp32", "logits": [0.5, -1, 2]}], seeds=(1, 2))
    opened = Bundle.open(folder)
    manifest = opened.manifest
    assert (manifest.format, manifest.name, manifest.task) == (2, "one", "classification")
    assert (manifest.labels, manifest.seeds) == (tiny.LABELS, (1, 2))
    assert manifest.smoke == [{"text": "漢字", "precision": "fp32", "logits": [0.5, -1, 2]}]
    assert sorted(manifest.files) == ["onnx/model.onnx", "tokenizer.json"]
    entry = manifest.files["onnx/model.onnx"]
    assert (entry.size, entry.sha256) == (12, hashlib.sha256(b"graph of one").hexdigest())
    assert opened.read("onnx/model.onnx") == b"graph of one"
    assert opened.manifest_size == (folder / MANIFEST).stat().st_size


def test_writing_again_hashes_again_and_leaves_the_card_out(tiny, small_bundle):
    folder = small_bundle("one")
    (folder / "README.md").write_text("card")
    (folder / "measurements.json").write_text("{}")
    (folder / "more.txt").write_text("x")
    manifest = write_manifest(folder, **tiny.manifest_fields(folder, recipe={2: "b", 10: "a", "nested": (1, 2)}))
    assert sorted(manifest.files) == ["more.txt", "onnx/model.onnx", "tokenizer.json"]
    assert manifest.recipe == {"2": "b", "10": "a", "nested": [1, 2]}
    assert Bundle.open(folder).manifest == manifest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": {"path": Path("x")}}, "plain JSON"),
        ({"recipe": {"loss": float("nan")}}, "plain JSON"),
        ({"labels": ("a", "a")}, "'labels' must be"),
        ({"max_length": 0}, "'max_length' must be"),
        ({"surprise": 1}, "'surprise' is not a known field"),
    ],
)
def test_what_could_not_be_opened_is_not_written(tiny, tmp_path, change, words):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=words):
        write_manifest(tmp_path, **tiny.manifest_fields(tmp_path, **change))
    assert not (tmp_path / MANIFEST).exists()


def test_a_link_is_not_hashed_into_a_bundle(tiny, small_bundle, tmp_path):
    folder = small_bundle("one")
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(IntegrityError, match="link"):
        write_manifest(folder, **tiny.manifest_fields(folder))


def test_what_is_no_bundle_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd" / MANIFEST).mkdir(parents=True)
    for name, words in {
        "absent": "absent: no such folder",
        "file": "file: not a folder",
        "empty": "lilliput.json: missing",
        "odd": "lilliput.json: not a plain file",
    }.items():
        with pytest.raises(BundleError, match=words):
            Bundle.open(tmp_path / name)
    with pytest.raises(BundleError, match="no such folder"):
        Bundle.open("nul\0byte")


def test_a_pipe_for_a_manifest_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(IntegrityError, match="not a plain file"):
        Bundle.open(tmp_path)


def test_only_listed_files_are_read(small_bundle):
    folder = small_bundle("one")
    (folder / "other").write_text("x")
    for name in ("other", "../one/tokenizer.json", "/etc/passwd", MANIFEST):
        with pytest.raises(BundleError, match="not listed"):
            Bundle.open(folder).read(name)


def test_size_is_checked_before_reading(small_bundle):
    folder = small_bundle("one")
    with (folder / "tokenizer.json").open("ab") as file:
        file.truncate(1 << 40)
    start = time.perf_counter()
    with pytest.raises(IntegrityError, match=r"tokenizer\.json: 1,099,511,627,776 bytes instead of 2"):
        Bundle.open(folder).read("tokenizer.json")
    assert time.perf_counter() - start < 1


def test_links_are_not_followed(small_bundle, tmp_path):
    folder = small_bundle("one")
    opened = Bundle.open(folder)
    moved = (folder / "tokenizer.json").rename(tmp_path / "elsewhere")
    (folder / "tokenizer.json").symlink_to(moved)
    with pytest.raises(IntegrityError, match=r"tokenizer\.json: a symbolic link"):
        opened.read("tokenizer.json")
    moved = (folder / "onnx").rename(tmp_path / "graphs")
    (folder / "onnx").symlink_to(moved, target_is_directory=True)
    with pytest.raises(IntegrityError, match="onnx: a symbolic link"):
        opened.read("onnx/model.onnx")


def test_a_folder_or_a_file_in_the_way(small_bundle):
    folder = small_bundle("one")
    opened = Bundle.open(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").mkdir()
    with pytest.raises(IntegrityError, match=r"tokenizer\.json"):
        opened.read("tokenizer.json")
    shutil.rmtree(folder / "onnx")
    (folder / "onnx").write_text("x")
    with pytest.raises(IntegrityError, match=r"onnx/model\.onnx: missing"):
        opened.read("onnx/model.onnx")


def test_a_whole_bundle_is_verified(tiny_copy):
    folder = tiny_copy()
    (folder / "README.md").write_text("card")
    (folder / "measurements.json").write_text("{}")
    (folder / ".gitattributes").write_text("*.onnx filter=lfs")
    (folder / ".git" / "refs").mkdir(parents=True)
    (folder / ".git" / "refs" / "head").symlink_to("main")
    lines = verify(folder)
    assert any("7 files" in line for line in lines)
    assert sum("5 smoke predictions" in line for line in lines) == 2


def test_external_data_is_refused(tiny, tmp_path):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [4], bytes(16), raw=True)
    onnx.external_data_helper.set_external_data(tensor, "../../secret.bin")
    tensor.ClearField("raw_data")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["logits"])],
        "g",
        [value("x", onnx.TensorProto.FLOAT, [4])],
        [value("logits", onnx.TensorProto.FLOAT, [4])],
        [tensor],
    )
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    (tmp_path / "tokenizer.json").write_text("{}")
    write_manifest(tmp_path, **tiny.manifest_fields(tmp_path))
    with pytest.raises(IntegrityError, match=r"onnx/model\.onnx: tensor 'w' lies in another file"):
        verify(tmp_path)


def test_a_signed_file_that_is_no_graph(small_bundle):
    pytest.importorskip("onnx")
    with pytest.raises(IntegrityError, match=r"onnx/model\.onnx: not an ONNX graph"):
        verify(small_bundle("one"))


def resmoke(tiny, folder, change):
    """Write the manifest again, with ``change(record, its logits)`` as the recorded logits."""
    smoke = [{**record, "logits": change(record, record["logits"])} for record in Bundle.open(folder).manifest.smoke]
    write_manifest(folder, **tiny.manifest_fields(folder, smoke=smoke))


def spread(folder):
    """The range of the recorded int8 logits."""
    flat = [x for r in Bundle.open(folder).manifest.smoke if r["precision"] == "int8" for x in r["logits"]]
    return max(flat) - min(flat)


def test_smoke_predictions_that_differ_are_refused(tiny, tiny_copy):
    def shift(precision, amount):
        return lambda record, row: [row[0] + amount * (record["precision"] == precision), *row[1:]]

    folder = tiny_copy()
    resmoke(tiny, folder, shift("fp32", 0.0009))
    assert any("5 smoke predictions (fp32)" in line for line in verify(folder))
    resmoke(tiny, folder, shift("fp32", 0.0012))
    with pytest.raises(IntegrityError, match=r"onnx/model\.onnx: predictions on this machine differ"):
        verify(folder)

    folder = tiny_copy()
    unit = spread(folder)
    resmoke(tiny, folder, lambda record, row: [x + 0.05 * unit * (record["precision"] == "int8") for x in row])
    verify(folder)
    resmoke(tiny, folder, lambda record, row: [x + 0.2 * unit * (record["precision"] == "int8") for x in row])
    with pytest.raises(IntegrityError, match=r"model_quantized\.onnx: predictions on this machine differ"):
        verify(folder)


def test_another_best_label_is_refused_unless_it_was_a_tie():
    clear = [[0.0, 1.0, 0.5]]
    assert bundle._same_labels([[0.0, 0.9, 0.6]], clear, 0.3)
    assert not bundle._same_labels([[0.0, 0.7, 0.75]], clear, 0.3)
    assert bundle._same_labels([[0.0, 0.7, 0.75]], clear, 0.5)  # led by 0.5: within the limit


def test_smoke_predictions_of_another_width(tiny, tiny_copy):
    folder = tiny_copy()
    resmoke(tiny, folder, lambda record, row: row[:2])
    with pytest.raises(IntegrityError, match="another number of outputs"):
        verify(folder)


def test_without_onnxruntime_the_smoke_predictions_are_not_run(tiny_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert verify(tiny_bundle)[-1] == "smoke predictions: not run, onnxruntime is not installed"
