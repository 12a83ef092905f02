"""``lilliput compress`` from teacher to report, in stages that are done once."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from lilliput import encoder, machine, models, processes, tasks
from lilliput.benchmarks import table
from lilliput.compress import engine
from lilliput.compress.goals import sample_of
from lilliput.compressing import family, plan, results, situation
from lilliput.compressing.bench import data_of, view_of, without_test
from lilliput.compressing.budget import Budget, OutOfTime, Watched
from lilliput.compressing.family import BUNDLE
from lilliput.compressing.plan import Plan
from lilliput.compressing.recommendation import Wanted
from lilliput.compressing.records import Ledger
from lilliput.compressing.search import TRIALS, Places, Search
from lilliput.compressing.shipping import Shipping, provenance
from lilliput.compressing.situation import Situation
from lilliput.compressing.teaching import read_texts
from lilliput.config import CompressConfig, DataConfig, FinetuneConfig
from lilliput.errors import ConfigError, LilliputError
from lilliput.memory import release
from lilliput.reporter import Reporter
from lilliput.runs import Run, Stage, beating
from lilliput.steps import measured_on
from lilliput.train import sources
from lilliput.train.finetuning import adopt_stage, finetune_stage, model_source

WIDE = 512
"""Hidden size above which a pretrained model is fine-tuned more gently."""

RATES = (1e-4, 3e-5)
"""Learning rates of a teacher: of small models and of wide ones."""

MORE = "give more, and the run goes on"

TEST_SHARE = 0.25
"""Share of the budget that the benchmark may take; where that is too short, it reads fewer test texts."""


class Compression:
    """One run of ``lilliput compress``."""

    def __init__(self, config: CompressConfig, reporter: Reporter) -> None:
        self.config, self.reporter = config, reporter
        self.folder = Run(config.out, "compress")
        self.wanted = Wanted(config.speedup, config.latency, config.size, config.max_drop)
        self.common = {name: getattr(config, name) for name in DataConfig.model_fields}

    def run(self) -> dict[str, Any]:
        """Do what is not done yet; return the result."""
        check(self.config)
        with self.folder:
            self.budget = Budget(self.config.budget, self.config.out / "time.json")
            with beating(self.budget.note):
                made, result = self._made()
        self._say(made, result)
        return result

    def _made(self) -> tuple[Any, dict[str, Any]]:
        """The report of the benchmark, and the result."""
        self.dataset = data_of(self.config)
        _check_texts(self.config, self.dataset)
        self.view = without_test(self.dataset)
        self.ledger = Ledger(self.config.out / "trials.jsonl", self._key())
        teacher = self._do("teacher", self._teacher)
        exported = self._do("teacher-bundle", lambda: self._teacher_bundle(teacher))
        self._look(teacher, exported)
        self._do("texts-read", lambda: self._read_texts(teacher))
        self._search(exported)
        shipping = self._shipping()
        shipped = shipping.members()
        measured = self._do("benchmark", lambda: shipping.benchmark(exported, shipped.members))
        made = {**shipping.as_asked_now(measured.result, shipped.members), "minutes": self.budget.spent / 60}
        facts = (shipped, self.wanted, self.seen, self.ledger, self.budget.spent)
        return made, {**results.write(self.config, made, *facts), "reused": measured.reused}

    def _do(self, name: str, work: Callable[[], Stage]) -> Stage:
        self.reporter.stage(name)
        try:
            stage = work()
        except OutOfTime:
            raise ConfigError(f"{self._flag()}: spent before the stage {name} was finished; {MORE}") from None
        release()
        self.reporter.finish(name, stage.reused, stage.seconds)
        return stage

    def _key(self) -> dict[str, Any]:
        """What decides the outcome of every trial; how far the search goes has no part in it."""
        config = self.config
        source = config.teacher or model_source(str(config.model))
        decides = ("precision", "threads", "uniform", "max_length", "seed")
        return {
            "data": self.dataset.fingerprint,
            "teacher": models.fingerprint(source, config.revision),
            "machine": machine.cpu().name,
            **{name: getattr(config, name) for name in decides},
        }

    # --- the teacher --------------------------------------------------------------------------------------------------

    def _teacher(self) -> Stage:
        config = self.config
        source = config.teacher or model_source(str(config.model))
        left = self.budget.left

        def time_it(folder: Path) -> dict[str, Any]:
            found = situation.pace_of(source, self.view, config)
            few = plan.lessons(len(self.view.train), found.train_s, left)
            return {"pace": asdict(found), "lessons": asdict(few)}

        identity = {"source": models.fingerprint(source, config.revision), "data": self.view.fingerprint}
        self.paced = self.folder.stage("pace", {**identity, "max_length": config.max_length}, time_it)
        if config.teacher:
            return adopt_stage(self.folder, "teacher", config.teacher, self.view, config.revision)
        lessons = plan.Lessons(**self.paced.result["lessons"])
        data = self.view
        if lessons.texts < len(data.train):
            self.reporter.say(
                Text(f"  the budget allows {lessons.texts} of {len(data.train)} texts to train the teacher on")
            )
            data = without_test(data.subset(train=lessons.texts))
        watched = Watched(self.reporter, None if config.budget is None else time.time() + 0.8 * left)
        return finetune_stage(self.folder, "teacher", self._finetuning(lessons), data, watched.progress)

    def _finetuning(self, lessons: plan.Lessons) -> FinetuneConfig:
        config = self.config
        source = model_source(str(config.model))
        wide = encoder.shape_of(models.load_for(tasks.get(config.task), source, self.view.label_names, config.revision))
        return FinetuneConfig(
            **self.common,
            model=str(config.model),
            revision=config.revision,
            epochs=lessons.epochs,
            learning_rate=RATES[wide.hidden > WIDE],
            max_length=config.max_length,
            device=config.device,
            out=config.out,
        )

    def _teacher_bundle(self, teacher: Stage) -> Stage:
        config = self.config
        with Run(config.out / "bundles", "bundles") as bundles:
            stage = family.export_stage(
                bundles,
                "teacher",
                teacher.folder,
                config,
                self.dataset,
                provenance(config, self.dataset),
                self.reporter,
            )
        if stage.result["refused"]:
            self.reporter.say(Text(f"  the teacher is shipped in fp32 only: {stage.result['refused']}"))
        return stage

    # --- the search ---------------------------------------------------------------------------------------------------

    def _look(self, teacher: Stage, exported: Stage) -> None:
        """Measure the teacher, and make the plan."""
        config = self.config
        settings = {"precision": config.precision, "threads": config.threads, "max_length": config.max_length}

        def work(folder: Path) -> dict[str, Any]:
            reference = exported.folder / BUNDLE
            if config.precision not in exported.result["precisions"]:
                shutil.rmtree(folder / BUNDLE, ignore_errors=True)
                model, tokenizer = (
                    models.load_finetuned_classifier(teacher.folder),
                    models.load_tokenizer(teacher.folder),
                )
                texts = sample_of(self.view, config.seed)
                reference = engine.runnable(
                    model, tokenizer, config.precision, texts, folder / BUNDLE, max_length=config.max_length
                )
            pace = situation.Pace(**self.paced.result["pace"])
            seen = situation.look(config, teacher.folder, reference, self.view, pace, self.reporter.progress)
            return {**seen.to_dict(), "test": len(self.dataset.test), "export_s": exported.seconds}

        identity = {**settings, "machine": measured_on()}
        stage = self._do("measured", lambda: self.folder.stage("measured", identity, work, [teacher, exported]))
        self.seen = Situation.of(stage.result)
        own = stage.folder / BUNDLE
        self.places = Places(config.out, teacher.folder, own if own.is_dir() else exported.folder / BUNDLE)
        self.wanted = self.wanted.relative_to(self.seen.ms)
        self.ending = self._ending(self._members())
        left = self.budget.left - self.ending

        def decide(folder: Path) -> dict[str, Any]:
            return plan.plan(self.seen, max(left, 1.0), self.wanted.speed).to_dict()

        # The budget has no part in the identity: more time later goes on with the recipes of the first time.
        self.known = Plan.of(self.folder.stage("plan", {}, decide, [stage]).result)

    def _ending(self, count: int) -> float:
        """Seconds from the end of the search to that of the run, where so many models could be shipped."""
        if self.config.budget is None:
            return 0.0
        return plan.ending(self.seen, min(count, self._members()), self._limit() or self.seen.test)

    def _members(self) -> int:
        """Models that are shipped at most: as the flag says; within a budget perhaps fewer, to have time to search."""
        most, budget = self.config.family, self.config.budget
        if budget is None:
            return most
        return plan.members_within(self.seen, most, self._limit() or self.seen.test, plan.ENDING_SHARE * budget)

    def _limit(self) -> int | None:
        """Test texts of the benchmark: all, unless the flag or `TEST_SHARE` of the budget allows fewer."""
        if self.config.budget is None:
            return self.config.limit
        most = self.config.limit or self.seen.test
        found = min(most, plan.texts_within(self.seen, self.config.family, TEST_SHARE * self.config.budget))
        return None if found >= self.seen.test else found

    def _shipping(self) -> Shipping:
        return Shipping(
            run=self.folder,
            config=self.config,
            dataset=self.dataset,
            view=self.view,
            ledger=self.ledger,
            seen=self.seen,
            known=self.known,
            wanted=self.wanted,
            places=self.places,
            budget=self.budget,
            ending=self.ending,
            most=self._members(),
            limit=self._limit(),
            reporter=self.reporter,
        )

    def _read_texts(self, teacher: Stage) -> Stage:
        view = view_of(self.dataset, self.known)

        def work(folder: Path) -> dict[str, Any]:
            cache = self.places.cache
            count = read_texts(self.config, self.known, teacher.folder, view, cache, self.reporter.progress)
            return {"texts": count}

        return self.folder.stage("texts-read", {"plan": self.known.to_dict()}, work, [teacher])

    def _search(self, exported: Stage) -> None:
        search = Search(
            self.config,
            self.ledger,
            self.budget,
            self.seen,
            self.known,
            self.wanted,
            self.places,
            self._ending,
            self.reporter,
        )
        self._say_plan(search.outlook())
        self.reporter.stage("search")
        search.go()
        if not family.all_points(self.ledger, set()):
            failures = list(self.ledger.failures.values())
            if failures:
                raise LilliputError(f"{self.config.out}: no candidate gave a model; the first one: {failures[0]}")
            raise ConfigError(f"{self._flag()}: spent before a candidate was finished; {MORE}")

    def _flag(self) -> str:
        return f"--budget {self.config.budget or 0:g}s"

    def _say_plan(self, outlook: float) -> None:
        seen, config = self.seen, self.config
        asked = self.wanted.in_words or "the whole frontier"
        limits = [f"{config.trials or TRIALS} candidates"] if config.trials or config.budget is None else []
        if config.budget is None:
            limits.append(f"about {max(1.0, outlook / 60):.0f} minutes where none is finished yet")
        else:
            ending = f"about {self.ending / 60:.0f} of them for bundles and benchmark"
            limits.append(f"{self.budget.left / 60:.0f} minutes, {ending}")
        self.reporter.say(
            Text(
                f"  teacher in {config.precision}: {seen.ms:.3g} ms a text, {seen.bytes / 1e6:.3g} MB, "
                f"{abs(seen.score):.4f} on validation. Asked for: {asked}. Search: {', '.join(limits)}"
            )
        )

    def _say(self, made: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        out = shlex.quote(str(self.config.out))
        if result["reused"]:
            self.reporter.say(Text(f"Nothing to do: {out} is finished. More --trials or --budget go on with it."))
        self.reporter.say(table.for_terminal(made))
        self.reporter.say(Text(f"Report: {out}/report.html"))
        if not result["meets"]:
            self.reporter.say(Text(f"Not met: {result['reason']}"))


def compress(config: CompressConfig, reporter: Reporter | None = None) -> dict[str, Any]:
    """Search for the models that ``config`` asks for; see ``docs/compress.md``.

    Interrupted and called again, it goes on: no finished trial is lost. With more ``trials`` or ``budget`` it searches
    further.

    Returns:
        ``recommended``, the name of the model; ``bundle``, a copy of its bundle; ``claim`` in words and ``evidence``;
        ``meets``, whether what was asked for was reached, and ``reason``; ``family``, all models that are shipped, with
        their recipes; ``failures`` of trials. It is also ``config.out/compress.json``.

    Raises:
        DataError, ModelError, ConfigError: something given is not usable; see the message.
        RunError: the folder belongs to another search.
        GateError: the export refused every model.
    """
    return Compression(config, reporter or Reporter()).run()


def check(config: CompressConfig) -> None:
    """Raise :class:`ConfigError` for what is wrong whatever data and teacher are."""
    if processes.count() > 1:
        raise ConfigError("--workers: start this command without a launcher; it starts processes of its own")
    if config.unlabelled is not None and config.data == sources.SENTIMENT:
        raise ConfigError("--unlabelled: the embedded data bring their own; use it with --data FILES")
    if config.unlabelled is not None and not config.unlabelled.is_file():
        raise ConfigError(f"--unlabelled {config.unlabelled}: no such file")


def _check_texts(config: CompressConfig, dataset: Any) -> None:
    if not all(isinstance(item, str) for item in dataset.train.inputs):
        raise ConfigError(f"--data {config.data}: holds pairs of texts, whose bundles can't be timed so far")
