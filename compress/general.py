"""Distil a pretrained encoder on raw text, before any task: a general student, to be distilled again for each task.

Only what the models compute inside is compared, so neither labels nor a head are needed. The corpus is packed into
blocks of one length on disk, as for pretraining.

References: Jiao et al., "TinyBERT", Findings of EMNLP 2020, section 3.2 (general distillation); Wang et al., "MiniLM",
NeurIPS 2020, and "MiniLMv2", Findings of ACL 2021 (task-agnostic distillation).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lilliput import encoder, models, processes, tasks
from lilliput.compress import distillation_loss, mapping, objectives, students
from lilliput.compress.distillation_check import refuse_unread
from lilliput.compress.distillation_loss import DistillationLoss
from lilliput.compress.stages import Schedule, stages
from lilliput.config import CorpusConfig, DistillConfig
from lilliput.errors import ConfigError
from lilliput.runs import Run, Stage
from lilliput.train import loop, packing
from lilliput.train.corpus import Corpus
from lilliput.train.evaluate import Progress
from lilliput.train.finetuning import model_source

ENCODER = "sentence-embedding"
"""The task whose models are encoders without a head."""
BATCH = 32

UNREAD = (
    *("initial_model", "unlabelled", "hard_label_weight", "augment", "augment_model", "augment_online"),
    *(
        "teacher_outputs",
        "rounding",
        "target_cpu",
        "block_size",
        "slice_column",
        "data",
        "task",
        "label_column",
        "pair_column",
    ),
    *("allow_overlap", "temperature", "reconstruct"),
)
"""Settings of a distillation for a task, which do nothing here."""


@dataclass(frozen=True)
class Pretrained:
    """A teacher without a head, and the fingerprint of its files."""

    model: Any
    fingerprint: str


def distill_general(config: DistillConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Distil the encoder ``config.teacher`` on ``config.corpus`` and save a student to ``config.out/student``.

    Returns:
        The stage's result, with the mean loss on held-out documents, and where the student is.

    Raises:
        ConfigError: an objective compares predictions, or there are several teachers or stages.
        DataError, ModelError: corpus or teacher are not usable; see the message.
    """
    schedule = check(config)
    corpus = Corpus(CorpusConfig(corpus=config.corpus, text_column=config.text_column, held_out=config.held_out))
    teacher = model_source(config.teacher[0])
    with Run(config.out, "distill") as run:
        identity = {
            **config.model_dump(mode="json", exclude={"out", "teacher", "save_every"}),
            "teacher_fingerprint": models.fingerprint(teacher, config.revision),
            "corpus_fingerprint": corpus.fingerprint(),
            **objectives.sources(config.objective, config.stage),
        }
        stage: Stage = run.stage(
            "student",
            identity,
            lambda folder: _distill(folder, teacher, corpus, schedule, progress),
            config=config.model_dump(mode="json"),
        )
    return {**stage.result, "folder": str(stage.folder), "reused": stage.reused}


def check(config: DistillConfig) -> Schedule:
    """The one stage of a general distillation; raises :class:`ConfigError` where it can't be one."""
    if not students.is_transformer(config.student):
        raise ConfigError(f"--student {config.student}: has no layers like the teacher's to compare; use layers=N")
    for name in UNREAD:
        if (value := getattr(config, name)) != DistillConfig.model_fields[name].default:
            flag = f"--{'' if value is not False else 'no-'}{name.replace('_', '-')}"
            given = "" if isinstance(value, bool) else f" {value}"
            raise ConfigError(f"{flag}{given}: has no part in a distillation on raw text; leave it out with --corpus")
    mapping.check(config.mapping)
    found = stages(config)
    refuse_unread(config, found)
    if len(found) > 1 or len(config.teacher) > 1:
        flag = "--stage" if len(found) > 1 else "--teacher"
        raise ConfigError(f"{flag}: one is enough with --corpus; distil for a task afterwards with --initial-model")
    for _, objective in found[0].terms:
        if objective.on == "predictions":
            raise ConfigError(
                f"--objective {objective.name}: compares predictions, which an encoder without a task has none of; use "
                "relations, minilm, hidden-states, attention-maps or embeddings"
            )
    return found[0]


def _distill(
    folder: Path, source: str | Path, corpus: Corpus, schedule: Schedule, progress: Progress | None
) -> dict[str, Any]:
    config = schedule.config
    tokenizer = models.load_tokenizer(source, config.revision)
    teacher = models.load_for(tasks.get(ENCODER), source, (), config.revision)
    models.check_length(teacher, config.max_length)
    teacher.requires_grad_(False).eval().to(loop.pick_device(config.device))
    torch.manual_seed(config.seed)
    student, layers = students.build(
        config.student, teacher, tokenizer, initial_layers=config.initial_layers, seed=config.seed
    )
    known = Pretrained(teacher, models.fingerprint(source, config.revision))
    distillation_loss.check(schedule, "vector", student, known)
    blocks = folder / "checkpoints" / "corpus"
    blocks.mkdir(parents=True, exist_ok=True)
    packed = processes.on_main(lambda: packing.pack(corpus, tokenizer, config.max_length, blocks, progress))
    student.requires_grad_(True)
    encoder.set_dropout(student, config.dropout)
    encoder.word_embeddings_of(student).weight.requires_grad_(config.train_embeddings)
    torch.manual_seed(config.seed)
    objective = DistillationLoss(schedule, "vector", student, [known], (1.0,))
    collate = Blocks(tokenizer.pad_token_id)
    student, best = loop.fit(
        student,
        tokenizer,
        packing.blocks_of(blocks / packing.TRAINING),
        config,
        folder,
        HeldOut(packing.blocks_of(blocks / packing.HELD_OUT), collate, objective),
        objective=objective,
        collate=collate,
        progress=progress,
        what="student",
    )
    objective.close()
    encoder.word_embeddings_of(student).weight.requires_grad_(True)
    models.save(student, tokenizer, folder)
    return {
        "teachers": {str(config.teacher[0]): 1.0},
        "student": config.student,
        "shape": vars(encoder.shape_of(student)),
        "initial_layers": layers,
        "loss": -best["score"],
        "best_epoch": best["epoch"],
        **packed,
    }


class Blocks:
    """Makes a batch of packed blocks: ``input_ids``, ``attention_mask`` and ``row``."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """A batch, tokens ``[B, length]``."""
        batch = packing.collate(rows)
        return {**batch, "attention_mask": (batch["input_ids"] != self.pad_id).long()}


class HeldOut:
    """Measures the objective on the blocks of the documents that are held out."""

    def __init__(self, blocks: Any, collate: Blocks, objective: DistillationLoss) -> None:
        self.blocks = blocks
        self.collate = collate
        self.objective = objective

    @torch.no_grad()
    def __call__(self, model: Any) -> dict[str, float]:
        """``score``, the negative mean loss of a block."""
        device, training = next(model.parameters()).device, model.training
        model.eval()
        losses: list[float] = []
        for start in range(0, len(self.blocks), BATCH):
            rows = [self.blocks[number] for number in range(start, min(start + BATCH, len(self.blocks)))]
            batch = self.collate(rows)
            batch.pop("row")
            losses += [float(self.objective(model, {name: t.to(device) for name, t in batch.items()}))] * len(rows)
        model.train(training)
        return {"score": -float(np.mean(losses))}
