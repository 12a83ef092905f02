"""What happens beside the steps: progress, the log, validation after each epoch, and when to stop."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from transformers import TrainerCallback

from lilliput import processes
from lilliput.runs import append_log, write_text
from lilliput.train import checkpoints
from lilliput.train.evaluate import Progress

METRICS = "validation.json"
"""File beside the best weights: their metrics, with step and epoch."""


class Validate(Protocol):
    """Measures a model on the validation split; larger is better."""

    def __call__(self, model: Any) -> dict[str, float]:
        """Named metrics; ``"score"`` is the one that chooses the best model."""
        ...


class Watch(TrainerCallback):
    """Reports progress, logs, measures validation at each epoch's end and keeps the best weights.

    Args:
        folder: the stage's, which holds ``log.jsonl`` and ``checkpoints``.
        patience: epochs without a better score after which training stops; None for never.
        keep: saves the weights as they are as the best, with their metrics.
    """

    def __init__(
        self,
        folder: Path,
        steps_per_epoch: int,
        validate: Validate,
        keep: Callable[[dict[str, float]], None],
        *,
        patience: int | None = None,
        progress: Progress | None = None,
        what: str = "training",
    ) -> None:
        self.folder = folder
        self.steps_per_epoch = steps_per_epoch
        self.validate = validate
        self.keep = keep
        self.patience = patience
        self.progress = progress
        self.what = what

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Tell how far training is; at the end of an epoch, and of training, measure on validation.

        Not in ``on_epoch_end``: that comes after the step's checkpoint, and a run that is killed between the two would
        resume behind the measurement and never make it.
        """
        step = state.global_step
        if self.progress:
            self.progress(step, state.max_steps, f"{self.what}, epoch {self._epoch(step)}")
        if step % self.steps_per_epoch == 0 or step == state.max_steps:
            self._measure(model, step)
            if processes.on_main(lambda: self.is_over(step)):
                control.should_training_stop = control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Keep the loss and the learning rate in the structured log."""
        if logs and "loss" in logs:  # what comes at the end is the time it took, which a resumed run can't know
            append_log(self.folder / "log.jsonl", "train", step=state.global_step, **logs)

    def is_over(self, step: int) -> bool:
        """Whether patience had run out after ``step``.

        Read off the best weights on disk, so that a resumed run decides as the interrupted one did. They may be of a
        step that is still to come: then the interrupted run had gone on here.
        """
        if self.patience is None:
            return False
        best = best_metrics(self.folder)
        return best is not None and step // self.steps_per_epoch - best["epoch"] >= self.patience

    def _measure(self, model: Any, step: int) -> None:
        metrics = {**self.validate(model), "step": step, "epoch": self._epoch(step)}
        if processes.on_main(lambda: self._note(metrics)):
            self.keep(metrics)

    def _note(self, metrics: dict[str, float]) -> bool:
        """Log a measurement; whether it is the best so far."""
        append_log(self.folder / "log.jsonl", "validation", **metrics)
        best = best_metrics(self.folder)
        # A resumed run comes by the same step again: it must not lose to its own earlier measurement.
        return best is None or metrics["score"] > best["score"] or metrics["step"] == best["step"]

    def _epoch(self, step: int) -> int:
        return math.ceil(step / self.steps_per_epoch)


def best_metrics(folder: Path) -> dict[str, float] | None:
    """Validation metrics of the best weights so far, with their step and epoch."""
    best = checkpoints.best(folder / "checkpoints")
    return json.loads((best / METRICS).read_text(encoding="utf-8")) if best else None


def go_back(log: Path, step: int) -> None:
    """Drop the log's lines of later steps than ``step``, since those steps are done again."""
    if not log.exists():
        return
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [
        line for line in lines if line.endswith("}") and json.loads(line).get("step", 0) <= step
    ]  # a kill can cut a line
    write_text(log, "".join(f"{line}\n" for line in kept))
    append_log(log, "resumed", step=step)
