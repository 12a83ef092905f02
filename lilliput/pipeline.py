"""The folders composed: commands that need more than one of them."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lilliput import models, recipes
from lilliput.benchmarks import entries, figures, latency, report, table, tampers
from lilliput.benchmarks.entries import Entry
from lilliput.benchmarks.peers import plain_onnx_int8, tfidf
from lilliput.bundle import Bundle
from lilliput.compress.distillation import distill_stage
from lilliput.config import BenchmarkConfig, DataConfig, DemoConfig, DistillConfig, ExportConfig, FinetuneConfig
from lilliput.errors import ConfigError
from lilliput.export.card import write_card
from lilliput.export.to_bundle import to_bundle
from lilliput.memory import PeakMemory
from lilliput.reporter import Reporter
from lilliput.runs import Run, Stage, write_json
from lilliput.train import embedded, sources
from lilliput.train.data import Dataset
from lilliput.train.data_report import render
from lilliput.train.evaluate import Progress, logits_of
from lilliput.train.finetuning import adopt_stage, finetune_stage

SAMPLES = 256
"""Training texts that show the quantizer how large activations are."""

TAMPERS = 200
"""Random changes to a bundle that ``verify`` must refuse, when a demo's results are published."""


def export(config: ExportConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Write a bundle of a fine-tuned model to ``config.out``; its parity is checked on the data's validation and
    transfer texts.

    Raises:
        GateError: a graph differs from the torch model by more than its gate allows; nothing is written.
        ModelError, DataError, ConfigError: something given is not usable; see the message.
    """
    dataset = sources.load(config)
    source = {"model": config.model, "revision": config.revision}
    result = _export(config, dataset, {"source": source, **_data_provenance(config, dataset)}, {}, progress)
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
        stage = run.stage(
            "benchmark",
            identity,
            lambda folder: measure(
                bundles,
                dataset,
                folder,
                run=report.RunFacts(command="lilliput benchmark", config=config.model_dump(mode="json")),
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


def measure(
    bundles: Mapping[str, Path],
    dataset: Dataset,
    folder: Path,
    *,
    run: report.RunFacts,
    title: str,
    threads: int = 1,
    rounds: int = 10,
    limit: int | None = None,
    seed: int = 0,
    smoke: bool = False,
    gates: Sequence[Mapping[str, Any]] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The report on bundles, the first of which is the teacher, and on what they are compared with."""
    test = dataset.test if limit is None else dataset.subset(test=limit, seed=seed).test
    measured = _entries(bundles, dataset, folder, seed)
    result = latency.run(
        measured,
        test.texts,
        threads=threads,
        rounds=rounds,
        folder=folder,
        all_cores=not smoke,
        on_progress=progress,
    )
    teacher = next(entry.name for entry in measured if entry.role == "teacher_fp32")
    return report.build_report(
        report.rows(result, measured, test.labels, dataset.label_names, teacher=teacher),
        result,
        title=title,
        data={
            "name": dataset.name,
            "split": "test",
            "n_test": len(test),
            "fingerprint": dataset.fingerprint,
            "report": dataset.report.to_dict(),
        },
        run=run,
        smoke=smoke,
        gates=gates,
    )


def _entries(bundles: Mapping[str, Path], dataset: Dataset, folder: Path, seed: int) -> list[Entry]:
    """Every bundle in each precision; the teacher also in eager PyTorch and as a plain export; and the sanity floor."""
    found: list[Entry] = []
    teacher = next(iter(bundles))
    for name, path in bundles.items():
        manifest = Bundle.open(path).manifest
        if tuple(label.lower() for label in manifest.labels) != tuple(label.lower() for label in dataset.label_names):
            raise ConfigError(
                f"{path}: answers {', '.join(manifest.labels)}, but the data's labels are "
                f"{', '.join(dataset.label_names)}"
            )
        if name == teacher:
            plain = plain_onnx_int8.build(path, folder / "plain-int8", max_length=manifest.max_length)
            found.append(entries.of_torch_eager(path, name, max_length=manifest.max_length, seeds=(seed,)))
            found.append(entries.of_plain_onnx_int8(plain, name, seeds=(seed,)))
        for precision in manifest.graphs:
            role = "student" if name != teacher else "teacher_fp32" if precision == "fp32" else "teacher"
            found.append(entries.of_bundle(path, name, precision, role=role, seeds=(seed,)))
    train = tfidf.write_train(dataset.train.texts, dataset.train.labels, folder / "tfidf-train.json")
    return [*found, entries.of_tfidf(train, dataset.label_names)]


def _export(
    config: ExportConfig,
    dataset: Dataset,
    provenance: Mapping[str, Any],
    recipe: Mapping[str, Any],
    progress: Progress | None,
) -> dict[str, Any]:
    tokenizer = models.load_tokenizer(config.model, config.revision)
    model = models.load_finetuned_classifier(config.model, config.revision)
    models.check_length(model, config.max_length)
    models.match_labels(model, dataset.label_names, config.model)
    tokenizer.model_max_length = config.max_length
    texts = gate_texts(dataset, config.gate_texts, config.seed)
    reference = logits_of(
        model, tokenizer, texts, config.max_length, progress=progress, what="torch reads the gate texts"
    )
    samples = random.Random(config.seed).sample(dataset.train.texts, min(SAMPLES, len(dataset.train.texts)))
    return to_bundle(
        model,
        tokenizer,
        config,
        texts,
        reference,
        samples=samples,
        provenance=dict(provenance),
        recipe=dict(recipe),
        progress=progress,
    )


def gate_texts(dataset: Dataset, transfer: int, seed: int) -> list[str]:
    """What the parity gates read: all validation texts and a sample of the transfer texts; never a test text."""
    sample = random.Random(seed).sample(dataset.transfer, min(transfer, len(dataset.transfer)))
    return [*dataset.validation.texts, *sample]


def _data_provenance(config: DataConfig, dataset: Dataset) -> dict[str, Any]:
    data: dict[str, Any] = {"name": dataset.name, "fingerprint": dataset.fingerprint}
    if config.data == sources.SENTIMENT:
        data |= {"licence": embedded.SENTIMENT.licence, "citation": embedded.SENTIMENT.citation}
    return {"data": data}


def demo(config: DemoConfig, reporter: Reporter | None = None) -> dict[str, Any]:
    """Teacher, students, bundles, benchmark, report; each stage is done once and survives interruption.

    Returns:
        The report, as in ``report.json``.
    """
    return _Demo(config, reporter or Reporter()).run()


class _Demo:
    """One demo run: its configuration and recipe, and the data that its stages read."""

    def __init__(self, config: DemoConfig, reporter: Reporter) -> None:
        self.config = config
        self.reporter = reporter
        self.recipe = recipes.SMOKE if config.fast else recipes.FULL
        self.common = config.model_dump(include=set(DataConfig.model_fields)) | {"out": config.out}
        self.folder = Run(config.out, "demo")
        self.memory = PeakMemory()
        self.dataset: Dataset

    def run(self) -> dict[str, Any]:
        with self.folder, self.memory:
            self.reporter.plan(self.recipe.seconds)
            dataset = sources.load(self.config)
            subset = self.recipe.subset
            self.dataset = dataset.subset(**subset, seed=self.config.seed) if subset else dataset
            data = self._do("data", self._data)
            teacher = self._do("teacher", self._teacher)
            students: dict[str, Stage] = {}
            for name in self.recipe.students:
                students[name] = self._do(name, functools.partial(self._student, name, teacher, students))
            bundles = self._do("bundles", lambda: self._bundles({"teacher": teacher, **students}))
            measured = self._do("benchmark", lambda: self._benchmark(bundles))
            stages = [data, teacher, *students.values(), bundles, measured]
            written = self._do("report", lambda: self._report(stages))
        self._say_what_next(written)
        return written.result

    def _do(self, name: str, work: Callable[[], Stage]) -> Stage:
        self.reporter.stage(name)
        stage = work()
        self.reporter.finish(name, stage.reused, stage.seconds)
        return stage

    def _data(self) -> Stage:
        identity = {"data": self.config.data, "fingerprint": self.dataset.fingerprint}
        stage = self.folder.stage("data", identity, lambda folder: self.dataset.report.to_dict())
        self.reporter.say(render(self.dataset.report))
        return stage

    def _teacher(self) -> Stage:
        if self.config.teacher:
            return adopt_stage(self.folder, "teacher", self.config.teacher, self.dataset)
        settings = {**self.common, "model": self.config.model, "device": self.config.device, **self.recipe.teacher}
        config = FinetuneConfig(**settings)
        return finetune_stage(self.folder, "teacher", config, self.dataset, self.reporter.progress)

    def _student(self, name: str, teacher: Stage, before: Mapping[str, Stage]) -> Stage:
        settings = {**self.common, "teacher": str(teacher.folder), "device": self.config.device}
        settings |= self.recipe.students[name]
        if initial := settings.get("initial_model"):
            settings["initial_model"] = str(before[initial].folder)
        config = DistillConfig(**settings)
        return distill_stage(self.folder, name, config, self.dataset, self.reporter.progress)

    def _bundles(self, trained: Mapping[str, Stage]) -> Stage:
        identity = {"settings": dict(self.recipe.export), "models": list(trained)}

        def work(folder: Path) -> dict[str, Any]:
            return {name: self._bundle(name, stage, folder) for name, stage in trained.items()}

        return self.folder.stage("bundles", identity, work, list(trained.values()))

    def _bundle(self, name: str, trained: Stage, folder: Path) -> dict[str, Any]:
        """Export one model, unless an interrupted run has done so already."""
        record = folder / f"{name}.json"
        if record.exists():
            return json.loads(record.read_text(encoding="utf-8"))
        settings = {
            **self.common,
            "model": str(trained.folder),
            "name": name,
            "out": folder / name,
            **self.recipe.export,
        }
        config = ExportConfig(**settings)
        provenance = _data_provenance(self.config, self.dataset) | {"model": self._model_provenance()}
        recipe = yaml.safe_load((trained.folder / "config.yaml").read_text(encoding="utf-8"))
        recipe = {key: value for key, value in recipe.items() if key not in ("out", "teacher", "save_every")}
        if recipe.get("initial_model"):  # a folder of this run
            recipe["initial_model"] = Path(recipe["initial_model"]).name
        result = _export(config, self.dataset, provenance, recipe, self.reporter.progress)
        write_json(record, result)
        return result

    def _model_provenance(self) -> dict[str, Any]:
        if self.config.teacher or self.config.model != "embedded":
            return {"name": self.config.teacher or self.config.model}
        checkpoint = embedded.CHECKPOINT
        return {"name": checkpoint.name, "licence": checkpoint.licence, "citation": checkpoint.citation}

    def _benchmark(self, bundles: Stage) -> Stage:
        gates = [{"name": name, **parity} for name, exported in bundles.result.items() for parity in exported["parity"]]

        def work(folder: Path) -> dict[str, Any]:
            return measure(
                {name: bundles.folder / name for name in bundles.result},
                self.dataset,
                folder,
                run=self._run_facts(),
                rounds=self.recipe.rounds,
                seed=self.config.seed,
                smoke=self.config.fast,
                title=f"Lilliput demo: {self.dataset.name}",
                gates=gates,
                progress=self.reporter.progress,
            )

        return self.folder.stage("benchmark", {"rounds": self.recipe.rounds}, work, [bundles])

    def _run_facts(self) -> report.RunFacts:
        command = "lilliput demo" + (" --fast" if self.config.fast else "") + f" --out {self.config.out.name}"
        floor = recipes.TEACHER_FLOOR if self.config.data == sources.SENTIMENT else None
        return report.RunFacts(
            command=command,
            commands=[command],
            config={"demo": self.config.model_dump(mode="json", exclude={"out", "results"}), **self.recipe.as_dict()},
            teacher_floor=floor,
        )

    def _report(self, stages: Sequence[Stage]) -> Stage:
        identity = {"publish": self.config.results is not None}

        def work(folder: Path) -> dict[str, Any]:
            bundles = self.config.out / "bundles"
            made = {**stages[-1].result, "minutes": sum(stage.seconds for stage in stages) / 60}
            made["peak_gb"] = self._peak_gb()
            if self.config.results:
                made["tampers_refused"] = tampers.count_refused(
                    bundles / "student-l2", n=TAMPERS, seed=self.config.seed
                )
            made["figures"] = figures.figures(made, figures.demo_targets())
            report.write_report(made, self.config.out)
            for name in stages[-2].result:
                write_card(bundles / name, made)
            return made

        stage = self.folder.stage("report", identity, work, [stages[-1]])
        # These lie outside the stage's folder: they may have been deleted, or be asked for at a new place.
        if not all((self.config.out / name).exists() for name in ("report.json", "report.html")):
            report.write_report(stage.result, self.config.out)
        if self.config.results:
            write_json(self.config.results, stage.result)
        return stage

    def _peak_gb(self) -> float:
        """Peak memory over this process and, where the run was interrupted, those before it."""
        record = self.config.out / "memory.json"
        before = json.loads(record.read_text(encoding="utf-8"))["peak_bytes"] if record.exists() else 0
        write_json(record, {"peak_bytes": max(before, self.memory.bytes)})
        return max(before, self.memory.bytes) / 1e9

    def _say_what_next(self, written: Stage) -> None:
        out = self.config.out
        if written.reused:
            self.reporter.say(f"Nothing to do: {out} is finished.")
        self.reporter.say(table.for_terminal(written.result))
        self.reporter.say(f"Report: {out / 'report.html'}")
        self.reporter.say("Next, try:")
        self.reporter.say(f'  lilliput predict {out}/bundles/student-l2 "a joy from start to finish"')
        self.reporter.say(f"  lilliput verify {out}/bundles/student-l2")
        self.reporter.say("  lilliput distill --help          # your own data and shapes")
