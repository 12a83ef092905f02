"""What ``lilliput demo`` does: the full recipe, and the smoke run on a subset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Settings of each stage; keys are those of the stage's configuration class.

    Attributes:
        subset: rows of each split that are used; None for all.
        students: name of each student -> settings of its distillation; ``initial_model`` names a student before it.
        export: settings of the gates.
        rounds: rounds of the benchmark.
        seconds: what each stage takes on two cores of a 2023 server; used for the first estimate only.
    """

    subset: Mapping[str, int] | None
    teacher: Mapping[str, Any]
    students: Mapping[str, Mapping[str, Any]]
    export: Mapping[str, Any]
    rounds: int
    seconds: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """What decides the models, as JSON values."""
        students = {name: dict(settings) for name, settings in self.students.items()}
        return {"teacher": dict(self.teacher), **students, "export": dict(self.export)}


TEACHER_FLOOR = 0.865
"""Accuracy on the embedded test split below which a teacher is too weak for its students' figures to count."""

FULL = Recipe(
    subset=None,
    teacher={"epochs": 3, "learning_rate": 1e-4},
    students={
        "student-l3": {"student": "layers=3", "augment": 1, "epochs": 3, "learning_rate": 3e-4},
        "student-l2": {
            "student": "layers=2",
            "initial_model": "student-l3",
            "augment": 1,
            "epochs": 2,
            "learning_rate": 3e-4,
        },
    },
    export={},
    rounds=40,
    seconds={
        "data": 3,
        "teacher": 190,
        "student-l3": 470,
        "student-l2": 190,
        "bundles": 70,
        "benchmark": 210,
        "report": 3,
    },
)

SMOKE = Recipe(
    subset={"train": 600, "validation": 120, "test": 120, "transfer": 400},
    teacher={"epochs": 1, "learning_rate": 2e-4, "warmup": 0.2},
    students={
        "student-l3": {"student": "layers=3", "augment": 0, "epochs": 1},
        "student-l2": {"student": "layers=2", "initial_model": "student-l3", "augment": 0, "epochs": 1},
    },
    # A model that has hardly learned is undecided on many texts, so more labels flip under int8 than later.
    export={"gate_texts": 80, "min_agreement": 0.9},
    rounds=4,
    seconds={"data": 2, "teacher": 15, "student-l3": 10, "student-l2": 8, "bundles": 35, "benchmark": 35, "report": 2},
)
