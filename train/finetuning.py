"""Fine-tune a teacher: best weights chosen on validation, the test split read once, at the end."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lilliput import classifier_head, encoder, models, tasks
from lilliput.config import FinetuneConfig
from lilliput.errors import ConfigError
from lilliput.runs import Run, Stage, write_json
from lilliput.tasks import Task
from lilliput.train import embedded, evaluation, features, loop, losses, precision, seeds, sources
from lilliput.train import search as searching
from lilliput.train.data import Dataset, Split
from lilliput.train.evaluate import Progress, predict
from lilliput.train.search import Told


def finetune(config: FinetuneConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Fine-tune ``config.model`` on ``config.data`` and save it to ``config.out/teacher``, a Hugging Face folder.

    With ``trials`` the settings are searched on validation first (see :mod:`lilliput.train.search`). With ``seeds``
    there is a model for each, ``config.out/teacher-seed1`` and so on; of the embedded data each seed has a fold of its
    own. Interrupted and called again, it goes on from the last checkpoint; called once more, it returns the finished
    result.

    Returns:
        The stage's result: metrics on validation and test, the evaluation, where the model is. Of several seeds what
        :func:`lilliput.train.seeds.summarise` finds, which is also ``config.out/summary.json``.

    Raises:
        DataError, ModelError, ConfigError: something given is not usable; see the message.
        TrainingError: the loss became NaN or infinite.
    """
    if config.seeds is not None:
        return _finetune_seeds(config, config.seeds, progress)
    dataset = sources.load(config)
    with Run(config.out, "finetune") as run:
        found = _search(run, "trials", config, dataset, progress) if config.trials else None
        stage = finetune_stage(run, "teacher", config, dataset, progress, search=found)
    return {**stage.result, "folder": str(stage.folder), "reused": stage.reused}


def _finetune_seeds(config: FinetuneConfig, numbers: Sequence[int], progress: Progress | None) -> dict[str, Any]:
    """A stage for each seed, and what they have in common."""
    dataset = sources.load(config.model_copy(update={"seed": numbers[0]}))
    searches: dict[str, dict[str, Any]] = {}  # by data: what was validation of one fold is test of another
    stages = {}
    with Run(config.out, "finetune") as run:
        for seed in numbers:
            one = config.model_copy(update={"seed": seed, "seeds": None})
            if config.data == sources.SENTIMENT:
                dataset = sources.load(one)
            if config.trials and dataset.fingerprint not in searches:
                searches[dataset.fingerprint] = _search(run, f"trials-seed{seed}", one, dataset, progress)
            found = searches.get(dataset.fingerprint)
            stages[seed] = finetune_stage(run, f"teacher-seed{seed}", one, dataset, progress, search=found)
        summary = seeds.summarise(stages)
        write_json(run.folder / "summary.json", summary)
    return {**summary, "folder": str(config.out), "reused": all(stage.reused for stage in stages.values())}


def finetune_stage(
    run: Run,
    name: str,
    config: FinetuneConfig,
    dataset: Dataset,
    progress: Progress | None = None,
    *,
    search: dict[str, Any] | None = None,
) -> Stage:
    """The stage that :func:`finetune` consists of, for runs with more than one.

    Args:
        search: what a search found: its settings are taken instead of the configuration's.
    """
    source = model_source(config.model)
    chosen = config.model_copy(update={**(search["settings"] if search else {}), "trials": 0, "seeds": None})
    found = {"search": search} if search else {}
    identity = {
        **chosen.model_dump(mode="json", exclude={"out", "save_every"}),
        **_fingerprints(source, config, dataset),
        **found,
    }
    return run.stage(
        name,
        identity,
        lambda folder: {**_finetune(folder, source, chosen, dataset, progress, name), **found},
        config=chosen.model_dump(mode="json"),
    )


def _search(run: Run, name: str, config: FinetuneConfig, dataset: Dataset, progress: Progress | None) -> dict[str, Any]:
    """The best settings on validation; the test split is out of reach."""
    source = model_source(config.model)

    def attempt(folder: Path, chosen: FinetuneConfig, told: Told, what: str) -> dict[str, float]:
        return _fit(folder, source, chosen, dataset, progress, what, told)[2]

    metric = config.metric or tasks.get(config.task).metric
    return searching.search(run.folder / name, config, _fingerprints(source, config, dataset), attempt, metric)


def _fingerprints(source: str | Path, config: FinetuneConfig, dataset: Dataset) -> dict[str, str]:
    return {
        "model_fingerprint": models.fingerprint(source, config.revision),
        "data_fingerprint": dataset.fingerprint,
    }


def _fit(
    folder: Path,
    source: str | Path,
    config: FinetuneConfig,
    dataset: Dataset,
    progress: Progress | None,
    what: str,
    told: Told | None = None,
) -> tuple[Any, Any, dict[str, float]]:
    """The model with its best weights, its tokenizer, and the metrics of these weights on validation.

    Args:
        told: called with the metrics after each epoch.
    """
    task = tasks.get(config.task)
    torch.manual_seed(config.seed)  # the fresh head's weights
    tokenizer = models.load_tokenizer(source, config.revision)
    model = models.load_for(task, source, dataset.label_names, config.revision)
    models.add_tokens(model, tokenizer, task.new_tokens)
    models.check_length(model, config.max_length)
    tokenizer.model_max_length = config.max_length
    prior = task.prior(dataset.train.targets)
    validate = Validation(
        task, tokenizer, dataset.validation, dataset.label_names, config.max_length, config.metric, prior, told
    )
    validate.check(model)
    model, best = loop.fit(
        model,
        tokenizer,
        features.encode(dataset.train, task, tokenizer, config.max_length),
        config,
        folder,
        validate,
        objective=losses.of(task, dataset.train, dataset.label_names, config.class_weights, config.consistency),
        collate=features.Collate(tokenizer, task.per_token),
        layer_decay=config.layer_decay,
        progress=progress,
        what=what,
    )
    if prior:  # what the loss has standardised; from here on the model answers in the units of the data
        classifier_head.scale_head(model, prior["deviation"], prior["mean"])
    return model, tokenizer, best


def _finetune(
    folder: Path,
    source: str | Path,
    config: FinetuneConfig,
    dataset: Dataset,
    progress: Progress | None,
    name: str,
) -> dict[str, Any]:
    """Train, choose on validation, save; then read the test split, once."""
    task = tasks.get(config.task)
    model, tokenizer, best = _fit(folder, source, config, dataset, progress, name)
    ask = functools.partial(predict, model, tokenizer, task, max_length=config.max_length)
    validation = ask(dataset.validation.inputs)
    settings = task.fit(validation, dataset.validation.targets)
    models.note(model, task=task.name, settings=settings, max_length=config.max_length)
    models.save(model, tokenizer, folder, task)
    figures = functools.partial(task.metrics, names=dataset.label_names, settings=settings)
    found = {
        "model": str(config.model),
        "task": task.name,
        "validation": figures(validation, dataset.validation.targets),
        "best_epoch": best["epoch"],
        "settings": settings,
    }
    if not len(dataset.test):  # a search measures its teacher when it is over
        return found
    test = ask(dataset.test.inputs, settings=settings)
    return {
        **found,
        "test": figures(test, dataset.test.targets),
        "n_test": len(dataset.test),
        "evaluation": evaluation.write(
            folder, task, test, dataset, settings, validation=validation, slice_column=config.slice_column
        ),
    }


class Validation:
    """Measures a model in training on the validation split.

    Args:
        metric: the one that chooses the best weights; the task's by default.
        prior: settings that hold during training.
        told: called with every measurement.
    """

    def __init__(
        self,
        task: Task,
        tokenizer: Any,
        split: Split,
        names: Sequence[str],
        max_length: int,
        metric: str | None = None,
        prior: Mapping[str, Any] | None = None,
        told: Told | None = None,
    ) -> None:
        self.task = task
        self.split = split
        self.names = names
        self.metric = metric or task.metric
        self.told = told
        self.predict = functools.partial(predict, tokenizer=tokenizer, task=task, max_length=max_length, settings=prior)

    def __call__(self, model: Any) -> dict[str, float]:
        """The task's metrics, and ``score``: the one that chooses the best weights, larger being better."""
        found = self._metrics(model, self.split)
        value = found[self.metric]
        found["score"] = -value if self.metric in self.task.falling else value
        if self.told:
            self.told(found)
        return found

    def check(self, model: Any) -> None:
        """Raise :class:`ConfigError` where the task has no such metric: a few rows tell it before hours of training."""
        if self.metric == self.task.metric:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # so few rows leave some figures undefined
            found = self._metrics(model, self.split.take(range(min(len(self.split), 16))))
        if self.metric not in found:
            raise ConfigError(f"--metric {self.metric}: {self.task.name} has {', '.join(found)}")

    def _metrics(self, model: Any, split: Split) -> dict[str, float]:
        bf16 = precision.bf16_is_fast(next(model.parameters()).device)
        predictions = self.predict(model, inputs=split.inputs, bf16=bf16)
        settings = self.task.fit(predictions, split.targets)
        return self.task.metrics(predictions, split.targets, self.names, settings)


def model_source(model: str) -> str | Path:
    """The folder or Hub id that ``--model`` names; ``embedded`` is fetched once and cached."""
    return embedded.fetch_checkpoint() if model == "embedded" else model


def adopt_stage(run: Run, name: str, teacher: str, dataset: Dataset, revision: str | None = None) -> Stage:
    """A stage that takes a classifier fine-tuned elsewhere as it is, once its labels are seen to be the data's."""
    identity = {"teacher_fingerprint": models.fingerprint(teacher, revision), "data_fingerprint": dataset.fingerprint}

    def work(folder: Path) -> dict[str, Any]:
        tokenizer = models.load_tokenizer(teacher, revision)
        model = models.load_finetuned_classifier(teacher, revision)
        # Everything after this stage may count on the data's order of labels.
        classifier_head.reorder_labels(model, models.match_labels(model, dataset.label_names, teacher))
        models.save(model, tokenizer, folder)
        max_length = min(encoder.longest_input(model), 128)
        validation = Validation(tasks.get(dataset.task), tokenizer, dataset.validation, dataset.label_names, max_length)
        return {"model": teacher, "validation": validation(model)}

    return run.stage(name, identity, work)
