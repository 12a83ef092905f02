"""Questions on short contexts: several people, companies or towns in each, with facts of the same kinds.

A context tells of two or three subjects of one sort. The question is on one fact of one of them, so that others of the
same form are wrong answers near by; or on a fact that is told of another subject only, or on a subject that the context
does not name: then there is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from lilliput.benchmarks.training.generated import qa_templates, sentences, values
from lilliput.benchmarks.training.generated.qa_templates import FACTS, PADDING
from lilliput.benchmarks.training.generated.sentences import Part
from lilliput.benchmarks.training.generated.values import Values

SIZES: Mapping[str, int] = {"train": 4000, "validation": 400, "test": 1000}
UNANSWERABLE = 0.25
PRONOUN = 0.4
"""Share of sentences that go on about a subject without its name, where they begin with it."""

_PRONOUNS = {"PER": ("She", "He"), "ORG": ("The company", "It"), "LOC": ("The town", "It")}


@dataclass(frozen=True)
class Strings:
    """What fills the slots of a part."""

    names: Values
    lists: Mapping[str, Sequence[str]]

    def draw(self, slot: str, draw: Random) -> str:
        """A string for a slot."""
        if slot in self.lists:
            return draw.choice(self.lists[slot])
        if slot == "DATE":
            return str(draw.choice(self.names.years))
        return {"PER": self.names.full_name, "LOC": self.names.place, "ORG": self.names.company}[slot](draw)


@dataclass(frozen=True)
class Told:
    """A fact as a context has it: the answer and its first character."""

    subject: str
    kind: str
    answer: str
    start: int


def generate(seed: int, sizes: Mapping[str, int] = SIZES) -> dict[str, Part]:
    """Rows of ``question``, ``context`` and ``answers`` for each part."""
    every = [by for fact in FACTS.values() for by in (fact.statements, fact.questions)] + [PADDING]
    texts = [line for by in every for some in by.values() for line in some]
    texts += [qa_templates.JOBS, qa_templates.HOBBIES, qa_templates.MATERIALS, qa_templates.GOODS]
    names, lists = values.parts(seed, sentences.words(*texts)), _lists(seed)
    made = {}
    for name, count in sizes.items():
        draw, part = Random(f"{seed} qa {name}"), Part()
        for kind in sentences.spread(sorted(FACTS), count, draw):
            _add(part, kind, name, Strings(names[name], lists[name]), draw)
        made[name] = part
    return made


def _lists(seed: int) -> dict[str, dict[str, list[str]]]:
    """Jobs, hobbies, products and numbers of each part."""
    every = {
        "job": qa_templates.JOBS.split(),
        "hobby": [re.sub(r"\s+", " ", hobby.strip()) for hobby in qa_templates.HOBBIES.split(",")],
        "product": [f"{one} {two}" for one in qa_templates.MATERIALS.split() for two in qa_templates.GOODS.split()],
        "number": [str(number) for number in range(113, 9800, 7) if not 1900 < number < 2100],
    }
    return values.cut(every, seed)


def _add(part: Part, kind: str, name: str, strings: Strings, draw: Random) -> None:
    """A context, and a question of this kind on it."""
    context, told, others = _context(part, kind, name, strings, draw)
    template = draw.choice(FACTS[kind].questions[name])
    if draw.random() < UNANSWERABLE:
        subject = draw.choice(others) if others and draw.random() < 0.7 else strings.draw(FACTS[kind].subject, draw)
        found = [one for one in told if one.kind == kind and one.subject == subject]
    else:
        found = [draw.choice([one for one in told if one.kind == kind])]
        subject = found[0].subject
    question = template.replace("{S}", subject)
    answers = {"text": [one.answer for one in found], "answer_start": [one.start for one in found]}
    part.rows.append({"question": question, "context": context, "answers": answers})
    part.texts += [question, context]
    part.templates.add(template)
    part.strings.update((subject, *(one.answer for one in told)))


def _context(part: Part, kind: str, name: str, strings: Strings, draw: Random) -> tuple[str, list[Told], list[str]]:
    """A context, its facts, and the subjects of whom it does not tell this kind of fact."""
    sort = FACTS[kind].subject
    kinds = sorted(one for one, fact in FACTS.items() if fact.subject == sort)
    subjects = list({strings.draw(sort, draw): None for _ in range(draw.choice((2, 2, 3)))})
    without = [subject for subject in subjects[1:] if draw.random() < 0.4]
    context, told = "", []
    draw.shuffle(subjects)
    for subject in subjects:
        some = draw.sample([one for one in kinds if one != kind], min(len(kinds) - 1, draw.choice((1, 1, 2))))
        some += [] if subject in without else [kind]
        draw.shuffle(some)
        pronoun = draw.choice(_PRONOUNS[sort])
        for number, one in enumerate(some):
            statement = draw.choice(FACTS[one].statements[name])
            part.templates.add(statement)
            if number and statement.startswith("{S} ") and draw.random() < PRONOUN:
                statement = pronoun + statement.removeprefix("{S}")
            answer = strings.draw(FACTS[one].answer, draw)
            before, _, after = statement.replace("{S}", subject).partition("{A}")
            told.append(Told(subject, one, answer, len(context) + len(before)))
            context += f"{before}{answer}{after} "
        if draw.random() < 0.25:
            context += draw.choice(PADDING[name]) + " "
    return context.strip(), told, without
