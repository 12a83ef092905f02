"""One job: a trial on a rung. It is described by JSON values, so that any process on any machine can do it."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from lilliput import models, runtime, tasks
from lilliput.compress import engine
from lilliput.compress.goals import sample_of
from lilliput.compressing import proposals
from lilliput.compressing.bench import Bench, data_of, short_recipe, short_view, view_of
from lilliput.compressing.budget import OutOfTime, Watched
from lilliput.compressing.plan import Plan
from lilliput.compressing.records import FIRST, FULL, SHORT
from lilliput.compressing.situation import Situation, oriented, score_of
from lilliput.config import CompressConfig
from lilliput.errors import RunError
from lilliput.memory import release
from lilliput.reporter import Reporter
from lilliput.runs import Run, Stage
from lilliput.shell import is_disk_full
from lilliput.train.data import Dataset

PATIENCE = 120.0
"""Seconds that a job waits for the folder of its trial: a process of a run that was killed may still hold it."""

Job = Mapping[str, Any]

logger = logging.getLogger(__name__)


class Held(Exception):
    """Another process holds the folder of the trial."""


class Workshop:
    """What the jobs of one search share in a process: the data, and what is known of models that were pruned.

    Args:
        config: of the search, as YAML.
        known: the plan, as JSON values.
    """

    def __init__(self, config: str, known: Mapping[str, Any]) -> None:
        self.config = CompressConfig(**yaml.safe_load(config))
        self.known = Plan.of(known)
        self.planners: dict[str, Any] = {}

    @functools.cached_property
    def dataset(self) -> Dataset:
        """What trials see of the data."""
        return view_of(data_of(self.config), self.known)

    @functools.cached_property
    def short(self) -> Dataset:
        """What the short training reads of it."""
        return short_view(self.dataset, self.known)


@functools.lru_cache(maxsize=1)
def _workshop(config: str, known: tuple[tuple[str, Any], ...]) -> Workshop:
    return Workshop(config, dict(known))


def run_job(job: Job, reporter: Reporter | None = None, parent: int | None = None) -> dict[str, Any]:
    """Do a job.

    Args:
        job: ``config`` and ``plan`` of the search; ``seen``, what was measured; ``trial``, a proposal; ``rung``;
            ``teacher`` and ``reference``, folders of the teacher's model and bundle; ``source`` and
            ``source_speedup``, where the candidate starts from; ``cache``; ``folder`` of the trial; ``deadline``,
            seconds since the epoch or None.
        parent: process that waits for it, if that is this one's own parent.

    Returns:
        ``state``: "finished", with what a `Result` has; "failed", with ``why``; or "stopped", when its time was over or
        another process holds its folder, which ``why`` says then.

    Raises:
        OSError: the disk is full, or the like, which would stop every other trial too.
    """
    watched = Watched(reporter or Reporter(), job["deadline"], parent)
    began = time.monotonic()
    try:
        watched.check()
        with _holding(Path(job["folder"])) as run:
            found = _work(job, run, watched)
    except OutOfTime:
        return {"state": "stopped"}
    except Held as error:
        return {"state": "stopped", "why": str(error)}
    except OSError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), job["folder"]) from error
        # torch and ONNX Runtime have many for what they can't do; one trial is no search
        logger.debug("trial %s failed", job["trial"], exc_info=True)
        return {"state": "failed", "why": (str(error).strip() or type(error).__name__).splitlines()[0]}
    finally:
        release()
    # A stage that went on from its checkpoint has taken longer than this process saw.
    seconds = max(time.monotonic() - began, found.pop("stage_seconds"))
    return {"state": "finished", "seconds": seconds, **found}


def _work(job: Job, run: Run, reporter: Watched) -> dict[str, Any]:
    shop = _workshop(job["config"], tuple(job["plan"].items()))
    rung, settings = job["rung"], job["trial"]["settings"]
    kind = proposals.get(job["trial"]["kind"])
    bench = Bench(
        config=shop.config,
        seen=Situation.of(job["seen"]),
        known=shop.known,
        teacher=Path(job["teacher"]),
        source=Path(job["source"]),
        source_speedup=job["source_speedup"],
        dataset=shop.dataset,
        lessons=shop.short if rung == SHORT and not kind.TRAINED_FIRST else shop.dataset,
        recipe=short_recipe(kind.TRAINED_FIRST) if rung == SHORT else {},
        trial_run=run,
        cache=Path(job["cache"]),
        reporter=reporter,
        planners=shop.planners,
    )
    stage: Stage = kind.begin(bench, settings)
    timed = _timed(bench, stage, Path(job["reference"]))
    reused, seconds = stage.reused and timed.reused, stage.seconds + timed.seconds
    begun = stage
    if rung != FIRST:
        stage = kind.train(bench, settings, begun, "full" if rung == FULL else "short")
        reused, seconds = stage.reused, stage.seconds
    learnt = None
    if rung != FIRST or not kind.TRAINED_FIRST:
        learnt = oriented(stage.result["validation"], bench.dataset.task)
    return {
        "score": _score_of_graph(bench, stage) if rung == FULL else learnt,
        "learnt": learnt,
        "speedup": timed.result["speedup"],
        "bytes": timed.result["bytes"],
        "reused": reused,
        "stage_seconds": seconds,
        "folder": str(stage.folder),
        "facts": _facts(begun, stage),
    }


def _score_of_graph(bench: Bench, stage: Stage) -> float:
    """On validation, of the graph that apps run."""
    config = bench.config

    def work(folder: Path) -> dict[str, Any]:
        bundle = _bundle(bench, stage.folder, folder)
        found = {"score": score_of(bundle, bench.dataset, config.precision)}
        shutil.rmtree(bundle)
        return found

    identity = {"precision": config.precision, "max_length": config.max_length}
    return float(bench.run.stage("answers", identity, work, [stage]).result["score"])


def _timed(bench: Bench, stage: Stage, reference: Path) -> Stage:
    """The candidate's speed and size: in turns with the teacher, as apps run both. Training changes neither."""
    config = bench.config

    def work(folder: Path) -> dict[str, Any]:
        bundle = _bundle(bench, stage.folder, folder)
        texts = sample_of(bench.dataset, config.seed)
        bench.reporter.progress(0, 1, "latency of the candidate")
        with FileLock(str(config.out / ".stopwatch")):  # two that are timed at once would slow each other down
            pair = [reference, bundle]
            timed = engine.compare(pair, texts, precision=config.precision, threads=config.threads)[1]
        size = runtime.load(bundle, precision=config.precision).opened_bytes
        shutil.rmtree(bundle)
        ends = [timed.speedup.low, timed.speedup.high]
        return {"speedup": timed.speedup.value, "interval": ends, "ms": timed.ms, "bytes": size}

    return bench.run.stage("timed", {"precision": config.precision, "threads": config.threads}, work, [stage])


def _bundle(bench: Bench, model: Path, folder: Path) -> Path:
    """A bundle without gates, which an interruption may have left behind."""
    shutil.rmtree(folder / "bundle", ignore_errors=True)
    task, config = tasks.get(bench.dataset.task), bench.config
    texts = sample_of(bench.dataset, config.seed)
    return engine.runnable(
        models.load_finetuned(task, model),
        models.load_tokenizer(model),
        config.precision,
        texts,
        folder / "bundle",
        max_length=config.max_length,
    )


def _facts(begun: Stage, stage: Stage) -> dict[str, Any]:
    """What people want to know of a model: parameters, shape, what stays of each block."""
    result, pruning = stage.result, begun.result.get("pruning", {})
    blocks = pruning.get("blocks")
    return {
        "parameters": result.get("parameters"),
        "shape": result.get("shape"),
        **({"blocks": blocks} if blocks else {}),
        **({"achieved": pruning["achieved"], "target": pruning["target"]} if pruning else {}),
    }


@contextlib.contextmanager
def _holding(folder: Path) -> Iterator[Run]:
    """The run of a trial; waits while another process holds it."""
    run, until = Run(folder, "trial"), time.monotonic() + PATIENCE
    while True:
        try:
            run.__enter__()
            break
        except RunError as error:
            if time.monotonic() > until:
                raise Held(str(error)) from error
            time.sleep(1.0)
    try:
        yield run
    finally:
        run.__exit__()
