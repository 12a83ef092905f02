"""The demo: from the embedded checkpoint to measured bundles, in stages that are done once."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from lilliput import recipes
from lilliput.benchmarks import figures, report, table, tampers
from lilliput.bundle import FORMAT
from lilliput.compress.distillation import distill_stage
from lilliput.config import DataConfig, DemoConfig, DistillConfig, ExportConfig, FinetuneConfig
from lilliput.export.card import write_card
from lilliput.memory import PeakMemory, release
from lilliput.reporter import Reporter
from lilliput.runs import Run, Stage, write_json
from lilliput.steps import command_of, data_provenance, export_model, measure, measured_on, public_name, recipe_beside
from lilliput.train import embedded, sources
from lilliput.train.data import Dataset
from lilliput.train.data_report import render
from lilliput.train.finetuning import adopt_stage, finetune_stage

TAMPERS = 200
"""Random changes to a bundle that ``verify`` must refuse, when a demo's results are published."""


class Demo:
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
        """Do what is not done yet; return the report."""
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
        self._keep_peak()
        release()
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
        identity = {"settings": dict(self.recipe.export), "models": list(trained), "format": FORMAT}

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
        provenance = data_provenance(self.config, self.dataset) | {"model": self._model_provenance()}
        result = export_model(config, self.dataset, provenance, recipe_beside(config.model), self.reporter.progress)
        write_json(record, result)
        return result

    def _model_provenance(self) -> dict[str, Any]:
        if self.config.teacher or self.config.model != "embedded":
            return {"name": public_name(self.config.teacher or self.config.model)}
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

        return self.folder.stage("benchmark", {"rounds": self.recipe.rounds, **measured_on()}, work, [bundles])

    def _run_facts(self) -> report.RunFacts:
        command = command_of(self.config)
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
            made["peak_gb"] = self._peak_bytes() / 1e9
            if self.config.results:
                made["tampers_refused"] = tampers.count_refused(
                    bundles / "student-l2", n=TAMPERS, seed=self.config.seed
                )
            if self.config.data == sources.SENTIMENT:
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

    def _peak_bytes(self) -> int:
        """Peak memory over this process and, where the run was interrupted, those before it."""
        record = self.config.out / "memory.json"
        before = json.loads(record.read_text(encoding="utf-8"))["peak_bytes"] if record.exists() else 0
        return max(before, self.memory.bytes)

    def _keep_peak(self) -> None:
        write_json(self.config.out / "memory.json", {"peak_bytes": self._peak_bytes()})

    def _say_what_next(self, written: Stage) -> None:
        out = shlex.quote(str(self.config.out))
        if written.reused:
            self.reporter.say(Text(f"Nothing to do: {out} is finished."))
        self.reporter.say(table.for_terminal(written.result))
        self.reporter.say(Text(f"Report: {out}/report.html"))
        self.reporter.say(Text("Next, try (with .venv/bin/ before it, where the environment is not active):"))
        self.reporter.say(Text(f'  lilliput predict {out}/bundles/student-l2 "a joy from start to finish"'))
        self.reporter.say(Text(f"  lilliput verify {out}/bundles/student-l2"))
        self.reporter.say(Text("  lilliput distill --help          # your own data and shapes"))
