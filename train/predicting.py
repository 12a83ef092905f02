"""A Hugging Face model that answers through the task table, in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lilliput import encoder, models, tasks
from lilliput.errors import ConfigError, ModelError
from lilliput.tasks import Task
from lilliput.train import evaluate, finetuning, loop


def load(source: str | Path, task: str | None = None, revision: str | None = None, device: str = "auto") -> Predictor:
    """Load a fine-tuned model of a folder or Hub id, by Lilliput or by anybody else.

    Args:
        source: the folder or Hub id; "embedded" is all-MiniLM-L6-v2.
        task: a task of the task table; what the model was made for, when None.
        device: auto, cpu or cuda.

    Raises:
        ModelError: no such folder, an unsupported architecture, a model without a trained head for the task.
        ConfigError: there is no such task or device.
    """
    place = finetuning.model_source(str(source))
    if task is not None and task not in tasks.names():
        raise ConfigError(f"--task {task}: unknown; known are {', '.join(tasks.names())}")
    chosen = tasks.get(task) if task else models.task_of(place, revision)
    tokenizer = models.load_tokenizer(place, revision)
    model = models.load_finetuned(chosen, place, revision)
    return Predictor(model.to(loop.pick_device(device)), tokenizer, chosen, str(source))


class Predictor:
    """A model that answers as the pipeline of transformers for its task does. Made by `load`.

    Attributes:
        task: how inputs and answers look.
        labels: names of the model's outputs.
        settings: what was fitted on validation.
        max_length: tokens of an input that are read at a time.
    """

    def __init__(self, model: Any, tokenizer: Any, task: Task, name: str) -> None:
        noted = models.noted(model)
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.task = task
        self.labels = models.labels_of(model)
        self.settings = dict(noted.get("settings") or {}) if noted.get("task") == task.name else {}
        self.max_length = noted.get("max_length") or min(tokenizer.model_max_length, encoder.longest_input(model))
        if type(self.max_length) is not int or not 0 < self.max_length <= encoder.longest_input(model):
            raise ModelError(f"{name}: its config.json says that it reads {self.max_length!r} tokens, which it can't")

    def __call__(self, *given: Any, **options: Any) -> Any:
        """Answer one input or several.

        Args:
            given: a string; a mapping of the task's ``inputs``, such as ``{"text", "text_pair"}``; or a list of them.
                Or nothing, where the parts of one input are given by name.
            options: of the task's `Task.answer`.

        Returns:
            What the pipeline of transformers for this task returns.

        Raises:
            InputError: an input is none of these or can't be answered; the message names its number.
            ConfigError: an option is unknown or wrong.
        """
        parts = {name: options.pop(name) for name in self.task.inputs if name in options}
        items, single = self.task.asked(*given, **parts)
        answers = self.answers(items, self.predictions(items), **options)
        return self.task.alone(given[0] if given else parts, answers[0]) if single else answers

    def predictions(self, items: Sequence[Any]) -> list[Any]:
        """What the model says of each input, in the task's own form; ``items`` as `Task.asked` gives them."""
        return evaluate.predict(self.model, self.tokenizer, self.task, items, self.max_length, settings=self.settings)

    def answers(self, items: Sequence[Any], predictions: Sequence[Any], **options: Any) -> list[Any]:
        """The answers that predictions of inputs stand for."""
        given = {"tokenizer": self.tokenizer.backend_tokenizer, **options}
        return self.task.answers(items, predictions, self.labels, self.settings, **given)
