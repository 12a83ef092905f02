"""Several seeds of one training: what they have in common, and how far apart they are."""

from __future__ import annotations

import statistics as standard
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from lilliput import statistics
from lilliput.runs import Stage
from lilliput.train.evaluation import PREDICTIONS


def summarise(stages: Mapping[int, Stage]) -> dict[str, Any]:
    """Metrics of each seed, their mean and sample standard deviation, ``sqrt(Σ (x - mean)² / (n - 1))``.

    Returns:
        ``runs``, one a seed; ``mean`` and ``sd`` of ``validation`` and ``test`` metrics (no ``sd`` of one seed); and
        ``pooled``, see :func:`pooled`.
    """
    runs = [{"seed": seed, "folder": str(stage.folder), **_kept(stage.result)} for seed, stage in stages.items()]
    mean: dict[str, Any] = {}
    sd: dict[str, Any] = {}
    for split in ("validation", "test"):
        values = {name: [run[split][name] for run in runs] for name in runs[0][split]}
        mean[split] = {name: standard.fmean(some) for name, some in values.items()}
        sd[split] = {name: standard.stdev(some) for name, some in values.items() if len(some) > 1}
    return {"task": runs[0]["task"], "runs": runs, "mean": mean, "sd": sd, "pooled": pooled(stages)}


def pooled(stages: Mapping[int, Stage]) -> dict[str, Any] | None:
    """Accuracy over the test rows of all seeds, with Wilson's 95% interval.

    None where two seeds have a test row in common, or where an answer is not one label out of several: rows count as
    independent, and right or wrong.
    """
    tables = [pyarrow.parquet.read_table(stage.folder / PREDICTIONS) for stage in stages.values()]
    one_label = all(
        pyarrow.types.is_string(table["gold"].type) and "accuracy" in stage.result["test"]
        for table, stage in zip(tables, stages.values(), strict=True)
    )
    ids = [place for table in tables for place in table["id"].to_pylist()]
    if not one_label or len(set(ids)) < len(ids):
        return None
    correct = np.concatenate([np.array(t["gold"].to_pylist()) == np.array(t["prediction"].to_pylist()) for t in tables])
    found = statistics.accuracy(correct)
    return {"n": len(ids), "accuracy": found.value, "ci": [found.low, found.high]}


def in_words(result: Mapping[str, Any]) -> str:
    """A line on a fine-tuning: of one model its validation metrics, of several seeds what they are on test, as
    ``accuracy 0.876 ± 0.004``, mean and standard deviation."""
    if "runs" not in result:
        return "validation: " + ", ".join(f"{name} {value:.3f}" for name, value in result["validation"].items())
    sd = result["sd"]["test"]
    figures = ", ".join(
        f"{name} {value:.3f}" + (f" ± {sd[name]:.3f}" if name in sd else "")
        for name, value in result["mean"]["test"].items()
    )
    pool = result["pooled"]
    more = f"; pooled accuracy {pool['accuracy']:.3f} ({pool['ci'][0]:.3f} to {pool['ci'][1]:.3f})" if pool else ""
    count = len(result["runs"])
    return f"test over {count} seed{'s' * (count != 1)}: {figures}{more}"


def _kept(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in ("task", "validation", "best_epoch", "test", "n_test")}
