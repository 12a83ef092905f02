"""The end of a search: the members of the family are exported, and measured side by side with the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from lilliput.benchmarks import report
from lilliput.compressing import family
from lilliput.compressing.budget import Budget
from lilliput.compressing.family import BUNDLE, Choice, Recipes
from lilliput.compressing.plan import Plan
from lilliput.compressing.recommendation import Wanted
from lilliput.compressing.records import Ledger, Result
from lilliput.compressing.search import Places
from lilliput.compressing.situation import Situation
from lilliput.config import CompressConfig
from lilliput.errors import GateError
from lilliput.memory import release
from lilliput.reporter import Reporter
from lilliput.runs import Run, Stage
from lilliput.steps import command_of, data_provenance, measure, measured_on, public_name
from lilliput.train.data import Dataset


@dataclass(frozen=True)
class Family:
    """What is shipped.

    Attributes:
        members: name -> what the trial came to, and the stage with its bundle.
        precision: that every member's bundle has, and claims are about.
    """

    choice: Choice
    members: Mapping[str, tuple[Result, Stage]]
    precision: str


@dataclass
class Shipping:
    """The work after the search.

    Attributes:
        run: of the whole command.
        dataset: with its test split, which the benchmark reads.
        view: without.
        ending: seconds that exports and benchmark were to take.
        most: models that are shipped.
        limit: test texts that the benchmark reads; None for all.
    """

    run: Run
    config: CompressConfig
    dataset: Dataset
    view: Dataset
    ledger: Ledger
    seen: Situation
    known: Plan
    wanted: Wanted
    places: Places
    budget: Budget
    ending: float
    most: int
    limit: int | None
    reporter: Reporter

    def members(self) -> Family:
        """The models that are shipped; one whose graph its gate refused leaves room for another.

        Where the gates refuse every int8 graph, the family is shipped in fp32.

        Raises:
            GateError: not even an fp32 graph is as its torch model.
        """
        for precision in dict.fromkeys((self.config.precision, "fp32")):
            if (found := self._members_in(precision)) is not None:
                return found
        raise GateError(f"{self.config.out}: the gates of the export refused every model; see its log.jsonl")

    def _members_in(self, precision: str) -> Family | None:
        """The family of models whose graph in a precision passes its gate; None where there is none."""
        refused: set[int] = set()
        teacher = family.teacher_point(self.seen)
        results = {result.trial: result for result in self.ledger.best()}
        while found := family.all_points(self.ledger, refused):
            choice = family.choose(found, self.wanted, teacher, self.most)
            members, bad = {}, set()
            for name, trial in family.names_of(self.ledger, results, choice.members).items():
                stage = self._export(name, results[trial])
                if stage is None or precision not in stage.result["precisions"]:
                    bad.add(trial)
                else:
                    members[name] = (results[trial], stage)
            in_a_hurry = self.budget.left < self.ending / 2 and choice.recommended.trial not in bad
            if not bad or in_a_hurry:
                return Family(choice, members, precision)
            refused |= bad
        return None

    def _export(self, name: str, result: Result) -> Stage | None:
        """The bundle of a model; None where it can't be had."""
        config = self.config
        self.reporter.stage(f"bundle {name}")
        try:
            with Run(config.out / "bundles", "bundles") as bundles:
                model, origin = config.out / result.folder, provenance(config, self.dataset)
                stage = family.export_stage(bundles, name, model, config, self.dataset, origin, self.reporter)
        except GateError as error:
            self.run.log("bundle refused", bundle=name, why=str(error))
            self.reporter.say(Text(f"  {name}: {error}"))
            return None
        finally:
            release()
        if stage.result["refused"]:
            self.run.log("bundle refused", bundle=name, why=stage.result["refused"])
            self.reporter.say(Text(f"  {name}: {stage.result['refused']}"))
        self.reporter.finish(f"bundle {name}", stage.reused, stage.seconds)
        return stage

    def benchmark(self, teacher: Stage, members: Mapping[str, tuple[Result, Stage]]) -> Stage:
        """The report on teacher and members, as a stage; the test split is read here and nowhere else."""
        config = self.config
        stages = {"teacher": teacher, **{name: stage for name, (_, stage) in members.items()}}
        gates = [
            {"name": name, **{key: one[key] for key in ("precision", "texts", "max_difference", "agreement")}}
            for name, stage in stages.items()
            for one in stage.result["parity"]
        ]

        def work(folder: Path) -> dict[str, Any]:
            return measure(
                {name: stage.folder / BUNDLE for name, stage in stages.items()},
                self.dataset,
                folder,
                run=self._facts(members),
                threads=config.threads,
                rounds=config.rounds,
                limit=self.limit,
                slice_column=config.slice_column,
                seed=config.seed,
                title=f"Compressed: {self.dataset.name}",
                gates=gates,
                progress=self.reporter.progress,
            )

        identity = {"rounds": config.rounds, "limit": self.limit, "members": list(stages), **measured_on()}
        identity |= {"slices": config.slice_column} if config.slice_column else {}
        return self.run.stage("benchmark", identity, work, list(stages.values()))

    def as_asked_now(self, made: Mapping[str, Any], members: Mapping[str, tuple[Result, Stage]]) -> dict[str, Any]:
        """The report with what this call was asked: the measurement may be of an earlier one with another target."""
        facts = self._facts(members)
        recipe = {"commands": list(facts.commands), "config": dict(facts.config)}
        return {**made, "command": facts.command, "recipe": recipe, "not_measured": list(facts.not_measured)}

    def _facts(self, members: Mapping[str, tuple[Result, Stage]]) -> report.RunFacts:
        recipes = Recipes(self.config, self.ledger, self.seen, self.known, self.view, self.places)
        described = {name: self._described(name, result, recipes) for name, (result, _) in members.items()}
        command = command_of(self.config)
        missing = [*report.RunFacts.not_measured]
        if self.limit and self.limit < self.seen.test:
            missing.append(f"Test texts beyond {self.limit} of {self.seen.test}.")
        settings = self.config.model_dump(mode="json", exclude={"out"})
        shown = {"compress": settings, "plan": self.known.to_dict(), "members": described}
        return report.RunFacts(command=command, commands=[command], config=shown, not_measured=missing)

    def _described(self, name: str, result: Result, recipes: Recipes) -> dict[str, Any]:
        one = self.ledger.proposals[result.trial]
        return {
            "trial": one.name,
            "kind": one.kind,
            "settings": dict(one.settings),
            "base": None if one.base is None else self.ledger.proposals[one.base].name,
            "rung": result.rung,
            "validation": result.score,
            "speedup": result.speedup,
            "bytes": result.bytes,
            **dict(result.facts),
            "recipe": recipes.of(result, name),
        }


def provenance(config: CompressConfig, dataset: Dataset) -> dict[str, Any]:
    """What a manifest says of where a model comes from: teacher and data."""
    name = public_name(str(config.teacher or config.model))
    return {"model": {"name": name, "revision": config.revision}, **data_provenance(config, dataset)}
