"""The parent's side of a benchmark worker: start it, ask it, and always reap it."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from lilliput.errors import LilliputError

STDERR_LINES = 8
GOODBYE_S = 5.0


class Worker:
    """One worker process; a context manager that leaves no process behind.

    It starts at once and loads in the background: several can load at the same time.

    Args:
        name: what error messages call it.
        command: program and arguments; the path of the spec is appended.
        spec: what ``lilliput.benchmarks.worker`` reads.
        folder: where the spec and the worker's standard error are kept.
        limit_s: seconds after which an unanswered request is an error.
    """

    def __init__(
        self, name: str, command: Sequence[str], spec: Mapping[str, Any], folder: Path, limit_s: float
    ) -> None:
        self.name = name
        self._limit_s = limit_s
        self._stderr_path = folder / "stderr.txt"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        self._stderr = self._stderr_path.open("wb")
        try:
            self._process = subprocess.Popen(
                [*command, str(folder / "spec.json")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                start_new_session=True,  # Ctrl-C is for the parent, which then ends its workers
            )
        except OSError as error:
            self._stderr.close()
            raise LilliputError(f"the benchmark worker of {name!r} did not start: {command[0]}: {error}") from error
        self._requests, self._replies = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ready(self) -> dict[str, Any]:
        """Wait for the first line: what the worker loaded."""
        return self._next("load")

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            LilliputError: the worker ended, or took longer than its limit.
        """
        with contextlib.suppress(BrokenPipeError):  # a dead worker is reported by the missing answer
            self._requests.write(json.dumps({"do": do, **request}).encode("ascii") + b"\n")
            self._requests.flush()
        return self._next(do)

    def close(self) -> None:
        """End the process: politely by closing its input, then by force."""
        process = self._process
        try:
            with contextlib.suppress(OSError):
                self._requests.close()
            process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Also on a second Ctrl-C during the wait.
            if process.poll() is None:
                process.kill()
                process.wait()
            self._reader.join(GOODBYE_S)
            self._replies.close()
            self._stderr.close()

    def _read(self) -> None:
        for line in self._replies:
            self._lines.put(line)
        self._lines.put(b"")  # the end

    def _next(self, what: str) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=self._limit_s)
        except queue.Empty:
            raise LilliputError(
                f"the benchmark worker of {self.name!r} did not answer {what!r} in {self._limit_s:g} s;"
                f"{self._last_words()}"
            ) from None
        if not line:
            code = self._process.wait()
            raise LilliputError(
                f"the benchmark worker of {self.name!r} ended with code {code} at {what!r};{self._last_words()}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        text = self._stderr_path.read_text(encoding="utf-8", errors="replace").strip()
        lines = text.splitlines()[-STDERR_LINES:]
        return " its last lines:\n  " + "\n  ".join(lines) if lines else " it wrote no error message"


@contextlib.contextmanager
def started(
    jobs: Sequence[tuple[str, Sequence[str], Mapping[str, Any]]], folder: Path, limit_s: float
) -> Iterator[list[Worker]]:
    """Start one worker per (name, command, spec), and reap all of them however the block ends."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Worker(name, command, spec, folder / f"{index:02d}", limit_s))
            for index, (name, command, spec) in enumerate(jobs)
        ]
