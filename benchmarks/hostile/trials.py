"""What Lilliput makes of an attack: each is tried in a process of its own, whose end tells too.

The processes are forks of one that has imported what `lilliput.load` needs and has opened no model, so that a trial
takes milliseconds. A limit on memory and an alarm stand behind the guards: an attack that reaches them has not been
refused.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lilliput
from lilliput import bundle
from lilliput.benchmarks.hostile import bombs, configs, graphs, manifests, paths, tokenizers, weights
from lilliput.benchmarks.hostile.forge import SECRET, Case, Forge
from lilliput.errors import LilliputError, MissingDependencyError

FAMILIES = {
    "paths": paths.CASES,
    "manifests": manifests.CASES,
    "graphs": graphs.CASES,
    "bombs": bombs.CASES,
    "tokenizers": tokenizers.CASES,
    "weights": weights.CASES,
    "configurations": configs.CASES,
}
SECONDS, MEGABYTES = 2.0, 1024.0
"""What a refusal may take."""
_DEADLINE, _ROOM = 20, 8 << 30  # seconds, and bytes of address space, after which a trial is stopped
_TEXT = "a joy from start to finish"
_EXECUTED = ("pickle.find_class", "os.system", "os.exec", "subprocess.Popen", "socket.connect", "ctypes.dlopen")


@dataclass(frozen=True)
class Outcome:
    """What became of one call.

    Attributes:
        how: "refused", "accepted", "failed" (an error that is not Lilliput's own), "crashed" or "hung".
        message: of the error.
        seconds: that it took.
        megabytes: the most memory that its process had.
        harm: what it did that no bundle should have done: files of the canary that it opened, code that it ran.
    """

    how: str
    message: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0
    harm: tuple[str, ...] = ()

    @property
    def is_refusal(self) -> bool:
        """Refused, quickly and without harm."""
        cheap = self.seconds < SECONDS and self.megabytes < MEGABYTES
        return self.how == "refused" and cheap and not self.harm


@dataclass(frozen=True)
class Trial:
    """An attack and what became of it, when it was loaded and asked, and when it was verified."""

    family: str
    name: str
    opened: bool
    load: Outcome
    verify: Outcome

    @property
    def is_refused(self) -> bool:
        """Both calls refuse it; an attack that `lilliput.load` never opens must do no harm there."""
        harmless = self.load.how == "accepted" and not self.load.harm
        return self.verify.is_refusal and (self.load.is_refusal or (not self.opened and harmless))

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "refused": self.is_refused}


def cases() -> list[tuple[str, Case]]:
    """Every attack, with its family."""
    return [(family, case) for family, some in FAMILIES.items() for case in some]


def try_case(family: str, case: Case, victim: Path, scratch: Path) -> Trial:
    """Build an attack in an empty folder ``scratch``, try it, and remove it."""
    place = scratch / "bundle"
    shutil.copytree(victim, place)
    canary = scratch / "canary" / "secret.txt"
    canary.parent.mkdir()
    canary.write_bytes(SECRET)
    try:
        case.build(Forge(place, canary))
        outcomes = [attempt(call, place, canary) for call in (_ask, bundle.verify)]
    finally:
        shutil.rmtree(scratch)
    return Trial(family, case.name, case.opened, *outcomes)


def attempt(call: Callable[[Path], object], folder: Path, canary: Path) -> Outcome:
    """What becomes of a call on the bundle in ``folder``, in a fork of this process."""
    reader, writer = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(call, folder, canary, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    memory = usage.ru_maxrss / (1 << 10 if sys.platform != "darwin" else 1 << 20)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        how = "hung" if number == signal.SIGALRM else "crashed"
        return Outcome(how, signal.Signals(number).name, seconds, memory)
    if not said:
        return Outcome("crashed", f"exit code {os.waitstatus_to_exitcode(status)}", seconds, memory)
    told = json.loads(said)
    harm = tuple(told["harm"])
    if canary.exists() and canary.read_bytes() != SECRET:
        harm += ("the canary was changed",)
    return Outcome(told["how"], told["message"], told["seconds"], memory, harm)


def _ask(folder: Path) -> object:
    return lilliput.load(folder, workers=1)(_TEXT)


def _child(call: Callable[[Path], object], folder: Path, canary: Path, writer: int) -> None:
    """Make the call, say what came of it, and end this process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_DEADLINE)
    resource.setrlimit(resource.RLIMIT_AS, (_ROOM, _ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    harm: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            if Path(os.fsdecode(arguments[0])).name == canary.name:
                harm.append("the canary was opened")
        elif event in _EXECUTED and (event != "ctypes.dlopen" or str(folder) in str(arguments)):
            harm.append(event)

    sys.addaudithook(watch)
    start = time.perf_counter()
    try:
        call(folder)
        how, message = "accepted", ""
    except MissingDependencyError as error:
        how, message = "failed", str(error)
    except LilliputError as error:
        how, message = "refused", f"{type(error).__name__}: {error}".replace(str(folder), "BUNDLE")
    except BaseException as error:
        how, message = "failed", f"{type(error).__name__}: {error}"
    told = {"how": how, "message": message[:500], "seconds": time.perf_counter() - start, "harm": harm}
    os.write(writer, json.dumps(told).encode())
    os._exit(0)
