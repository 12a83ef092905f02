"""Search for hyper-parameters on validation: Optuna proposes settings, each trial is a stage of a run of its own.

The study is never stored. It follows from the seed and the scores of the finished trials, so a search that was killed
asks the same questions again and finds the answers on disk; more ``--trials`` later go on where it ended.

References: Bergstra et al. 2011 (tree-structured Parzen estimator); Golovin et al. 2017, section 3.2.2 (median rule).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from lilliput import processes
from lilliput.config import FinetuneConfig
from lilliput.errors import TrainingError
from lilliput.runs import Run, Stage

STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


Told = Callable[[dict[str, float]], None]
"""Called with the metrics of an epoch, ``score`` among them."""

Attempt = Callable[[Path, FinetuneConfig, Told, str], dict[str, float]]
"""Trains in a folder with some settings, under a name, and returns the metrics of the best weights, ``score`` among
them. What it tells after an epoch may raise."""


def search(
    folder: Path, config: FinetuneConfig, facts: dict[str, Any], attempt: Attempt, metric: str
) -> dict[str, Any]:
    """Try ``config.trials`` settings and return the best one, with all that were tried.

    The first trial has the configuration's own settings. Once five are finished, a trial whose best epoch so far is
    below the median of the others at that epoch is given up.

    Args:
        folder: of the run that the trials are stages of.
        facts: whatever else decides the outcome: fingerprints of model and data.
        metric: the name of the metric whose best value is looked for.

    Returns:
        ``settings`` of the ``best`` trial (its number) and its ``metric``; and ``trials``.

    Raises:
        TrainingError: no trial came to its end.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ranges = space(config)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=config.seed),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.enqueue_trial({name: getattr(config, name) for name in ranges})
    tried: list[dict[str, Any]] = []
    with Run(folder, "search") as run:
        for number in range(config.trials):
            trial = study.ask(ranges)
            stage = _stage(run, trial, config, facts, attempt, _said(number, config.trials, best_of(tried), metric))
            _tell(study, trial, stage.result)
            tried.append({"number": number, **stage.result})
    best = best_of(tried)
    if best is None:
        raise TrainingError(f"{folder}: no trial came to its end; the last one: {tried[-1]['why']}")
    return {
        "best": best["number"],
        "settings": best["settings"],
        metric: best["metrics"][metric],
        **{state: sum(one["state"] == state for one in tried) for state in STATES},
        "trials": tried,
    }


def space(config: FinetuneConfig) -> dict[str, BaseDistribution]:
    """What is searched, and where; wider where the configuration's own value lies outside."""
    rate, decay = config.learning_rate, config.layer_decay
    return {
        "learning_rate": FloatDistribution(min(1e-5, rate), max(3e-4, rate), log=True),
        "epochs": IntDistribution(min(2, config.epochs), max(5, config.epochs)),
        "batch_size": CategoricalDistribution(sorted({16, 32, 64, config.batch_size})),
        "warmup": FloatDistribution(0.0, max(0.2, config.warmup)),
        "weight_decay": FloatDistribution(0.0, max(0.1, config.weight_decay)),
        "layer_decay": FloatDistribution(min(0.7, decay), 1.0),
    }


def best_of(tried: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The finished trial of the highest score, the first of several."""
    finished = [one for one in tried if one["state"] == "finished"]
    return max(finished, key=lambda one: one["metrics"]["score"], default=None)


def _stage(
    run: Run, trial: optuna.Trial, config: FinetuneConfig, facts: dict[str, Any], attempt: Attempt, what: str
) -> Stage:
    """One trial, done once. It keeps its configuration, its log and its scores, and no weights."""
    chosen = config.model_copy(update={**trial.params, "trials": 0, "seeds": None})
    written = chosen.model_dump(mode="json")
    identity = {**{name: value for name, value in written.items() if name not in ("out", "save_every")}, **facts}

    def work(folder: Path) -> dict[str, Any]:
        processes.on_main(lambda: _clear(folder))  # one that was cut short begins again: what it told the study is gone
        scores: list[float] = []

        def told(metrics: dict[str, float]) -> None:
            scores.append(processes.on_main(lambda: metrics["score"]))
            trial.report(scores[-1], len(scores))
            if len(scores) < chosen.epochs and trial.should_prune():
                raise optuna.TrialPruned

        result = {"settings": trial.params, "scores": scores}
        try:
            return {**result, "state": "finished", "metrics": attempt(folder, chosen, told, what)}
        except optuna.TrialPruned:
            return {**result, "state": "pruned"}
        except (TrainingError, torch.OutOfMemoryError) as error:  # settings that can't be trained with, here
            return {**result, "state": "failed", "why": str(error)}

    return run.stage(f"{trial.number:03d}", identity, work, config=written)


def _clear(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / "log.jsonl").unlink(missing_ok=True)


def _tell(study: optuna.Study, trial: optuna.Trial, result: dict[str, Any]) -> None:
    """Let the study know how a trial ended, now or in an earlier run."""
    known = study.trials[trial.number].intermediate_values
    for epoch, score in enumerate(result["scores"], start=1):
        if epoch not in known:
            trial.report(score, epoch)
    score = result["metrics"]["score"] if result["state"] == "finished" else None
    study.tell(trial, score, state=STATES[result["state"]])


def _said(number: int, count: int, best: dict[str, Any] | None, metric: str) -> str:
    so_far = f", best {metric} so far {best['metrics'][metric]:.4f}" if best else ""
    return f"trial {number + 1} of {count}{so_far}"
