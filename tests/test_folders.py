"""Replacing a bundle: whole or not at all, and never anything else."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from lilliput import folders
from lilliput.bundle import Bundle, commit
from lilliput.errors import BundleError, IntegrityError


class Crash(BaseException):
    """Stands for the end of the process."""


def crash_at(monkeypatch, step):
    """Make the step-th call that commit makes to the file system the last one."""
    calls = 0

    def wrap(original):
        def wrapped(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == step:
                raise Crash
            return original(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(os, "fsync", wrap(os.fsync))
    monkeypatch.setattr(Path, "rename", wrap(Path.rename))
    monkeypatch.setattr(folders, "_exchange", wrap(folders._exchange))
    monkeypatch.setattr(shutil, "rmtree", wrap(shutil.rmtree))


@pytest.mark.parametrize("swap", [True, False], ids=["swap", "two renames"])
def test_a_crash_leaves_the_old_or_the_new(small_bundle, tmp_path, monkeypatch, swap):
    seen = []
    for step in range(1, 100):
        final = tmp_path / f"final-{step}"
        commit(small_bundle("old", folder=f"old-{step}"), final)
        staging = small_bundle("new", folder=f"new-{step}")
        with monkeypatch.context() as patch:
            if not swap:
                patch.setattr(folders, "_exchange", lambda *_: False)
            crash_at(patch, step)
            try:
                commit(staging, final)
            except Crash:
                finished = False
            else:
                finished = True
        opened = Bundle.open(final)
        for name in opened.manifest.files:
            opened.read(name)
        seen.append(opened.manifest.name)
        if finished:
            break
    assert seen[0] == "old"
    assert seen[-1] == "new"
    assert len(seen) > 6


def test_a_kill_between_two_renames_is_explained(small_bundle, tmp_path):
    small_bundle("old", folder=".final.replaced")
    with pytest.raises(BundleError, match=r"the old bundle is .*\.final\.replaced: rename it back"):
        Bundle.open(tmp_path / "final")
    commit(small_bundle("new"), tmp_path / "final")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no such call")
def test_two_folders_swap_names_in_one_step(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"was-{name}").touch()
    if not folders._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system can't")
    assert (tmp_path / "a" / "was-b").exists()
    assert (tmp_path / "b" / "was-a").exists()


def test_commit_replaces_and_cleans_up(small_bundle, tmp_path):
    final = tmp_path / "deep" / "final"
    commit(small_bundle("old"), final)
    (final / "README.md").write_text("card of the old one")
    commit(small_bundle("new"), final)
    assert Bundle.open(final).manifest.name == "new"
    assert not (final / "README.md").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in final.parent.iterdir()] == ["final"]


def test_commit_onto_an_empty_folder(small_bundle, tmp_path):
    (tmp_path / "final").mkdir()
    commit(small_bundle("new"), tmp_path / "final")
    assert Bundle.open(tmp_path / "final").manifest.name == "new"


def test_commit_deletes_nothing_but_a_bundle(small_bundle, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(home)
    staging = small_bundle("new")
    for name in ("home", "file", "link"):
        with pytest.raises(BundleError, match="choose another place"):
            commit(staging, tmp_path / name)
    assert (home / "thesis.txt").read_text() == "years of work"
    assert Bundle.open(staging).manifest.name == "new"


def test_commit_refuses_the_unfinished(tmp_path):
    (tmp_path / "staging").mkdir()
    with pytest.raises(IntegrityError, match="not finished"):
        commit(tmp_path / "staging", tmp_path / "final")
    assert not (tmp_path / "final").exists()
