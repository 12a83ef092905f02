"""The training loop: transformers' Trainer with atomic checkpoints, a repeatable order, and no silent NaN.

Fine-tuning, pretraining and every retraining step of compression run on it; they differ in the loss only (see
:class:`Objective`). Where ``torchrun`` or ``accelerate launch`` starts several processes, they share the rows of each
step and average their gradients, and the main one writes.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import datasets
import numpy as np
import safetensors.torch
import torch
import transformers
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import disable_fsdp_ram_efficient_loading
from torch import Tensor
from transformers import DataCollatorWithPadding, TrainingArguments
from transformers.trainer_pt_utils import safe_globals

from lilliput import processes
from lilliput.config import LoopConfig
from lilliput.errors import ConfigError, TrainingError
from lilliput.first_token import first_token_only
from lilliput.folders import fsync
from lilliput.machine import usable_cores
from lilliput.runs import set_seed, write_json
from lilliput.train import checkpoints
from lilliput.train.batches import Collate, LengthGroupedBatches, RepeatableCollate
from lilliput.train.evaluate import Progress
from lilliput.train.optimizer import parameter_groups
from lilliput.train.precision import autocasts
from lilliput.train.watch import METRICS, Validate, Watch, best_metrics, go_back

NAMED = 8
"""Rows that an error names."""

BESIDE = "beside"
"""Attribute of a model for a module that is trained with it but is no part of the result; checkpoints hold it."""
BESIDE_FILE = "beside.safetensors"
"""Its weights as they were with the best ones of the model."""

CHECKPOINTS = 2
"""Checkpoints that are kept: the newest, and the one before it should the newest be damaged."""


class Objective(Protocol):
    """A loss as the loop calls it: the model, one padded batch, and the batch's labels or teacher outputs in it."""

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        """The scalar loss of one batch."""
        ...


def label_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy with the labels: what fine-tuning minimises."""
    return model(**batch).loss


def encode(texts: Sequence[str], tokenizer: Any, max_length: int, **columns: Any) -> datasets.Dataset:
    """Tokenised texts as a dataset, with their lengths, their row numbers and further columns."""
    encoded = dict(tokenizer(list(texts), truncation=True, max_length=max_length))
    lengths = [len(ids) for ids in encoded["input_ids"]]
    return datasets.Dataset.from_dict({**encoded, "length": lengths, "row": list(range(len(texts))), **columns})


def pick_device(device: str) -> torch.device:
    """The device that ``--device`` names; ``auto`` is CUDA where there is one, the process's own where there are
    several."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: PyTorch sees no CUDA device here; use --device cpu, or see 'lilliput doctor'")
    launched_for_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    if device == "cpu" or (device == "auto" and launched_for_cpu) or not torch.cuda.is_available():
        return torch.device("cpu")
    if processes.count() == 1:
        return torch.device("cuda")
    if processes.local_rank() >= torch.cuda.device_count():
        raise ConfigError(
            f"--device {device}: PyTorch sees {torch.cuda.device_count()} CUDA devices here; start as many processes"
        )
    return torch.device("cuda", processes.local_rank())


class TrainingLoop(transformers.Trainer):
    """``Trainer`` with an :class:`Objective`, atomic checkpoints and a stop on a loss that is not finite."""

    objective: Objective

    def __init__(
        self, *args: Any, batches: LengthGroupedBatches, objective: Objective, layer_decay: float, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.batches = batches
        self.objective = objective
        self.layer_decay = layer_decay
        # The objective decides what the loss is; Trainer must not rescale it by the number of items.
        self.model_accepts_loss_kwargs = False
        self._rows: list[int] = []  # of the batches whose gradients the step in work adds up

    def get_train_dataloader(self) -> torch.utils.data.DataLoader:
        """This process's batches, on its device."""
        data: Any = self.train_dataset
        loader = torch.utils.data.DataLoader(
            data.remove_columns(["place"]) if "place" in data.column_names else data,
            batch_sampler=self.batches,
            collate_fn=RepeatableCollate(self.data_collator, self.batches),
            pin_memory=self.args.dataloader_pin_memory,
        )
        # As if there were one process only: the batches are shared out already.
        return prepare_data_loader(
            loader, self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW; biases and normalisations don't decay."""
        if self.layer_decay == 1 or self.optimizer is not None:
            return super().create_optimizer(model)
        model = self.model if model is None else model
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
        decayed = self.get_decay_parameter_names(model)
        groups = parameter_groups(model, self.args.learning_rate, self.layer_decay, self.args.weight_decay, decayed)
        self.optimizer = kind(groups, **options)
        return self.optimizer

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The objective's loss for one batch; raises :class:`TrainingError` if it is not finite."""
        rows = inputs.pop("row").tolist()
        inputs.pop("length", None)
        self._rows += rows
        # The model may be wrapped where there are several processes; it then computes its last block as it is.
        alone = processes.count() == 1 and not getattr(self.objective, "reads_states", False)
        with first_token_only(model) if alone else contextlib.nullcontext():
            loss = self.objective(model, inputs)
        self._stop_unless_finite(loss, "loss", rows)
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        # The last look before the optimizer's step: a finite loss may have a gradient that is not.
        norm = super()._clip_grad_norm(model)
        if self.accelerator.scaler is None:  # else fp16: the scaler skips such steps, and tries a smaller scale
            whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # of a model in shards
            self._stop_unless_finite(whole, "gradient's norm", self._rows)
        self._rows = []
        return norm

    def _stop_unless_finite(self, value: Tensor, name: str, rows: list[int]) -> None:
        """Raise :class:`TrainingError` in every process if ``value`` is not finite in one of them."""
        finite = bool(torch.isfinite(value))
        if not processes.in_any(not finite):
            return
        bad = [found for found in processes.gather(None if finite else (value.item(), rows)) if found]
        raise TrainingError(
            f"the {name} became {bad[0][0]} at step {self.state.global_step + 1} on "
            f"{self._named([row for _, rows in bad for row in rows])}; look at those rows, or lower --learning-rate. "
            "The last good checkpoint is kept"
        )

    def _named(self, rows: list[int]) -> str:
        """The first of ``rows`` by file and line, or by number, and how many more there are."""
        data: Any = self.train_dataset
        if "place" in data.column_names:
            places = dict(zip(data["row"], data["place"], strict=True))
            names = list(dict.fromkeys(places[row] for row in rows))  # a text can give several rows
        else:
            names = [str(row) for row in rows]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return ("" if "place" in data.column_names else "training rows ") + ", ".join(names[:NAMED]) + more

    # --- checkpoints -------------------------------------------------------------------------------------------------

    @property
    def _folder(self) -> Path:
        return Path(str(self.args.output_dir))

    def _get_output_dir(self, trial: Any) -> str:
        # Where Trainer writes a checkpoint. It gets its place when it is whole.
        return str(self._folder / checkpoints.WRITING)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        written = processes.on_main(lambda: checkpoints.new(self._folder)) / f"checkpoint-{self.state.global_step}"
        super()._save_checkpoint(model, trial)
        processes.gather(None)  # every process writes the state of its own generators

        def place() -> None:
            fsync(self._folder.parent / "log.jsonl")  # a checkpoint stands for the log's lines up to it
            checkpoints.place(written, self._folder, CHECKPOINTS)

        processes.on_main(place)

    def keep_best(self, metrics: dict[str, float]) -> None:
        """Save the weights as they are as the best so far, with their metrics."""
        written = processes.on_main(lambda: checkpoints.new(self._folder)) / f"best-{self.state.global_step}"
        # The shards of a model are in all processes, and all must help to put them together.
        whole = self.accelerator.get_state_dict(self.model) if self.is_fsdp_enabled else None

        def save() -> None:
            model, weights = self.accelerator.unwrap_model(self.model), whole
            if hasattr(model, BESIDE):
                every = model.state_dict() if whole is None else whole
                weights = {name: value for name, value in every.items() if not name.startswith(f"{BESIDE}.")}
                beside = {name: value.contiguous() for name, value in every.items() if name not in weights}
                written.mkdir()
                safetensors.torch.save_file(beside, written / BESIDE_FILE)
            model.save_pretrained(written, state_dict=weights)
            write_json(written / METRICS, metrics)
            checkpoints.place(written, self._folder, keep=1)

        processes.on_main(save)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        # Trainer's own goes on where a state is missing or does not fit; dropout would then be another than before.
        name = "rng_state.pth" if self.args.world_size == 1 else f"rng_state_{self.args.process_index}.pth"
        path = Path(str(checkpoint)) / name
        try:
            with safe_globals():
                state = torch.load(path, weights_only=True)
            random.setstate(state["python"])
            np.random.set_state(state["numpy"])
            torch.set_rng_state(state["cpu"])
            if self.args.device.type == "cuda" and self.args.world_size > 1:
                torch.cuda.set_rng_state_all(state["cuda"])
            elif self.args.device.type == "cuda":
                torch.cuda.set_rng_state(state["cuda"])
        except Exception as error:  # whatever is wrong with it
            raise TrainingError(
                f"{path}: the random generators can't go on from where they were ({error}); "
                f"resume on devices as before, or delete {self._folder} to start again"
            ) from error


def fit(
    model: Any,
    tokenizer: Any,
    data: datasets.Dataset,
    config: LoopConfig,
    folder: Path,
    validate: Validate,
    *,
    objective: Objective = label_loss,
    collate: Collate | None = None,
    layer_decay: float = 1.0,
    max_steps: int | None = None,
    progress: Progress | None = None,
    what: str = "training",
) -> tuple[Any, dict[str, float]]:
    """Train ``model``, resuming from what ``folder`` holds, and return its best weights on validation.

    Several processes call it alike, on the same folder, and all return the same.

    Args:
        data: encoded texts with the columns that the objective reads (see :func:`encode`). ``row`` numbers them;
            ``length``, where there is one, groups texts of like length; ``place`` (file and line) names them in errors.
        collate: makes a batch of rows; pads token ids by default. What it draws from torch's generator is drawn again
            by a resumed run.
        folder: working folder of the stage; checkpoints go to ``folder/checkpoints``.
        validate: called after each epoch, and after the last step.
        layer_decay: factor on the learning rate from each layer to the one below it (see
            :func:`lilliput.train.optimizer.parameter_groups`).
        max_steps: steps after which schedule and training end, however many epochs that takes; those of all epochs by
            default.

    Returns:
        The model with the best weights, on its device, and their validation metrics with ``step`` and ``epoch``.

    Raises:
        TrainingError: the loss became NaN or infinite (the message names the rows), or a checkpoint is damaged.
        DataError: there are fewer rows than processes.
    """
    kind = type(model)  # sharding changes it
    set_seed(config.seed)
    device = pick_device(config.device)
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    # Without lengths every row is as long as the others, and grouping changes nothing but the order.
    lengths = data["length"] if "length" in data.column_names else [0] * len(data)
    batches = LengthGroupedBatches(list(lengths), config.batch_size, config.seed, processes.rank(), processes.count())
    steps_per_epoch = math.ceil(len(batches) / config.gradient_accumulation)
    steps = max_steps or config.epochs * steps_per_epoch
    resume = processes.on_main(lambda: _resume(folder, min(steps_per_epoch, steps)))
    loop = TrainingLoop(
        model=model,
        args=_arguments(config, folder, device, steps),
        train_dataset=data,
        data_collator=collate or DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        batches=batches,
        objective=objective,
        layer_decay=layer_decay,
    )
    loop.remove_callback(transformers.PrinterCallback)
    watching = Watch(
        folder,
        steps_per_epoch,
        validate,
        loop.keep_best,
        patience=config.patience,
        progress=progress,
        what=what,
    )
    loop.add_callback(watching)
    done = checkpoints.step_of(resume) if resume else 0
    if done < steps and not processes.on_main(lambda: watching.is_over(done)):
        set_seed(config.seed + processes.rank())  # the weights are alike, dropout is not
        loop.train(resume_from_checkpoint=str(resume) if resume else None)
    best = processes.on_main(lambda: best_metrics(folder))
    if best is None:
        raise TrainingError(f"{folder}: training ended without a validation result")
    weights = checkpoints.best(folder / "checkpoints")
    disable_fsdp_ram_efficient_loading()  # else from_pretrained leaves the weights out in all processes but one
    return kind.from_pretrained(weights, dtype=torch.float32).to(loop.args.device), best


def beside_of(folder: Path) -> dict[str, Tensor]:
    """What was trained beside the model that `fit` returned from ``folder``, by names without `BESIDE`."""
    best = checkpoints.best(folder / "checkpoints")
    file = best / BESIDE_FILE if best else None
    found = safetensors.torch.load_file(file) if file and file.is_file() else {}
    return {name.removeprefix(f"{BESIDE}."): value for name, value in found.items()}


def _arguments(config: LoopConfig, folder: Path, device: torch.device, steps: int) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        lr_scheduler_type="linear",
        warmup_steps=round(config.warmup * steps),
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        # Started by accelerate, training has the precision of accelerate's configuration.
        bf16="ACCELERATE_MIXED_PRECISION" not in os.environ and autocasts(device, folder / "checkpoints"),
        use_cpu=device.type == "cpu",
        seed=config.seed,
        save_strategy="steps",
        save_steps=config.save_every,
        eval_strategy="no",
        # Every checkpoint at the end of a logged span: a resumed run can't know the losses before its checkpoint.
        logging_steps=math.gcd(25, config.save_every),
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are for several processes
    return arguments


def _resume(folder: Path, first: int) -> Path | None:
    """The checkpoint to go on from; what was logged after it is taken back.

    Args:
        first: step of the first validation.
    """
    found = checkpoints.newest(folder / "checkpoints")
    step = checkpoints.step_of(found) if found else 0
    made_by = len(list(found.glob("rng_state*.pth"))) if found else processes.count()
    if made_by != processes.count():
        raise TrainingError(
            f"{found}: {made_by} processes made this checkpoint, now there are {processes.count()}; "
            f"start as many, or delete {folder / 'checkpoints'} to start again"
        )
    checkpoints.check_best(folder / "checkpoints", step, due=step >= first)
    go_back(folder / "log.jsonl", step)
    return found
