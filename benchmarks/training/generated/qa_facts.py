"""A fact of the question-answering data: who or what it is about, what the answer is, how it is stated and asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lilliput.benchmarks.training.generated.sentences import lines


@dataclass(frozen=True)
class Fact:
    """A kind of fact: slots of its subject and of its answer, statements and questions by part of the data."""

    subject: str
    answer: str
    statements: Mapping[str, tuple[str, ...]]
    questions: Mapping[str, tuple[str, ...]]


def fact(subject: str, answer: str, statements: str, questions: str) -> Fact:
    """Statements and questions, a line each; the last two are of the test, the one before them of validation."""

    def cut(text: str) -> dict[str, tuple[str, ...]]:
        every = lines(text)
        return {"train": every[:-3], "validation": every[-3:-2], "test": every[-2:]}

    return Fact(subject, answer, cut(statements), cut(questions))
