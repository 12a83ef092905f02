"""The training loop: transformers' Trainer with sealed checkpoints, a repeatable order, and no silent NaN.

Fine-tuning and every retraining step of compression run on it; they differ in the loss only (see :class:`Objective`).
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import datasets
import torch
import transformers
from torch import Tensor
from transformers import DataCollatorWithPadding, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from lilliput.config import LoopConfig
from lilliput.errors import ConfigError, TrainingError
from lilliput.machine import cpu, usable_cores
from lilliput.runs import append_log, set_seed, write_json, write_text
from lilliput.train import checkpoints
from lilliput.train.evaluate import Progress


class Objective(Protocol):
    """A loss as the loop calls it: the model, one padded batch, and the batch's labels or teacher outputs in it."""

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """The scalar loss of one batch."""
        ...


def label_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy with the labels: what fine-tuning minimises."""
    return model(**batch).loss


class Validate(Protocol):
    """Measures a model on the validation split; larger is better."""

    def __call__(self, model: Any) -> dict[str, float]:
        """Named metrics; ``"score"`` is the one that chooses the best model."""
        ...


def encode(texts: Sequence[str], tokenizer: Any, max_length: int, **columns: Any) -> datasets.Dataset:
    """Tokenised texts as a dataset, with their lengths, their row numbers and further columns."""
    encoded = dict(tokenizer(list(texts), truncation=True, max_length=max_length))
    lengths = [len(ids) for ids in encoded["input_ids"]]
    return datasets.Dataset.from_dict({**encoded, "length": lengths, "row": list(range(len(texts))), **columns})


def pick_device(device: str) -> torch.device:
    """The device that ``--device`` names; ``auto`` is CUDA where there is one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: PyTorch sees no CUDA device here; use --device cpu, or see 'lilliput doctor'")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def bf16_is_fast(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32 (elsewhere CPUs emulate them, slowly)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    processor = cpu()
    return bool(processor.has("BF16") or processor.has("AMX-BF16"))


class LengthGroupedSampler(torch.utils.data.Sampler[int]):
    """Shuffles, then groups texts of like length, in an order that depends on seed and epoch alone.

    Transformers' own sampler draws from the global generator, so that a resumed epoch would see another order than the
    one it was interrupted in.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = list(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        grouped = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        # Grouping leaves the longest texts in the first batches of every block; the batches are shuffled once more.
        batches = [grouped[i : i + self.batch_size] for i in range(0, len(grouped), self.batch_size)]
        full = [batch for batch in batches if len(batch) == self.batch_size]
        rest = [batch for batch in batches if len(batch) < self.batch_size]
        order = torch.randperm(len(full), generator=generator).tolist()
        return iter([index for i in order for index in full[i]] + [index for batch in rest for index in batch])


class TrainingLoop(transformers.Trainer):
    """``Trainer`` with an :class:`Objective`, sealed checkpoints and a stop on a loss that is not finite."""

    objective: Objective

    def __init__(self, *args: Any, objective: Objective = label_loss, **options: Any) -> None:
        super().__init__(*args, **options)
        self.objective = objective
        # The objective decides what the loss is; Trainer must not rescale it by the number of items.
        self.model_accepts_loss_kwargs = False
        self._rows: list[int] = []  # of the batch in work

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler:
        data: Any = self.train_dataset if train_dataset is None else train_dataset
        # Without lengths every row is as long as the others, and grouping changes nothing but the order.
        lengths = data["length"] if "length" in data.column_names else [0] * len(data)
        return LengthGroupedSampler(lengths, self.args.train_batch_size, self.args.seed)

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The objective's loss for one batch; raises :class:`TrainingError` if it is not finite."""
        self._rows = inputs.pop("row").tolist()
        inputs.pop("length", None)
        loss = self.objective(model, inputs)
        self._stop_unless_finite(loss, "loss")
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        # The last look before the optimizer's step: a finite loss may have a gradient that is not.
        norm = super()._clip_grad_norm(model)
        self._stop_unless_finite(norm, "gradient's norm")
        return norm

    def _stop_unless_finite(self, value: Tensor, name: str) -> None:
        if not torch.isfinite(value):
            raise TrainingError(
                f"the {name} became {value.item()} at step {self.state.global_step + 1} on training rows {self._rows}; "
                "look at those rows, or lower --learning-rate. The last good checkpoint is kept"
            )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            checkpoints.seal(Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}")


class _Watch(TrainerCallback):
    """Reports progress, logs, measures validation at each epoch's end and keeps the best weights."""

    def __init__(
        self, folder: Path, steps_per_epoch: int, validate: Validate, progress: Progress | None, what: str
    ) -> None:
        self.folder = folder
        self.steps_per_epoch = steps_per_epoch
        self.validate = validate
        self.progress = progress
        self.what = what

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Tell how far training is; at the end of an epoch, measure on validation.

        Not in ``on_epoch_end``: that comes after the step's checkpoint, and a run that is killed between the two would
        resume behind the measurement and never make it.
        """
        epoch = math.ceil(state.global_step / self.steps_per_epoch)
        if self.progress:
            self.progress(state.global_step, state.max_steps, f"{self.what}, epoch {epoch}")
        if state.global_step % self.steps_per_epoch == 0:
            self._measure(model, state.global_step, epoch)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Keep the loss and the learning rate in the structured log."""
        if logs and "loss" in logs:  # what comes at the end is the time it took, which a resumed run can't know
            append_log(self.folder / "log.jsonl", "train", step=state.global_step, **logs)

    def _measure(self, model: Any, step: int, epoch: int) -> None:
        metrics = {**self.validate(model), "step": step, "epoch": epoch}
        append_log(self.folder / "log.jsonl", "validation", **metrics)
        best = best_metrics(self.folder)
        # A resumed run comes by the same step again: it must not lose to its own earlier measurement.
        if best is None or metrics["score"] > best["score"] or step == best["step"]:
            _keep(model, metrics, self.folder / "checkpoints" / "best")


def _keep(model: Any, metrics: dict[str, float], folder: Path) -> None:
    """Replace the best weights so far; the metrics are written last and make them count."""
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    write_json(folder / "validation.json", metrics)


def _go_back(log: Path, checkpoint: Path | None) -> None:
    """Drop the log's lines of later steps than the checkpoint's, since those steps are done again."""
    if not log.exists():
        return
    step = checkpoints.step_of(checkpoint) if checkpoint else 0
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [
        line for line in lines if line.endswith("}") and json.loads(line).get("step", 0) <= step
    ]  # a kill can cut a line
    write_text(log, "".join(f"{line}\n" for line in kept))
    append_log(log, "resumed", step=step)


def best_metrics(folder: Path) -> dict[str, float] | None:
    """Validation metrics of the best weights so far, with their step and epoch."""
    try:
        return json.loads((folder / "checkpoints" / "best" / "validation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def fit(
    model: Any,
    tokenizer: Any,
    data: datasets.Dataset,
    config: LoopConfig,
    folder: Path,
    validate: Validate,
    *,
    objective: Objective = label_loss,
    collate: Callable[[list[dict[str, Any]]], dict[str, Tensor]] | None = None,
    progress: Progress | None = None,
    what: str = "training",
) -> tuple[Any, dict[str, float]]:
    """Train ``model``, resuming from what ``folder`` holds, and return its best weights on validation.

    Args:
        data: encoded texts with the columns that the objective reads (see :func:`encode`); ``row`` numbers them.
        collate: makes a batch of rows; pads token ids by default.
        folder: working folder of the stage; checkpoints go to ``folder/checkpoints``.
        validate: called after each epoch.

    Returns:
        The model with the best weights, and their validation metrics with ``step`` and ``epoch``.

    Raises:
        TrainingError: the loss became NaN or infinite; the message names the rows.
    """
    set_seed(config.seed)
    device = pick_device(config.device)
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=bf16_is_fast(device),
        use_cpu=device.type == "cpu",
        seed=config.seed,
        save_strategy="steps",
        save_steps=config.save_every,
        save_total_limit=2,
        eval_strategy="no",
        # Every checkpoint at the end of a logged span: a resumed run can't know the losses before its checkpoint.
        logging_steps=math.gcd(25, config.save_every),
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
    )
    # With several devices a step reads several batches.
    steps_per_epoch = math.ceil(len(data) / (arguments.train_batch_size * arguments.world_size))
    arguments.warmup_steps = round(config.warmup * steps_per_epoch * config.epochs)
    loop = TrainingLoop(
        model=model,
        args=arguments,
        train_dataset=data,
        data_collator=collate or DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        callbacks=[_Watch(folder, steps_per_epoch, validate, progress, what)],
        objective=objective,
    )
    loop.remove_callback(transformers.PrinterCallback)
    resume = checkpoints.newest(folder / "checkpoints")
    _go_back(folder / "log.jsonl", resume)
    loop.train(resume_from_checkpoint=str(resume) if resume else None)
    best = best_metrics(folder)
    if best is None:
        raise TrainingError(f"{folder}: training ended without a validation result")
    return type(model).from_pretrained(folder / "checkpoints" / "best", dtype=torch.float32), best
