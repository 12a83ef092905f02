"""Fine-tune a teacher: best weights chosen on validation, the test split read once, at the end."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lilliput import encoder, models, tasks
from lilliput.config import FinetuneConfig
from lilliput.errors import ConfigError
from lilliput.runs import Run, Stage
from lilliput.tasks import Task
from lilliput.train import embedded, evaluation, features, loop, losses, sources
from lilliput.train.data import Dataset, Split
from lilliput.train.evaluate import Progress, predict


def finetune(config: FinetuneConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Fine-tune ``config.model`` on ``config.data`` and save it to ``config.out/teacher``, a Hugging Face folder.

    Interrupted and called again, it goes on from the last checkpoint; called once more, it returns the finished result.

    Returns:
        The stage's result: metrics on validation and test, where the model is.

    Raises:
        DataError, ModelError, ConfigError: something given is not usable; see the message.
        TrainingError: the loss became NaN or infinite.
    """
    dataset = sources.load(config)
    with Run(config.out, "finetune") as run:
        stage = finetune_stage(run, "teacher", config, dataset, progress)
    return {**stage.result, "folder": str(stage.folder), "reused": stage.reused}


def finetune_stage(
    run: Run, name: str, config: FinetuneConfig, dataset: Dataset, progress: Progress | None = None
) -> Stage:
    """The stage that :func:`finetune` consists of, for runs with more than one."""
    source = model_source(config.model)
    recipe = config.model_dump(mode="json", exclude={"out", "save_every"})
    identity = {
        **recipe,
        "model_fingerprint": models.fingerprint(source, config.revision),
        "data_fingerprint": dataset.fingerprint,
    }
    return run.stage(
        name,
        identity,
        lambda folder: _finetune(folder, source, config, dataset, progress, name),
        config=config.model_dump(mode="json"),
    )


def _finetune(
    folder: Path,
    source: str | Path,
    config: FinetuneConfig,
    dataset: Dataset,
    progress: Progress | None,
    name: str,
) -> dict[str, Any]:
    task = tasks.get(config.task)
    torch.manual_seed(config.seed)  # the fresh head's weights
    tokenizer = models.load_tokenizer(source, config.revision)
    model = models.load_for(task, source, dataset.label_names, config.revision)
    models.add_tokens(model, tokenizer, task.new_tokens)
    models.check_length(model, config.max_length)
    tokenizer.model_max_length = config.max_length
    prior = task.prior(dataset.train.targets)
    model, best = loop.fit(
        model,
        tokenizer,
        features.encode(dataset.train, task, tokenizer, config.max_length),
        config,
        folder,
        Validation(task, tokenizer, dataset.validation, dataset.label_names, config.max_length, config.metric, prior),
        objective=losses.of(task, dataset.train, dataset.label_names, config.class_weights, config.consistency),
        collate=features.Collate(tokenizer, task.per_token),
        layer_decay=config.layer_decay,
        progress=progress,
        what=name,
    )
    if prior:  # what the loss has standardised; from here on the model answers in the units of the data
        encoder.scale_head(model, prior["deviation"], prior["mean"])
    ask = functools.partial(predict, model, tokenizer, task, max_length=config.max_length)
    validation = ask(dataset.validation.inputs)
    settings = task.fit(validation, dataset.validation.targets)
    models.note(model, task=task.name, settings=settings, max_length=config.max_length)
    models.save(model, tokenizer, folder)
    test = ask(dataset.test.inputs, settings=settings)
    figures = functools.partial(task.metrics, names=dataset.label_names, settings=settings)
    return {
        "model": str(config.model),
        "task": task.name,
        "validation": figures(validation, dataset.validation.targets),
        "best_epoch": best["epoch"],
        "test": figures(test, dataset.test.targets),
        "n_test": len(dataset.test),
        "settings": settings,
        "evaluation": evaluation.write(
            folder, task, test, dataset.test, dataset.label_names, settings, validation=(validation, dataset.validation)
        ),
    }


class Validation:
    """Measures a model in training on the validation split.

    Raises:
        ConfigError: the task has no such metric.
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
    ) -> None:
        self.task = task
        self.split = split
        self.names = names
        self.metric = metric
        self.predict = functools.partial(
            predict, tokenizer=tokenizer, task=task, inputs=split.inputs, max_length=max_length, settings=prior
        )

    def __call__(self, model: Any) -> dict[str, float]:
        """The task's metrics, and ``score``: the one that chooses the best weights, larger being better."""
        bf16 = loop.bf16_is_fast(next(model.parameters()).device)
        predictions = self.predict(model, bf16=bf16)
        settings = self.task.fit(predictions, self.split.targets)
        found = self.task.metrics(predictions, self.split.targets, self.names, settings)
        if self.metric not in {None, *found}:
            raise ConfigError(f"--metric {self.metric}: {self.task.name} has {', '.join(found)}")
        usual = self.task.metric if self.task.metric in found else next(iter(found))
        metric = self.metric or usual
        return {**found, "score": -found[metric] if metric in self.task.falling else found[metric]}


def model_source(model: str) -> str | Path:
    """The folder or Hub id that ``--model`` names; ``embedded`` is fetched once and cached."""
    return embedded.fetch_checkpoint() if model == "embedded" else model


def adopt_stage(run: Run, name: str, teacher: str, dataset: Dataset) -> Stage:
    """A stage that takes a classifier fine-tuned elsewhere as it is, once its labels are seen to be the data's."""
    identity = {"teacher_fingerprint": models.fingerprint(teacher), "data_fingerprint": dataset.fingerprint}

    def work(folder: Path) -> dict[str, Any]:
        tokenizer, model = models.load_tokenizer(teacher), models.load_finetuned_classifier(teacher)
        # Everything after this stage may count on the data's order of labels.
        encoder.reorder_labels(model, models.match_labels(model, dataset.label_names, teacher))
        models.save(model, tokenizer, folder)
        max_length = min(encoder.longest_input(model), 128)
        validation = Validation(tasks.get(dataset.task), tokenizer, dataset.validation, dataset.label_names, max_length)
        return {"model": teacher, "validation": validation(model)}

    return run.stage(name, identity, work)
