"""What becomes of a compressed model: it is saved, measured on the test split, and compared with its teacher."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lilliput import models
from lilliput.compress import fidelity
from lilliput.tasks import Task
from lilliput.train import evaluate
from lilliput.train.data import Dataset

Predict = Callable[[Sequence[Any]], list[Any]]


def save(
    folder: Path,
    task: Task,
    dataset: Dataset,
    model: Any,
    tokenizer: Any,
    max_length: int,
    teacher: Predict,
    slice_column: str | None = None,
) -> dict[str, Any]:
    """Save ``model`` to ``folder`` with what its task fits on validation, and read the test split, once.

    Where the data have no test split, as in the trials of a search, there are the metrics on validation and nothing
    else.

    Args:
        teacher: the predictions of the model that it is compared with.
        slice_column: of `fidelity.write`.

    Returns:
        The task's metrics on ``validation`` and ``test``, ``n_test``, ``settings``, and ``fidelity``.
    """
    ours = says(functools.partial(evaluate.predict, model, tokenizer, task, max_length=max_length), task, dataset)
    models.note(model, settings=dict(ours.settings), task=task.name, max_length=max_length)
    models.save(model, tokenizer, folder, task)
    figures = functools.partial(task.metrics, names=dataset.label_names, settings=ours.settings)
    if not len(dataset.test):
        seen = figures(ours.validation, dataset.validation.targets)
        return {"validation": seen, "settings": dict(ours.settings)}
    theirs = says(teacher, task, dataset)
    return {
        "validation": figures(ours.validation, dataset.validation.targets),
        "test": figures(ours.test, dataset.test.targets),
        "n_test": len(dataset.test),
        "settings": dict(ours.settings),
        "fidelity": fidelity.write(folder, task, dataset, student=ours, teacher=theirs, slice_column=slice_column),
    }


def says(predict: Predict, task: Task, dataset: Dataset) -> fidelity.Predictions:
    """What a model says of every split that it is measured on."""
    validation = predict(dataset.validation.inputs)
    return fidelity.Predictions(
        validation=validation,
        settings=task.fit(validation, dataset.validation.targets),
        test=predict(dataset.test.inputs),
        out_of_domain={name: predict(split.inputs) for name, split in dataset.out_of_domain.items()},
    )
