"""What a person sees while a command works: a progress bar, the stage, an estimate of the time left."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, RenderableType
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from lilliput.reporter import Reporter

PLAIN_INTERVAL = 15.0
"""Seconds between two lines where there is no terminal to draw a bar on."""


class Terminal(Reporter):
    """Draws progress on a console; without a terminal it writes a line now and then.

    A run of several stages announces them with :meth:`plan`; the estimate of the time left is then that of the stages
    to come, scaled by how this machine has kept to the plan so far.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, left="")
        self._planned: dict[str, float] = {}
        self._stage = ""
        self._finished = 0.0  # planned seconds of the stages finished in this process
        self._spent = 0.0  # seconds that they took
        self._stage_began = 0.0
        self._last_line = 0.0

    def __enter__(self) -> Terminal:
        quiet_libraries(self.console)
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:  # without one it was not started, and stopping it would print an empty line
            self._bar.stop()
        if kind is KeyboardInterrupt:
            self.say("interrupted; run the same command again to go on")

    def plan(self, seconds: Mapping[str, float]) -> None:
        """Announce the stages to come and what each takes on a 2-core machine."""
        self._planned = dict(seconds)
        minutes = sum(seconds.values()) / 60
        self.say(
            f"{len(seconds)} stages, about {minutes:.0f} minutes on two recent cores where none is finished yet. "
            "Interrupt and run again at any time."
        )

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._stage = name
        self._stage_began = time.monotonic()
        self.say(f"[bold]{name}[/]")

    def finish(self, name: str, reused: bool, seconds: float) -> None:
        """A stage is finished, now or in an earlier run."""
        planned = self._planned.pop(name, 0.0)
        if reused:
            self.say(f"  {name}: finished before, reused")
        else:
            self._finished += planned
            self._spent += time.monotonic() - self._stage_began
            self.say(f"  {name}: {seconds:.0f} s")

    def progress(self, done: int, total: int, what: str) -> None:
        """``done`` of ``total`` steps of ``what`` are done."""
        left = self._left_text()
        if self.console.is_terminal:
            self._bar.update(self._task, description=what, completed=done, total=total, left=left)
        elif time.monotonic() - self._last_line > PLAIN_INTERVAL:
            self._last_line = time.monotonic()
            self.say(f"  {what}: {done} of {total}{left}")

    def say(self, message: RenderableType) -> None:
        """Write a line, or something that rich renders, above the bar."""
        (self._bar.console if self.console.is_terminal else self.console).print(
            message, soft_wrap=isinstance(message, Text)
        )

    def _left_text(self) -> str:
        """Time left over all planned stages: what they usually take, scaled by how long the finished ones took."""
        if not self._planned:
            return ""
        pace = self._spent / self._finished if self._finished > 30 else 1.0
        current = self._planned.get(self._stage, 0.0) * pace
        here = max(current - (time.monotonic() - self._stage_began), 0.0)
        left = here + pace * sum(seconds for name, seconds in self._planned.items() if name != self._stage)
        return f", about {left / 60:.0f} min left" if left > 90 else f", about {left:.0f} s left"


def quiet_libraries(console: Console) -> None:
    """Keep the libraries' own bars and chatter off the terminal; warnings of ours go through ``console``."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    warnings.filterwarnings("ignore", category=UserWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_path=False, show_time=False)],
    )
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
