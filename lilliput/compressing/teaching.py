"""The teacher reads all texts once, before any candidate learns from it: what it says is then on the disk for all."""

from __future__ import annotations

from pathlib import Path

from lilliput import models, tasks
from lilliput.compress import teachers, transfer
from lilliput.compress.transfer import Transfer
from lilliput.compressing.plan import Plan
from lilliput.config import CompressConfig, DataConfig, DistillConfig
from lilliput.train.data import Dataset
from lilliput.train.evaluate import Progress


def read_texts(
    config: CompressConfig, known: Plan, teacher: Path, dataset: Dataset, cache: Path, progress: Progress | None = None
) -> int:
    """Have the teacher read what trials may learn from, and the validation texts; return how many texts that is.

    Candidates that are made at the same time only read what is there.
    """
    task = tasks.get(dataset.task)
    settings = {name: getattr(config, name) for name in DataConfig.model_fields}
    distillation = DistillConfig(
        **settings,
        max_length=config.max_length,
        device=config.device,
        teacher=(str(teacher),),
        augment=known.copies,
        out=cache,
    )
    one = teachers.Teacher(str(teacher), distillation, task, dataset, cache)
    texts = Transfer(dataset, task, distillation, progress)
    rows = cache / "texts.arrow"
    labels = models.load_finetuned(task, teacher).config.num_labels
    try:
        transfer.write(texts, one.tokenizer, config.max_length, labels, rows, [one], progress)
    finally:
        rows.unlink(missing_ok=True)
    one.outputs(dataset.validation.inputs)
    return texts.counts.total()
