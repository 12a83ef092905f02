"""The family of students of one fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lilliput.benchmarks.distillation.family import FAMILY
from lilliput.benchmarks.folds import TEACHER, ModelsOfFold
from lilliput.compress.distillation import distill_stage
from lilliput.config import DistillConfig
from lilliput.runs import Stage
from lilliput.train.data import Dataset


class Fold(ModelsOfFold):
    """One fold and its students; see `ModelsOfFold`."""

    def __init__(self, number: int, work: Path, teachers: Path, **settings: Any) -> None:
        super().__init__(number, work, teachers, "distillation", **settings)

    def student(self, name: str) -> Stage:
        """A member of the family, and before it the one that it starts from."""
        return self.distil(name, FAMILY[name])

    def distil(
        self,
        stage: str,
        settings: Mapping[str, Any],
        dataset: Dataset | None = None,
        variants: Sequence[str] = (TEACHER,),
    ) -> Stage:
        """Any student of this fold, as a stage of that name; ``initial_model`` names a member of the family."""
        chosen: dict[str, Any] = {**self.settings, **settings, "out": self.run.folder}
        if initial := chosen.get("initial_model"):
            chosen["initial_model"] = str(self.student(initial).folder)
        chosen["teacher"] = tuple(str(self.teacher(variant)) for variant in variants)
        return distill_stage(self.run, stage, DistillConfig(**chosen), dataset or self.dataset)

    def bundle(self, name: str) -> Stage:
        """The bundle of a student, fp32 and int8 (see `bundle_of`)."""
        return self.bundle_of(name, self.student(name).folder)
