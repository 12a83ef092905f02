"""Folders of plain files: read them without following links, walk them, and put a finished one in its place."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lilliput.errors import BundleError, IntegrityError


def read_plain(root: Path, name: str, *, size: int | None = None, limit: int = 0) -> bytes:
    """Read a regular file below ``root`` without following a link; its size is checked before a byte is read.

    Args:
        root: the folder.
        name: the path below it, with forward slashes.
        size: how many bytes the file must have.
        limit: how many it may have at most, where ``size`` is None.

    Raises:
        IntegrityError: the file is missing, no plain file, or of another size.
        BundleError: the system won't let it be read.
    """
    path = root / name
    for parent in list(PurePosixPath(name).parents)[:-1]:
        if (root / parent).is_symlink():
            raise IntegrityError(f"{root / parent}: a symbolic link; a bundle holds plain files only")
    # O_NONBLOCK: opening a named pipe must fail the check below, not wait for a writer.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if path.is_symlink():
            raise IntegrityError(f"{path}: a symbolic link; a bundle holds plain files only") from error
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise IntegrityError(f"{path}: missing; get the bundle again") from error
        raise BundleError(f"{path}: can't be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise IntegrityError(f"{path}: not a plain file")
        if size is None and status.st_size > limit:
            raise IntegrityError(f"{path}: {status.st_size:,} bytes, more than the {limit:,} that are allowed")
        if size is not None and status.st_size != size:
            raise IntegrityError(f"{path}: {status.st_size:,} bytes instead of {size:,}; get the bundle again")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(descriptor)


def walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file and folder below ``root``: path with forward slashes and status, each folder before its contents.

    A ``.git`` folder at the top is left out: a bundle may be a clone.

    Raises:
        IntegrityError: at a symbolic link, a device or a pipe.
        BundleError: at a folder that can't be listed.
    """
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            with os.scandir(root / prefix) as entries:
                found = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
        except OSError as error:
            raise BundleError(f"{root / prefix}: can't be listed: {error.strerror}") from error
        for name, status in found:
            path = f"{prefix}{name}"
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                raise IntegrityError(f"{root / path}: a link or a device; a bundle holds plain files only, remove it")
            if path == ".git" and stat.S_ISDIR(status.st_mode):
                continue
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                pending.append(f"{path}/")


def fsync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows can't open a folder
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def aside_of(final: Path) -> Path:
    """Where `put_in_place` moves the old folder on systems that can't swap two."""
    return final.with_name(f".{final.name}.replaced")


def put_in_place(staging: Path, final: Path) -> None:
    """Rename the folder ``staging`` to ``final``, in place of the folder that may be there, which is then deleted.

    Raises:
        BundleError: the system refuses, for example because ``final`` is on another file system.
    """
    try:
        for name, _ in walk(staging):
            fsync(staging / name)
        fsync(staging)
        final.parent.mkdir(parents=True, exist_ok=True)
        if not final.exists():
            staging.rename(final)
        elif _exchange(staging, final):
            shutil.rmtree(staging)
        else:
            _replace(staging, final)
        fsync(final.parent)
    except OSError as error:
        raise BundleError(f"{final}: can't move the bundle here from {staging}: {error.strerror}") from error
    shutil.rmtree(aside_of(final), ignore_errors=True)  # left by an earlier crash, if any


def _exchange(one: Path, other: Path) -> bool:
    """Swap the names of two folders in one step; False where the system or the file system can't."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of <linux/fs.h>
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0


def _replace(staging: Path, final: Path) -> None:
    aside = aside_of(final)
    if aside.exists():
        shutil.rmtree(aside)
    final.rename(aside)
    try:
        staging.rename(final)
    except BaseException:
        aside.rename(final)
        raise
    shutil.rmtree(aside)
