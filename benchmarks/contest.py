"""One benchmark from its contenders to its report: who can run here, the single stream, then the other scenarios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lilliput.benchmarks import contenders, entries, latency, providers, report, scenarios
from lilliput.benchmarks.bench import Bench, reason_of, spec_of
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.measured import Result
from lilliput.benchmarks.peers import tfidf
from lilliput.benchmarks.report import RunFacts
from lilliput.benchmarks.workers import Worker
from lilliput.config import BenchmarkConfig
from lilliput.errors import ConfigError, LilliputError
from lilliput.train.data import Dataset

Progress = Callable[[int, int, str], None]

ALWAYS_MISSING = ("Latency on a phone and in a browser.",)
REFERENCES = ("teacher_int8", "teacher_eager")
"""Roles that ratios of scenarios are over, the harder one first."""


def hold(
    config: BenchmarkConfig, dataset: Dataset, folder: Path, run: RunFacts, progress: Progress | None = None
) -> dict[str, Any]:
    """Measure what a configuration names, and return the report.

    Args:
        folder: for workers' files and the plain export.
        run: the command; what it could not measure is added to its list.

    Raises:
        BundleError, ModelError, ConfigError: a model can't be used, or its labels are not the data's.
        LilliputError: a model failed in the single stream, which accuracy rests on.
    """
    chosen = list(dict.fromkeys(config.scenario))
    for name in chosen:
        scenarios.get(name)  # refused before anything is measured
    test = dataset.test if config.limit is None else dataset.subset(test=config.limit, seed=config.seed).test
    found = [contenders.find(place, dataset.label_names) for place in config.bundles]
    measured, absent = _entries(config, found, dataset, folder)
    teacher = _teacher(measured)
    result = latency.run(
        measured,
        test.texts,
        threads=config.threads,
        rounds=config.rounds,
        folder=folder,
        on_progress=progress,
        labels=dataset.label_names,
    )
    column = (config.slice_column, test.slices) if config.slice_column else None
    rows = report.rows(result, measured, test.labels, dataset.label_names, teacher=teacher, column=column)
    seen = _scenarios(chosen, config, measured, result, folder, progress)
    return report.build_report(
        rows,
        result,
        title=f"Benchmark on {dataset.name}",
        data={
            "name": dataset.name,
            "split": "test",
            "n_test": len(test),
            "fingerprint": dataset.fingerprint,
            "report": dataset.report.to_dict(),
        },
        run=replace(run, not_measured=[*absent, *_never(chosen, config)]),
        scenarios=seen,
    )


def _entries(
    config: BenchmarkConfig, found: Sequence[contenders.Contender], dataset: Dataset, folder: Path
) -> tuple[list[Entry], list[str]]:
    """What is measured, and in words what can't be here."""
    usable, absent = ["cpu"], []
    for provider in dict.fromkeys(config.provider):
        why = None if provider == "cpu" else _fault_of(provider, config, found, folder)
        if why:
            absent.append(f"Provider {provider}: {why}.")
        elif provider not in usable:
            usable.append(provider)
    train = tfidf.write_train(dataset.train.texts, dataset.train.labels, folder / "tfidf-train.json")
    measured = contenders.entries_of(found, folder, (config.seed,), usable)
    return [*measured, entries.of_tfidf(train, dataset.label_names)], absent


def _fault_of(
    provider: str, config: BenchmarkConfig, found: Sequence[contenders.Contender], folder: Path
) -> str | None:
    """Why no bundle can run on a provider here; None where the first bundle does."""
    bundles = [one for one in found if one.is_bundle]
    if why := providers.missing(provider):
        return why
    if not bundles:
        return "only bundles run on it, and none is measured"
    entry = entries.of_bundle(bundles[0].folder, bundles[0].name, bundles[0].precisions[0], provider=provider)
    try:
        where = folder / "workers-provider" / provider
        with Worker(entry.name, entry.command, spec_of(entry, config.threads), where, 300.0) as worker:
            worker.ready()
    except LilliputError as error:
        return reason_of(error)
    return None


def _teacher(measured: Sequence[Entry]) -> str:
    """Name of the entry whose accuracy can be retained."""
    for role in ("teacher_fp32", "teacher_eager"):
        for entry in measured:
            if entry.role == role:
                return entry.name
    raise ConfigError("bundles is missing: the first one is the teacher")


def _scenarios(
    chosen: Sequence[str],
    config: BenchmarkConfig,
    measured: Sequence[Entry],
    result: Result,
    folder: Path,
    progress: Progress | None,
) -> dict[str, Mapping[str, Any]]:
    named = {entry.role: entry.name for entry in measured}
    reference = next((named[role] for role in REFERENCES if role in named), None)
    found: dict[str, Mapping[str, Any]] = {}
    for number, name in enumerate(chosen):
        bench = Bench(
            entries=measured,
            texts=result.texts,
            result=result,
            reference=reference,
            folder=folder / "scenarios",
            threads=config.threads,
            rounds=config.rounds,
            seed=config.seed,
            bound_ms=config.latency_bound,
            tell=_teller(progress, number, len(chosen)),
        )
        found[name] = scenarios.get(name).measure(bench).to_dict()
    return found


def _teller(progress: Progress | None, number: int, total: int) -> Callable[[str], None]:
    def tell(what: str) -> None:
        if progress:
            progress(number, total, what)

    return tell


def _never(chosen: Sequence[str], config: BenchmarkConfig) -> list[str]:
    """What this run did not look at."""
    gpu = [] if set(config.provider) & {"cuda", "tensorrt", "directml"} else ["Latency on a GPU (--provider cuda)."]
    left = [name for name in scenarios.names() if name not in chosen]
    words = [f"Scenarios that were not asked for (--scenario): {', '.join(left)}."] if left else []
    return [*gpu, *ALWAYS_MISSING, *words]
