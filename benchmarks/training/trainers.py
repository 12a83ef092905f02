"""One training in a process of its own: ``python -m lilliput.benchmarks.training.trainers ours|plain speed|accuracy``.

``ours`` is Lilliput's fine-tuning. ``plain`` is the script that the documentation of transformers shows: its Trainer,
padding by batch, and default arguments but for what both have in common, which is model, batch size, epochs, longest
text and seed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import datasets
import numpy as np
import pyarrow.parquet
import torch
import typer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from lilliput import models, tasks
from lilliput.config import FinetuneConfig
from lilliput.runs import Run, write_json
from lilliput.train import embedded, features, loop, sources
from lilliput.train.data import Dataset, Split
from lilliput.train.evaluation import PREDICTIONS
from lilliput.train.finetuning import finetune_stage

Measured = dict[str, Any]


def ours_speed(config: FinetuneConfig, data: Dataset) -> Measured:
    """Seconds of the training loop over the training texts; nothing is measured on validation."""
    task, source = tasks.get(config.task), embedded.fetch_checkpoint()
    tokenizer, model = models.load_tokenizer(source), models.load_for(task, source, data.label_names)
    rows = features.encode(data.train, task, tokenizer, config.max_length)
    began = time.perf_counter()
    loop.fit(model, tokenizer, rows, config, config.out, lambda model: {"score": 0.0})
    return {"seconds": time.perf_counter() - began, "texts": len(rows)}


def ours_accuracy(config: FinetuneConfig, data: Dataset) -> Measured:
    """Whether each test text is answered rightly, after `lilliput finetune` as it is."""
    with Run(config.out, "finetune") as run:
        stage = finetune_stage(run, "teacher", config, data)
    answers = pyarrow.parquet.read_table(stage.folder / PREDICTIONS).to_pydict()
    return {"hits": np.equal(answers["gold"], answers["prediction"]).tolist()}


def plain_speed(config: FinetuneConfig, data: Dataset) -> Measured:
    """Seconds of ``Trainer.train`` over the training texts."""
    trainer, encode = _plain(config, data)
    trainer.train_dataset = encode(data.train)
    began = time.perf_counter()
    trainer.train()
    return {"seconds": time.perf_counter() - began, "texts": len(data.train)}


def plain_accuracy(config: FinetuneConfig, data: Dataset) -> Measured:
    """Whether each test text is answered rightly by what ``Trainer.train`` ends with."""
    trainer, encode = _plain(config, data)
    trainer.train_dataset = encode(data.train)
    trainer.train()
    answers: Any = trainer.predict(encode(data.test)).predictions
    return {"hits": (answers.argmax(axis=1) == np.array(data.test.labels)).tolist()}


def _plain(config: FinetuneConfig, data: Dataset) -> tuple[Trainer, Callable[[Split], datasets.Dataset]]:
    source = str(embedded.fetch_checkpoint())
    tokenizer = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(config.seed)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=len(data.label_names))

    def encode(split: Split) -> datasets.Dataset:
        rows = datasets.Dataset.from_dict({"text": split.texts, "label": split.labels})
        return rows.map(
            lambda some: tokenizer(some["text"], truncation=True, max_length=config.max_length), batched=True
        )

    arguments = TrainingArguments(
        output_dir=str(config.out),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        seed=config.seed,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
    return trainer, encode


TRAININGS: dict[str, Callable[[FinetuneConfig, Dataset], Measured]] = {
    "ours speed": ours_speed,
    "ours accuracy": ours_accuracy,
    "plain speed": plain_speed,
    "plain accuracy": plain_accuracy,
}


def main(
    who: Annotated[str, typer.Argument(help="ours or plain.")],
    what: Annotated[str, typer.Argument(help="speed or accuracy.")],
    out: Annotated[Path, typer.Option(help="File of the result.")],
    work: Annotated[Path, typer.Option(help="Folder of the training.")],
    epochs: Annotated[int, typer.Option(help="Passes over the texts.")],
    texts: Annotated[int | None, typer.Option(help="Training texts; all by default.")] = None,
    seed: Annotated[int, typer.Option(help="Also the fold, modulo 3.")] = 0,
) -> None:
    """Train once and write what was measured."""
    train = TRAININGS[f"{who} {what}"]
    datasets.disable_progress_bars()
    config = FinetuneConfig(epochs=epochs, seed=seed, consistency=0.0, out=work)  # one pass a step in both
    write_json(out, train(config, sources.load(config).subset(train=texts, seed=seed)))


if __name__ == "__main__":
    typer.run(main)
