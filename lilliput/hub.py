"""Bundles on the Hugging Face Hub: fetched once, through the Hub's own cache."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from lilliput.cache import cache_folder
from lilliput.errors import BundleError, ConfigError
from lilliput.manifest import MANIFEST

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_NEEDED = (MANIFEST, f"{MANIFEST}.sig", "tokenizer.json", "onnx/*.onnx")
"""Files of a bundle that running it may open."""


def folder_of(place: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder of a bundle: ``place`` itself, or what a Hub repository of that id holds.

    A name such as ``runs/small`` is a folder where there is a folder ``runs``, and else a Hub id. Files of a repository
    are fetched into the Hub's cache where they are not there yet (with ``HF_HUB_OFFLINE=1``: never), and copied from
    there: the cache holds links, which a bundle must not.

    Args:
        revision: branch, tag or commit; the repository's main branch when None.

    Raises:
        ConfigError: ``revision`` is given for a folder.
        BundleError: there is no such repository or revision, it can't be reached, or it holds no bundle.
    """
    path = Path(place)
    if not isinstance(place, str) or path.exists() or path.parent.is_dir() or not _ID.fullmatch(place):
        if revision is not None:
            raise ConfigError(f"revision {revision!r}: {place} is a folder, which has none")
        return path
    snapshot = _snapshot(place, revision)
    if not (snapshot / MANIFEST).is_file():
        raise BundleError(f"{place}: this Hub repository holds no {MANIFEST}, so it is no bundle")
    return _copied(snapshot, cache_folder() / "hub" / place.replace("/", "--") / snapshot.name)


def _snapshot(name: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_NEEDED)))
    except Exception as error:  # of requests, of the Hub, of the disk: no class of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        at = f" at {revision}" if revision else ""
        raise BundleError(f"{name}: no such folder, and no bundle{at} on the Hub or in its cache: {reason}") from error


def _copied(snapshot: Path, target: Path) -> Path:
    """The files of a snapshot as plain files at ``target``, which is named after the commit and so never changes."""
    if target.is_dir():
        return target
    repository = snapshot.resolve().parent.parent
    staging = target.with_name(f".{target.name}.{os.getpid()}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for pattern in _NEEDED:
            for path in snapshot.glob(pattern):
                real = path.resolve()
                if not real.is_relative_to(repository) or not real.is_file():
                    raise BundleError(f"{path}: leads out of the Hub's cache; delete {repository} and fetch it again")
                copy = staging / path.relative_to(snapshot)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(real, copy)
        try:
            staging.rename(target)
        except OSError:
            if not target.is_dir():  # another process was quicker
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target
