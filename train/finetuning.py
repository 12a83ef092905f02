"""Fine-tune a teacher: best weights chosen on validation, the test split read once, at the end."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

from lilliput import encoder, models
from lilliput.config import FinetuneConfig
from lilliput.runs import Run, Stage
from lilliput.train import embedded, loop, sources
from lilliput.train.data import Dataset, Split
from lilliput.train.evaluate import Progress, accuracy, logits_of


def finetune(config: FinetuneConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Fine-tune ``config.model`` on ``config.data`` and save it to ``config.out/teacher``, a Hugging Face folder.

    Interrupted and called again, it goes on from the last checkpoint; called once more, it returns the finished result.

    Returns:
        The stage's result: validation metrics, test accuracy, where the model is.

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
    torch.manual_seed(config.seed)  # the fresh head's weights
    tokenizer = models.load_tokenizer(source, config.revision)
    model = models.load_classifier(source, dataset.label_names, config.revision)
    models.check_length(model, config.max_length)
    tokenizer.model_max_length = config.max_length
    model, best = loop.fit(
        model,
        tokenizer,
        loop.encode(dataset.train.texts, tokenizer, config.max_length, labels=dataset.train.labels),
        config,
        folder,
        functools.partial(
            validation_accuracy, tokenizer=tokenizer, split=dataset.validation, max_length=config.max_length
        ),
        progress=progress,
        what=name,
    )
    models.save(model, tokenizer, folder)
    test = logits_of(model, tokenizer, dataset.test.texts, config.max_length)
    return {
        "model": str(config.model),
        "validation_accuracy": best["score"],
        "best_epoch": best["epoch"],
        "test_accuracy": accuracy(test, dataset.test.labels),
        "n_test": len(dataset.test.texts),
    }


def validation_accuracy(model: Any, tokenizer: Any, split: Split, max_length: int) -> dict[str, float]:
    """Accuracy of a model in training on the validation split."""
    bf16 = loop.bf16_is_fast(next(model.parameters()).device)
    logits = logits_of(model, tokenizer, split.texts, max_length, bf16=bf16)
    return {"score": accuracy(logits, split.labels)}


def model_source(model: str) -> str | Path:
    """The folder or Hub id that ``--model`` names; ``embedded`` is fetched once and cached."""
    return embedded.fetch_checkpoint() if model == "embedded" else model


def adopt_stage(run: Run, name: str, teacher: str, dataset: Dataset) -> Stage:
    """A stage that takes a model fine-tuned elsewhere as it is, once its labels are seen to be the data's."""
    identity = {"teacher_fingerprint": models.fingerprint(teacher), "data_fingerprint": dataset.fingerprint}

    def work(folder: Path) -> dict[str, Any]:
        tokenizer, model = models.load_tokenizer(teacher), models.load_finetuned_classifier(teacher)
        # Everything after this stage may count on the data's order of labels.
        encoder.reorder_labels(model, models.match_labels(model, dataset.label_names, teacher))
        models.save(model, tokenizer, folder)
        max_length = min(encoder.longest_input(model), 128)
        logits = logits_of(model, tokenizer, dataset.validation.texts, max_length)
        return {"model": teacher, "validation_accuracy": accuracy(logits, dataset.validation.labels)}

    return run.stage(name, identity, work)
