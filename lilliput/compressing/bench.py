"""The workbench of a trial: what all kinds of candidates are made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lilliput import encoder, models, tasks
from lilliput.compress import outcome, students
from lilliput.compress.calibration_texts import CalibrationTexts
from lilliput.compress.distillation import FITTED, FITTED_BYTES, distill_stage
from lilliput.compressing.plan import Plan, short_of
from lilliput.compressing.situation import Situation
from lilliput.config import CompressConfig, Config, DataConfig, DistillConfig, ExportConfig
from lilliput.reporter import Reporter
from lilliput.runs import Run, Stage, digest
from lilliput.steps import command_of
from lilliput.train import evaluate, sources
from lilliput.train.data import Dataset, Split

VALIDATION = 2000
"""Texts of the validation split that are read at most: every candidate, every epoch and every gate reads all of them,
and 2,000 tell two models apart that differ by a point and a half."""

SHORT_RECIPE: Mapping[str, Any] = {"epochs": 1, "augment": 0}
"""Of the short training, on a part of the texts."""

SHORT_FROM_NOTHING: Mapping[str, Any] = {"epochs": 2, "augment": 0}
"""Of that of a student that begins at random: on all texts, for it learns slowly and costs little."""


@dataclass
class Bench:
    """What a candidate is made of and with.

    Attributes:
        config: of the whole search.
        seen, known: what was measured, and the recipes.
        teacher: its folder.
        source: the folder that the candidate starts from: the teacher's or that of an earlier trial.
        source_speedup: of the source against the teacher.
        dataset: what trials may see of the data: no test split.
        lessons: what this training reads of it.
        recipe: what this training changes in the candidate's own recipe.
        trained: whether the candidate is trained at all.
        run: of the trial; None where only command lines are wanted.
        cache: of the teacher's outputs, for all trials.
        planners: of `lilliput.compress.pruning.Pruning`.
        unlabelled: a file of transfer text, where ``dataset`` does not hold it.
    """

    config: CompressConfig
    seen: Situation
    known: Plan
    teacher: Path
    source: Path
    source_speedup: float
    dataset: Dataset
    lessons: Dataset
    recipe: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = True
    trial_run: Run | None = None
    cache: Path | None = None
    reporter: Reporter = field(default_factory=Reporter)
    planners: dict[str, Any] = field(default_factory=dict)
    unlabelled: Path | None = None

    @property
    def run(self) -> Run:
        """The run of the trial."""
        assert self.trial_run is not None  # stages are made in trials only
        return self.trial_run

    def common(self) -> dict[str, Any]:
        """Settings that all commands share: data, length, device, seed."""
        config = self.config
        shared = {name: getattr(config, name) for name in DataConfig.model_fields}
        out = self.trial_run.folder if self.trial_run else config.out
        more = {"max_length": config.max_length, "device": config.device, "unlabelled": self.unlabelled}
        return {**shared, **more, "out": out}

    def distillation(self, spec: str, settings: Mapping[str, Any]) -> DistillConfig:
        """The distillation of the teacher into a student, which starts from the source."""
        fitting = {name: value for name, value in settings.items() if name in DistillConfig.model_fields}
        started = {"initial_model": str(self.source)} if self.source != self.teacher else {}
        return DistillConfig(
            **{**self.common(), **fitting, **started, "student": spec, "teacher": (str(self.teacher),)}
        )

    def distil(self, name: str, spec: str, settings: Mapping[str, Any]) -> Stage:
        """The stage of a distillation."""
        config = self.distillation(spec, settings)
        return distill_stage(self.run, name, config, self.lessons, self.reporter.progress, cache=self.cache)

    def start_student(self, name: str, spec: str) -> Stage:
        """The stage with a student before any training: transformers are fitted to what the source computes."""
        config, task = self.config, tasks.get(self.dataset.task)
        identity = {
            "student": spec,
            "source": models.fingerprint(self.source),
            "data_fingerprint": self.dataset.fingerprint,
            "seed": config.seed,
            "max_length": config.max_length,
        }

        def work(folder: Path) -> dict[str, Any]:
            source, tokenizer = models.load_finetuned(task, self.source), models.load_tokenizer(self.source)
            tokenizer.model_max_length = config.max_length
            texts = None
            if students.is_transformer(spec):
                options: dict[str, Any] = {"count": FITTED, "max_length": config.max_length, "seed": config.seed}
                texts = CalibrationTexts(self.dataset, task, source, tokenizer, **options).within(FITTED_BYTES)
            model, _ = students.build(spec, source, tokenizer, seed=config.seed, batches=texts)

            def predict(inputs: Any) -> list[Any]:
                return evaluate.predict(source, tokenizer, task, inputs, max_length=config.max_length)

            found = outcome.save(folder, task, self.dataset, model, tokenizer, config.max_length, predict)
            size = sum(weight.numel() for weight in model.parameters())
            return {"shape": vars(encoder.shape_of(model)), "parameters": size, **found}

        return self.run.stage(name, identity, work)

    def command(self, config: Config) -> str:
        """A configuration as a command line."""
        return command_of(config)

    def place(self, name: str) -> Path:
        """A folder of the command lines."""
        return Path(name)

    def export_line(self, model: str, out: str) -> str:
        """The command line that makes a bundle of a model."""
        data = {name: getattr(self.config, name) for name in DataConfig.model_fields}
        length = self.config.max_length
        return command_of(ExportConfig(**data, model=model, max_length=length, out=Path(out)))


def short_recipe(from_nothing: bool) -> Mapping[str, Any]:
    """The short training's recipe, of a student that begins at random or of another one."""
    return SHORT_FROM_NOTHING if from_nothing else SHORT_RECIPE


def data_of(config: CompressConfig) -> Dataset:
    """The data of a search, with `VALIDATION` texts of the validation split at most, drawn by the seed."""
    dataset = sources.load(config, unlabelled=config.unlabelled)
    if len(dataset.validation) <= VALIDATION:
        return dataset
    return dataset.subset(validation=VALIDATION, seed=config.seed)


def view_of(dataset: Dataset, known: Plan | None = None) -> Dataset:
    """What trials see of the data: no text of a test split, and no more texts than the plan has."""
    if known is not None:
        dataset = dataset.subset(train=known.texts, transfer=known.transfer)
    return without_test(dataset)


def short_view(view: Dataset, known: Plan) -> Dataset:
    """What the short training reads."""
    texts, transfer = short_of(known)
    return without_test(view.subset(train=texts, transfer=transfer))


def without_test(dataset: Dataset) -> Dataset:
    """The same data without test splits."""
    fingerprint = digest([dataset.fingerprint, "without test"])
    return replace(dataset, test=Split(), out_of_domain={}, fingerprint=fingerprint)
