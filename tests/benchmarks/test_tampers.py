"""A bundle that was changed is refused, whatever the change; and the count can't be had for nothing."""

import random
import shutil
from pathlib import Path

import pytest

from lilliput import bundle
from lilliput.benchmarks import tampers
from lilliput.errors import BundleError


def test_every_change_is_refused(tiny_bundle: Path) -> None:
    assert tampers.accepted(tiny_bundle, n=200, seed=0) == []
    assert tampers.count_refused(tiny_bundle, n=20, seed=1) == 20


@pytest.mark.parametrize("tamper", tampers.TAMPERS, ids=lambda tamper: tamper.__name__)
def test_every_tamper_changes_something(tamper: tampers.Tamper, tiny_bundle: Path, tmp_path: Path) -> None:
    def contents(folder: Path) -> dict[str, tuple[bool, bytes]]:
        files = (file for file in sorted(folder.rglob("*")) if not file.is_dir())
        return {file.relative_to(folder).as_posix(): (file.is_symlink(), file.read_bytes()) for file in files}

    for seed in range(20):
        copy = Path(shutil.copytree(tiny_bundle, tmp_path / str(seed)))
        assert tamper(copy, random.Random(seed))
        assert contents(copy) != contents(tiny_bundle)
        (tmp_path / "outside").unlink(missing_ok=True)


def test_what_is_not_noticed_is_counted(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "verify", lambda path: [])
    missed = tampers.accepted(tiny_bundle, n=10)
    assert len(missed) == 10
    assert tampers.count_refused(tiny_bundle, n=10) == 0


def test_the_bundle_itself_is_left_alone(tiny_bundle: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in tiny_bundle.rglob("*")}
    tampers.accepted(tiny_bundle, n=20)
    assert {file: file.stat().st_mtime_ns for file in tiny_bundle.rglob("*")} == before


def test_a_broken_bundle_is_no_place_to_start(tiny_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))
    (copy / "config.json").unlink()
    with pytest.raises(BundleError):
        tampers.count_refused(copy, n=10)
