"""The commands that need more than one folder."""

from __future__ import annotations

from typing import Any

from lilliput import models
from lilliput.benchmarks import contenders, contest, report, table
from lilliput.compressing.compression import compress
from lilliput.config import BenchmarkConfig, DemoConfig, ExportConfig
from lilliput.demo import Demo
from lilliput.reporter import Reporter
from lilliput.runs import Run
from lilliput.steps import (
    command_of,
    data_provenance,
    export_model,
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
    """Measure models side by side and write ``report.json``, ``.html``, ``.md`` and ``.csv`` to ``config.out``.

    The first one is the teacher; it is measured in eager PyTorch and as a plain int8 export as well.

    Returns:
        The report.
    """
    reporter = reporter or Reporter()
    dataset, command = sources.load(config), command_of(config)
    with Run(config.out, "benchmark") as run:
        identity = {
            **config.model_dump(mode="json", exclude={"out", "bundles"}),
            "data_fingerprint": dataset.fingerprint,
        }
        identity["bundles"] = {place: models.fingerprint(contenders.named(place)[1]) for place in config.bundles}
        identity["measured_on"] = measured_on()
        stage = run.stage(
            "benchmark",
            identity,
            lambda folder: contest.hold(
                config,
                dataset,
                folder,
                run=report.RunFacts(command, commands=[command], config=config.model_dump(mode="json")),
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
