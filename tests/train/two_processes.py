"""What test_processes.py starts as two processes: they train together in several ways and write what each of them saw.

python -m torch.distributed.run --standalone --nproc-per-node 2 two_processes.py JOB.json
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from lilliput import models, processes
from lilliput.config import FinetuneConfig
from lilliput.errors import LilliputError
from lilliput.runs import Run
from lilliput.train import checkpoints, loop


class Crash(BaseException):
    """Ends the work where it stands."""


def digest(weights: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the bytes of named tensors."""
    whole = hashlib.sha256()
    for name in sorted(weights):
        whole.update(name.encode() + weights[name].contiguous().numpy().tobytes())
    return whole.hexdigest()


class Job:
    """Trains a small model on the first rows of a file, in a folder of its own for every name."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.folder = Path(job["folder"])
        self.tokenizer = models.load_tokenizer(Path(job["model"]))

    def train(self, name: str, **options: Any) -> dict[str, Any]:
        """See :meth:`_train`; an error that Lilliput raises is told too."""
        try:
            return self._train(name, **options)
        except (LilliputError, Crash) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def _train(
        self,
        name: str,
        *,
        rows: int = 23,
        dropout: float = 0.1,
        objective: Any = loop.label_loss,
        score: Any = None,
        places: bool = False,
        fit: dict[str, Any] | None = None,
        **changes: Any,
    ) -> dict[str, Any]:
        config = FinetuneConfig(**{**self.job["config"], **changes}, out=self.folder / name)
        torch.manual_seed(config.seed)
        model = models.load_classifier(Path(self.job["model"]), ("negative", "positive"))
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
        columns = {"place": [f"rows.csv:{number + 2}" for number in range(rows)]} if places else {}
        data = loop.encode(
            self.job["texts"][:rows], self.tokenizer, config.max_length, labels=self.job["labels"][:rows], **columns
        )
        pad = loop.DataCollatorWithPadding(self.tokenizer)
        read: list[list[int]] = []
        validated: list[str] = []

        def collate(batch: list[dict[str, Any]]) -> Any:
            read.append([row["row"] for row in batch])
            return pad(batch)

        def validate(model: Any) -> dict[str, float]:
            with torch.inference_mode():
                held_out = pad([data[number] for number in range(8)])
                held_out.pop("row"), held_out.pop("length"), held_out.pop("place", None)
                model.eval()
                loss = model(**held_out).loss.item()
                model.train()
            validated.append(f"{loss:.12f} {torch.initial_seed()}")
            return {"score": -loss if score is None else score}

        model, best = loop.fit(
            model,
            self.tokenizer,
            data,
            config,
            self.folder / name,
            validate,
            objective=objective,
            collate=collate,
            **(fit or {}),
        )
        last = checkpoints.newest(self.folder / name / "checkpoints")
        weights = last / "model.safetensors"  # in shards where the model is
        return {
            "read": read,
            "validated": validated,
            "best": best,
            "returned": digest(model.state_dict()),
            "last": {"step": checkpoints.step_of(last), "weights": weights.exists() and digest(load_file(weights))},
            "files": sorted(path.name for path in last.iterdir()),
        }


def failing_at(step: int, fail: Any) -> Any:
    """An objective that calls ``fail(loss)`` for its loss at a step of this process."""
    calls = iter(range(1, 1000))

    def objective(model: Any, batch: Any) -> Any:
        loss = model(**batch).loss
        return fail(loss) if next(calls) == step else loss

    return objective


def crash(loss: Any) -> Any:
    """Stop here."""
    raise Crash


def twice(model: Any, batch: Any) -> Any:
    """A loss of two passes over the batch."""
    return model(**batch).loss + model(**batch).loss


def in_one(rank: int, loss: Any, value: float) -> Any:
    """The loss, and times ``value`` in one process."""
    return loss * value if processes.rank() == rank else loss


def trainings(job: Job) -> dict[str, Any]:
    """The ways of training, each by its name."""
    seen = {
        "whole": job.train("whole"),
        "crashed": job.train("cut", objective=failing_at(5, crash)),
    }
    if processes.is_main():
        shutil.copytree(job.folder / "cut", job.folder / "kept")
    processes.gather(None)
    seen["resumed"] = job.train("cut")
    if os.environ.get("ACCELERATE_USE_FSDP"):
        return seen
    nan = failing_at(3, lambda loss: in_one(1, loss, float("nan")))
    steep = failing_at(3, lambda loss: in_one(0, loss, 1.0) + torch.sqrt(loss - loss))
    return seen | {
        "left over": job.train("left over", rows=17, epochs=2),
        "alike": job.train("alike", rows=24, dropout=0.0),
        "accumulated": job.train("accumulated", gradient_accumulation=2),
        "impatient": job.train("impatient", score=0.5, epochs=9, patience=2),
        "nan": job.train("nan", objective=nan, places=True),
        "steep": job.train("steep", objective=steep),
        "twice": job.train("twice", rows=24, dropout=0.0, objective=twice),
        "few": job.train("few", rows=1),
    }


def runs(folder: Path) -> dict[str, Any]:
    """What becomes of stages, and of errors in the main process."""
    seen: dict[str, Any] = {}
    with Run(folder / "run", "test") as run:
        for name in ("first", "again"):
            stage = run.stage("stage", {}, lambda _: {"rank": processes.rank()})
            seen[name] = [stage.result, stage.reused, stage.folder.name]
    try:
        processes.on_main(lambda: 1 / 0)
    except Exception as error:
        seen["failed"] = f"{type(error).__name__}: {error}"
    try:
        with Run(folder / "run", "another"):
            pass
    except LilliputError as error:
        seen["refused"] = type(error).__name__
    seen["gathered"] = processes.gather(processes.rank())
    seen["any"] = [processes.in_any(processes.rank() == 1), processes.in_any(False)]
    seen["tells"] = [processes.tells(ValueError("the same in all")) for _ in range(2)]
    return seen


def main() -> None:
    """Do the job and write what this process saw beside it."""
    job = Job(json.loads(Path(sys.argv[1]).read_text()))
    seen: dict[str, Any] = {"trainings": trainings(job)}
    if not os.environ.get("ACCELERATE_USE_FSDP"):
        seen["runs"] = runs(job.folder)
    (job.folder / f"seen-{processes.rank()}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    if os.environ.get("ACCELERATE_USE_FSDP"):
        # accelerate shards models between GPUs only: the processes pass for GPUs, their shards stay in main memory.
        from accelerate.state import DistributedType, PartialState

        PartialState._prepare_backend = lambda self, *_: ("gloo", DistributedType.MULTI_GPU)
    main()
