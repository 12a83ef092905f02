"""The commands that need more than one folder."""

from __future__ import annotations

from typing import Any

from lilliput import models
from lilliput.benchmarks import report, table
from lilliput.compressing.compression import compress
from lilliput.config import BenchmarkConfig, DemoConfig, ExportConfig
from lilliput.demo import Demo
from lilliput.errors import ConfigError
from lilliput.reporter import Reporter
from lilliput.runs import Run
from lilliput.steps import (
    command_of,
    data_provenance,
    export_model,
    measure,
    measured_on,
    public_name,
    recipe_beside,
    texts_for_export,
)
from lilliput.train import sources
from lilliput.train.evaluate import Progress

__all__ = ["benchmark", "compress", "demo", "export"]


def export(config: ExportConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Write a bundle of a fine-tuned model to ``config.out``; its parity is checked on the data's validation and
    transfer texts.

    Raises:
        GateError: a graph differs from the torch model by more than its gate allows; nothing is written.
        ModelError, DataError, ConfigError: something given is not usable; see the message.
    """
    dataset = texts_for_export(config)
    source = {"name": public_name(config.model), "revision": config.revision}
    provenance = {"model": source, **data_provenance(config, dataset)}
    result = export_model(config, dataset, provenance, recipe_beside(config.model), progress)
    return {**result, "folder": str(config.out)}


def benchmark(config: BenchmarkConfig, reporter: Reporter | None = None) -> dict[str, Any]:
    """Measure bundles side by side and write ``report.json`` and ``report.html`` to ``config.out``.

    The first bundle is the teacher; it is measured in eager PyTorch and as a plain int8 export as well.

    Returns:
        The report.
    """
    reporter = reporter or Reporter()
    dataset = sources.load(config)
    names = [path.name for path in config.bundles]
    if len(set(names)) < len(names):
        raise ConfigError(f"bundles must have different folder names, but got {', '.join(names)}")
    bundles = dict(zip(names, config.bundles, strict=True))
    with Run(config.out, "benchmark") as run:
        identity = {
            **config.model_dump(mode="json", exclude={"out", "bundles"}),
            "data_fingerprint": dataset.fingerprint,
        }
        identity["bundles"] = {name: models.fingerprint(path) for name, path in bundles.items()}
        identity["measured_on"] = measured_on()
        stage = run.stage(
            "benchmark",
            identity,
            lambda folder: measure(
                bundles,
                dataset,
                folder,
                run=report.RunFacts(command=command_of(config), config=config.model_dump(mode="json")),
                threads=config.threads,
                rounds=config.rounds,
                limit=config.limit,
                seed=config.seed,
                title=f"Benchmark on {dataset.name}",
                progress=reporter.progress,
            ),
        )
        report.write_report(stage.result, config.out)
    reporter.say(table.for_terminal(stage.result))
    return stage.result


def demo(config: DemoConfig, reporter: Reporter | None = None) -> dict[str, Any]:
    """Teacher, students, bundles, benchmark, report; each stage is done once and survives interruption.

    Returns:
        The report, as in ``report.json``.
    """
    return Demo(config, reporter or Reporter()).run()
