"""A failing disk, or a dying process, at any write, flush or rename of a save costs that save and nothing else."""

import builtins
import contextlib
import errno
import hashlib
import io
import itertools
import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
import transformers.modeling_utils
from safetensors import SafetensorError

from lilliput.shell import DISK_FULL, message_of
from lilliput.train import checkpoints

pytestmark = pytest.mark.usefixtures("quick_training")

STEP = 3  # the end of the first epoch: the best weights are saved, a third checkpoint is, and the first is deleted


class Crash(BaseException):
    """The process is dead."""


def no_space(path, by):
    """What Python, torch and safetensors raise where a disk is full."""
    if by == "torch.save":
        return RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
    if by == "safe_save_file":
        return SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


FAULTS = {
    "EIO": lambda path, by: OSError(errno.EIO, os.strerror(errno.EIO), str(path)),
    "ENOSPC": no_space,
    "crash": lambda path, by: Crash(by),
}


class Disk:
    """Counts the operations on files below a folder, once it is armed, and fails in the one of a number.

    A write that fails leaves half of what it should have written; after a crash nothing is done any more.
    """

    def __init__(self, folder, number, fault):
        self.folder, self.number, self.fault = folder, number, FAULTS[fault]
        self.armed, self.dead, self.met = False, False, []

    def fails(self, path, by):
        if not self.armed or not Path(path).is_relative_to(self.folder):
            return False
        if self.dead:
            raise Crash("dead")
        self.met.append(by)
        return len(self.met) == self.number

    def fail(self, path, by):
        error = self.fault(path, by)
        self.dead = isinstance(error, Crash)
        raise error

    def guard(self, original, by, place=0):
        """The operation ``original``, whose path is its argument at ``place``."""

        def call(*arguments, **options):
            path = arguments[place]
            if self.fails(path, by):
                if by in ("torch.save", "safe_save_file"):
                    Path(path).write_bytes(b"half")
                with contextlib.suppress(OSError) if options.get("ignore_errors") else contextlib.nullcontext():
                    self.fail(path, by)
                return None
            return original(*arguments, **options)

        return call

    def fsync(self, descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()  # and no more: no test unplugs the machine
        if self.fails(path, "fsync"):
            self.fail(path, "fsync")

    def open(self, original):
        def call(path, mode="r", *arguments, **options):
            file = original(path, mode, *arguments, **options)
            if isinstance(path, (str, Path)) and set(mode) & set("wax+"):
                write = file.write

                def guarded(content):
                    if self.fails(path, "write"):
                        write(content[: len(content) // 2])
                        file.flush()
                        self.fail(path, "write")
                    return write(content)

                with contextlib.suppress(AttributeError):
                    file.write = guarded
            return file

        return call

    @contextlib.contextmanager
    def __call__(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "save", self.guard(torch.save, "torch.save", 1))
            save_file = transformers.modeling_utils.safe_save_file
            patch.setattr(transformers.modeling_utils, "safe_save_file", self.guard(save_file, "safe_save_file", 1))
            for owner, name in ((Path, "rename"), (Path, "replace"), (Path, "mkdir"), (shutil, "rmtree")):
                patch.setattr(owner, name, self.guard(getattr(owner, name), name))
            patch.setattr(os, "fsync", self.fsync)
            opened = self.open(io.open)
            patch.setattr(io, "open", opened)
            patch.setattr(builtins, "open", opened)
            yield


@pytest.fixture(scope="module")
def _begun():
    return {}


@pytest.fixture
def begun(_begun, fit, tmp_path, tmp_path_factory):
    """A fresh copy of a run that was interrupted in step 3, with checkpoints of steps 1 and 2."""
    if "folder" not in _begun:
        _begun["folder"] = tmp_path_factory.mktemp("begun")
        with pytest.raises(Crash):
            fit(_begun["folder"], save_every=1, objective=dying_after(STEP - 1))
    return lambda name: Path(shutil.copytree(_begun["folder"], tmp_path / str(name)))


def dying_after(step, disk=None, first=1):
    """An objective that dies once that step is done, and arms the disk for it; ``first`` is the step it begins with."""
    steps = itertools.count(first)

    def objective(model, batch):
        now = next(steps)
        if disk:
            disk.armed = now == step
        if now > step:
            raise Crash("after the step")
        return model(**batch).loss

    return objective


def state_of(folder):
    """What a folder holds, but for times and what is never read again."""
    files = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        # training_args.bin has the folder's own path in it, and so its hash in the seal.
        if path.is_file() and checkpoints.WRITING not in name and path.name not in ("training_args.bin", "seal.json"):
            files[name] = re.sub(rb'"time": [0-9.]+', b"", path.read_bytes())
    return json.dumps({name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())})


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_anywhere_in_a_save_leaves_a_run_that_ends_as_if_nothing_had_happened(fit, begun, expected, fault):
    ended = set()
    for number in itertools.count(1):
        folder = begun(number)
        disk = Disk(folder, number, fault)
        with disk(), pytest.raises((Crash, OSError, RuntimeError, SafetensorError)) as caught:
            fit(folder, save_every=1, objective=dying_after(STEP, disk, first=STEP))
        if len(disk.met) < number:
            break
        failed = disk.met[-1] if fault == "crash" else disk.met[number - 1]
        if fault == "ENOSPC" and not isinstance(caught.value, Crash):
            assert DISK_FULL in message_of(caught.value), failed
        assert checkpoints.step_of(checkpoints.newest(folder / "checkpoints")) in (STEP - 1, STEP), failed
        state = state_of(folder)
        if state not in ended:  # the same files end in the same way
            assert fit(folder, save_every=1) == expected, failed
            ended.add(state)
    assert Counter(disk.met) >= Counter({"write": 8, "fsync": 20, "rename": 2, "replace": 3, "torch.save": 4})
    assert 3 <= len(ended) <= 12
