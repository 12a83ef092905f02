"""Who is told how long work goes. This one tells nobody; the terminal is another."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import RenderableType


class Reporter:
    """What a long command tells while it works; every method may be overridden."""

    def plan(self, seconds: Mapping[str, float]) -> None:
        """The stages to come and what each usually takes."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def finish(self, name: str, reused: bool, seconds: float) -> None:
        """A stage is finished, now or in an earlier run."""

    def progress(self, done: int, total: int, what: str) -> None:
        """``done`` of ``total`` steps of ``what`` are done."""

    def say(self, message: RenderableType) -> None:
        """Something for the user to read."""
