"""Bundles by Hub id, offline, with a Hub cache that is laid out by hand."""

import os
import shutil

import pytest

import lilliput
from lilliput import hub
from lilliput.errors import BundleError, ConfigError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tiny_bundle, tmp_path, monkeypatch):
    """The tiny bundle as ``org/tiny`` in the Hub's cache: links to blobs, as the Hub's library leaves them."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("LILLIPUT_CACHE", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    repository = tmp_path / "hub" / "models--org--tiny"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    for name in ("main", "v1"):
        (repository / "refs" / name).write_text(COMMIT)
    for number, path in enumerate(sorted(path for path in tiny_bundle.rglob("*") if path.is_file())):
        blob, link = repository / "blobs" / str(number), snapshot / path.relative_to(tiny_bundle)
        shutil.copyfile(path, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


@pytest.mark.parametrize("revision", [None, "v1", COMMIT])
def test_a_bundle_by_its_id(cached, tiny_bundle, tmp_path, revision):
    model = lilliput.load("org/tiny", revision=revision)
    assert model("a joy") == lilliput.load(tiny_bundle)("a joy")
    copy = tmp_path / "own" / "hub" / "org--tiny" / COMMIT
    assert sorted(path.name for path in copy.iterdir()) == ["lilliput.json", "onnx", "tokenizer.json"]
    assert not any(path.is_symlink() for path in copy.rglob("*"))
    shutil.rmtree(cached)  # the copy is enough from now on
    cached.mkdir()
    assert hub._copied(cached, copy) == copy


def test_what_is_not_there_is_told(cached, tmp_path):
    for name, revision in (("org/other", None), ("org/tiny", "v2")):
        with pytest.raises(BundleError, match=rf"{name}: no such folder, and no bundle.* on the Hub or in its cache: "):
            lilliput.load(name, revision=revision)
    (cached / "lilliput.json").unlink()
    with pytest.raises(BundleError, match=r"org/tiny: this Hub repository holds no lilliput\.json"):
        lilliput.load("org/tiny")


def test_a_folder_is_a_folder(cached, tiny_bundle, tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(BundleError, match=r"runs/small: no such folder$"):
        lilliput.load("runs/small")
    with pytest.raises(ConfigError, match=r"revision 'v1': .* is a folder, which has none"):
        lilliput.load(str(tiny_bundle), revision="v1")


def test_a_link_out_of_the_cache_is_refused(cached, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (cached / "tokenizer.json").unlink()
    (cached / "tokenizer.json").symlink_to(tmp_path / "secret")
    with pytest.raises(BundleError, match="leads out of the Hub's cache"):
        lilliput.load("org/tiny")
    assert not (tmp_path / "own" / "hub" / "org--tiny" / COMMIT).exists()
