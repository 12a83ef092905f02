"""Prune a model until it meets a target, and let it recover.

texts        a sample of the training texts, and what the model says of them
importance   in which order heads, neurons and dimensions go, and the loss that is estimated then
plan         the best of those within the budget, built, fitted by least squares, and measured
goal         does the model really meet the target? If not, once more with a corrected budget
vocabulary   tokens that the texts do not need
recovery     distillation from the unpruned model
"""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lilliput import classifier_head, encoder, machine, models, tasks
from lilliput.compress import ancestry, importance, outcome, surgery, vocabulary
from lilliput.compress.calibration_texts import CalibrationTexts
from lilliput.compress.distillation import distill_stage
from lilliput.compress.evidence import Evidence
from lilliput.compress.goals import Goal, Pair, corrected, goal_of
from lilliput.compress.plans import Found, Planner
from lilliput.compress.stages import stages
from lilliput.config import TARGETS, DistillConfig, PruneConfig
from lilliput.errors import ConfigError
from lilliput.reporter import Reporter
from lilliput.runs import Run, Stage, digest, write_json
from lilliput.train import evaluate, sources
from lilliput.train.data import Dataset

TOLERANCE = 0.03
"""How far below its limit a measured cost may lie before the search tries again with a larger budget."""

ATTEMPTS = 6
"""Searches at most for one target; the nearest model that meets it counts."""

DECIDED = 2
"""Of them, those that may choose which blocks stay."""

_PLACES = ("out", "model", "teacher", "unlabelled", "save_every")
"""Settings that decide nothing of the outcome, but for what lies there."""

_PLANNED_BY = (
    *("per_layer", "importance", "calibration", "reconstruct", "precision", "threads", "lengths"),
    *("max_length", "seed", "device"),
)
"""Settings that decide importance, costs and which layers go first."""

logger = logging.getLogger(__name__)


def prune(config: PruneConfig, reporter: Reporter | None = None) -> dict[str, Any]:
    """Prune ``config.model`` and save the smaller model, a Hugging Face folder, in a stage of ``config.out``.

    Interrupted and called again, it goes on from the last finished stage, and inside the recovery from its last
    checkpoint; called once more, it returns the finished result.

    Returns:
        Of the last stage: metrics on validation and test, fidelity to the unpruned model, shape; and ``pruning``: the
        target, what is achieved, and what stays of each block. ``folder`` says where the model is, ``summary`` is a
        line for people.

    Raises:
        DataError, ModelError, ConfigError: something given is not usable, or no plan meets the target; see the message.
        TrainingError: the loss of the recovery became NaN or infinite.
    """
    check(config)
    dataset = sources.load(config)
    with Run(config.out, "prune") as run:
        last, pruning = prune_stages(run, config, dataset, reporter)
    result = {**last.result, "pruning": pruning, "folder": str(last.folder), "reused": last.reused}
    return {**result, "summary": _summary(result)}


def check(config: PruneConfig) -> None:
    """Raise :class:`ConfigError` for what is wrong whatever data and model are."""
    importance.get(config.importance)
    if config.recover:
        stages(_recovery(config, config.model, "layers=1", config.out))
    if config.unlabelled is not None and not config.unlabelled.is_file():
        raise ConfigError(f"--unlabelled {config.unlabelled}: no such file")


def prune_stages(
    run: Run, config: PruneConfig, dataset: Dataset, reporter: Reporter | None = None, name: str = "pruned"
) -> tuple[Stage, dict[str, Any]]:
    """The stages of :func:`prune`: the last one, which has the model, and what was pruned.

    Args:
        name: of the stages, for runs with more than one pruned model.
    """
    reporter = reporter or Reporter()
    pruning = Pruning(config, dataset, reporter)
    stage, model, found = None, config.model, {"kept": None}
    steps = config.steps if pruning.has_target else 0
    for number in range(1, steps + 1):
        ending = f"-{number}" if number < steps else ""
        stage = pruning.cut(run, f"{name}{ending}", model, number / steps)
        model, found = str(stage.folder), stage.result["pruning"]
        if config.recover and number < steps:
            stage = pruning.recover(run, f"{name}{ending}-recovered", stage)
            model = str(stage.folder)
    if config.vocabulary is not None:
        stage = pruning.trim(run, f"{name}-trimmed", model)
    if config.recover and stage is not None:
        stage = pruning.recover(run, f"{name}-recovered", stage)
    assert stage is not None  # a configuration has a target or a vocabulary
    if config.modeling_file and not list(stage.folder.glob("modeling_*.py")):
        pruning.write_modeling_file(stage.folder)
    return stage, found


class Pruning:
    """The work of one configuration on one data set.

    Args:
        planners: what is known of models that were pruned before, by what decides it; others that share it find plans
            for further targets without looking at the texts again.
        cache: of `distill_stage`.
    """

    def __init__(
        self,
        config: PruneConfig,
        dataset: Dataset,
        reporter: Reporter,
        planners: dict[str, Planner] | None = None,
        cache: Path | None = None,
    ) -> None:
        self.planners = {} if planners is None else planners
        self.cache = cache
        self.config = config
        self.dataset = dataset
        self.reporter = reporter
        self.task = tasks.get(config.task)
        self.has_target = any(getattr(config, name) is not None for name in TARGETS)

    def cut(self, run: Run, name: str, model: str, share: float) -> Stage:
        """Prune ``model``, ``share`` of the way to the target, and measure what is left of it."""
        identity = {**self._identity(model), "share": share, "unpruned": models.fingerprint(self.config.model)}
        timed = self.config.speedup is not None or self.config.latency is not None
        identity["measured_on"] = [machine.cpu().name, machine.versions(("onnxruntime",))] if timed else None
        return run.stage(name, identity, functools.partial(self._cut, model, share), config=self._shown())

    def _cut(self, source: str, share: float, folder: Path) -> dict[str, Any]:
        model, tokenizer = self._load(source)
        known = self.planners.get(key := self._known_by(source))
        texts = known.texts if known else self._texts(model, tokenizer)
        scratch = folder / "timed"
        shutil.rmtree(scratch, ignore_errors=True)  # left half-written by a run that was killed, perhaps
        goal = self._goal_for(texts.lengths, scratch).on_the_way(share)
        planner = known or self._planner(model, texts, goal)
        self.planners[key] = planner
        found, spent = self._meet(goal, planner)
        shutil.rmtree(scratch, ignore_errors=True)
        ancestry.note(found.model, model, self._fingerprint(source), found.plan, encoder.shape_of(model).hidden)
        kept = ancestry.kept_of(found.model, self._fingerprint(self.config.model))
        assert kept is not None  # all cuts of a run begin with its model
        write_json(folder / "plan.json", {"plan": asdict(found.plan), "family": _family(planner, goal)})
        pruning = {
            "target": goal.flag,
            "achieved": goal.reached(spent),
            "cost": spent,
            "unit": goal.cost_at(encoder.shape_of(found.model).hidden).unit,
            "unpruned_cost": goal.whole,
            "divergence": found.divergence,
            "kept": {"layers": list(kept.layers), "dimensions": list(kept.dimensions)},
            "blocks": [asdict(shape) for shape in found.candidate.blocks],
            "calibration_texts": len(texts),
        }
        return {**self._outcome(folder, found.model, tokenizer), "pruning": pruning}

    def _texts(self, model: Any, tokenizer: Any) -> CalibrationTexts:
        config = self.config
        texts = CalibrationTexts(
            self.dataset,
            self.task,
            model,
            tokenizer,
            count=config.calibration,
            max_length=config.max_length,
            seed=config.seed,
        )
        texts.warn_if_few()
        return texts

    def _planner(self, model: Any, texts: CalibrationTexts, goal: Goal) -> Planner:
        config = self.config
        self.reporter.progress(0, 3, "what each part does for the answers")
        rankings = importance.get(config.importance)(Evidence(model, texts.kind, texts))
        self.reporter.progress(1, 3, "which blocks can go as a whole")
        return Planner(model, rankings, texts, goal.cost_at, uniform=not config.per_layer, fitted=config.reconstruct)

    def _known_by(self, source: str) -> str:
        """What a planner depends on: how far a target goes, and the recovery, have no part in it."""
        timed = self.config.speedup is not None or self.config.latency is not None
        kind = "ms" if timed else next((name for name in TARGETS if getattr(self.config, name) is not None), None)
        facts = {name: getattr(self.config, name) for name in _PLANNED_BY}
        facts |= {"model": models.fingerprint(source), "data": self.dataset.fingerprint, "kind": kind}
        return digest({**facts, "vocabulary": None if timed else self.config.vocabulary})

    def _meet(self, goal: Goal, planner: Planner) -> tuple[Found, float]:
        """The plan whose model meets the goal when it is measured, and what it costs.

        Costs of the search are estimates. Where the model costs other than they said, the budget is corrected (see
        `corrected`), until the model is below the limit by no more than ``TOLERANCE``. Which blocks stay is decided at
        the first two budgets; after that only their sizes are, so that what is known of their costs holds.
        """
        budget, best, seen = goal.limit, None, list[tuple[float, float]]()
        for attempt in range(1, ATTEMPTS + 1):
            chosen = planner.like(best[0], budget) if best and attempt > DECIDED else None
            if chosen is None:
                chosen = planner.best(budget, goal.flag, functools.partial(self._progress, attempt))
            if goal.measure is None:
                return planner.built(chosen), chosen.cost
            spent = goal.measure(planner.sliced(chosen))
            logger.info("%s: attempt %d came to %.4g", goal.flag, attempt, goal.reached(spent))
            if best is None or _nearness(spent, goal.limit) < _nearness(best[1], goal.limit):
                best = chosen, spent
            if goal.limit * (1 - TOLERANCE) <= spent <= goal.limit:
                break
            seen.append((chosen.cost, spent))
            budget = corrected(seen, goal.limit * (1 - TOLERANCE / 2))
        assert best is not None
        if best[1] > goal.limit:
            logger.warning("%s: the nearest that was found is %.4g", goal.flag, goal.reached(best[1]))
        return planner.built(best[0]), best[1]

    def _progress(self, attempt: int, done: int, total: int) -> None:
        self.reporter.progress(done, total, f"candidates, attempt {attempt}")

    def recover(self, run: Run, name: str, cut: Stage) -> Stage:
        """Distil the unpruned model into what was left of it."""
        config = _recovery(self.config, str(cut.folder), f"layers={cut.result['shape']['layers']}", run.folder)
        (teacher,) = config.teacher
        kept = ancestry.kept_of(self._load(str(cut.folder))[0], models.fingerprint(teacher, config.revision))
        if kept and any(stage.reads_states for stage in stages(config)):
            config = config.model_copy(update={"mapping": ",".join(map(str, kept.layers))})
        return distill_stage(run, name, config, self.dataset, self.reporter.progress, cache=self.cache)

    def trim(self, run: Run, name: str, model: str) -> Stage:
        """Cut the vocabulary to the tokens that the training and transfer texts use most."""

        def work(folder: Path) -> dict[str, Any]:
            whole, tokenizer = self._load(model)
            small, own = self._trimmed((whole, tokenizer))
            seen = vocabulary.coverage((whole, tokenizer), (small, own), self._single_texts(self.dataset.validation))
            return {**self._outcome(folder, small, own), "coverage": asdict(seen)}

        return run.stage(name, self._identity(model), work, config=self._shown())

    def write_modeling_file(self, folder: Path) -> None:
        """Write the code of a model whose blocks differ; plain transformers has that of others."""
        if encoder.is_per_block(self._load(str(folder))[0]):
            surgery.write_modeling_file(folder)

    def _trimmed(self, pair: Pair) -> Pair:
        """The pair with the vocabulary that ``--vocabulary`` leaves; as it is without."""
        if self.config.vocabulary is None:
            return pair
        model, tokenizer = pair
        texts = [*self._single_texts(self.dataset.train), *self._parts(self.dataset.transfer)]
        kept = vocabulary.keep(tokenizer, vocabulary.count_tokens(tokenizer, texts), self.config.vocabulary)
        return vocabulary.trim(model, tokenizer, kept)

    def _single_texts(self, split: Any) -> list[str]:
        return self._parts(split.inputs)

    def _parts(self, inputs: Any) -> list[str]:
        """The texts of all inputs; those of an input that is made of several, one by one."""
        found = []
        for item in inputs:
            for part in self.task.parts(item):
                tokens = self.task.tokens(part)
                found += [
                    text if isinstance(text, str) else " ".join(text) for text in (tokens.first, tokens.second) if text
                ]
        return found

    def _goal_for(self, lengths: list[int], scratch: Path) -> Goal:
        """The goal of the whole run: relative to the model that the user gave."""
        goal = goal_of(
            self.config,
            self._load(self.config.model),
            self.dataset,
            lengths,
            scratch,
            trimmed=self._trimmed,
            progress=self.reporter.progress,
        )
        assert goal is not None  # without one nothing is cut
        return goal

    def _load(self, source: str) -> Pair:
        config = self.config
        revision = config.revision if source == config.model else None
        tokenizer = models.load_tokenizer(source, revision)
        model = models.load_finetuned(self.task, source, revision)
        models.check_length(model, config.max_length)
        encoder.block_shapes_of(model)  # raises where there are no blocks to prune
        tokenizer.model_max_length = config.max_length
        if self.dataset.label_names:
            classifier_head.reorder_labels(model, models.match_labels(model, self.dataset.label_names, source))
        return model.requires_grad_(False).eval(), tokenizer

    def _outcome(self, folder: Path, model: Any, tokenizer: Any) -> dict[str, Any]:
        """Save and measure a model, beside the unpruned one."""
        config = self.config
        teacher, theirs = self._load(config.model)
        predict = functools.partial(evaluate.predict, teacher, theirs, self.task, max_length=config.max_length)
        found = outcome.save(
            folder, self.task, self.dataset, model, tokenizer, config.max_length, predict, config.slice_column
        )
        size = sum(weight.numel() for weight in model.parameters())
        return {"shape": asdict(encoder.shape_of(model)), "parameters": size, **found}

    def _identity(self, model: str) -> dict[str, Any]:
        return {
            **self.config.model_dump(mode="json", exclude=set(_PLACES)),
            "model_fingerprint": self._fingerprint(model),
            "data_fingerprint": self.dataset.fingerprint,
        }

    def _fingerprint(self, model: str) -> str:
        return models.fingerprint(model, self.config.revision if model == self.config.model else None)

    def _shown(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")


def _recovery(config: PruneConfig, initial: str, student: str, out: Path) -> DistillConfig:
    """The distillation from the unpruned model, or the one that the user named, into a pruned one.

    Word embeddings are trained where the vocabulary is smaller: those that are left take over from those that are gone.
    """
    shared = set(type(config).model_fields) & set(DistillConfig.model_fields) - {"out", "teacher", "command"}
    values = {name: getattr(config, name) for name in shared}
    values |= {"train_embeddings": config.vocabulary is not None, "reconstruct": False}  # that is done already
    teacher = config.teacher or config.model
    return DistillConfig(**{**values, "teacher": (teacher,), "initial_model": initial, "student": student, "out": out})


def _nearness(spent: float, limit: float) -> tuple[bool, float]:
    """Smaller is better: within the limit first, then near it."""
    return spent > limit, abs(spent - limit)


def _family(planner: Planner, goal: Goal) -> list[Mapping[str, Any]]:
    """The Pareto family of the search: cost, in the target's unit too, and estimated loss."""
    return [
        {
            "cost": one.cost,
            "reached": goal.reached(one.cost),
            "estimated_loss": one.loss,
            "blocks": [[block.heads, block.ffn] for block in one.blocks],
            "dimensions": one.dimensions,
        }
        for one in planner.family.candidates
    ]


def _summary(result: Mapping[str, Any]) -> str:
    seen, pruning = result["fidelity"], result["pruning"]
    scores = (
        f"test {seen['metric']} {seen['student']['value']:.4f}, the unpruned model's {seen['teacher']['value']:.4f}"
    )
    if "achieved" not in pruning:
        return scores
    return f"{pruning['target']}: {pruning['achieved']:.4g} achieved; {scores}"
