"""Sentences with people, places, companies and dates, in BIO tags."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from random import Random

from lilliput.benchmarks.training.generated import ner_grammar, ner_templates, sentences, values
from lilliput.benchmarks.training.generated.sentences import Part
from lilliput.benchmarks.training.generated.values import Values

TEMPLATES = {
    "train": sentences.lines(ner_templates.TRAIN),
    "validation": sentences.lines(ner_templates.VALIDATION),
    "test": sentences.lines(ner_templates.TEST),
}
SIZES: Mapping[str, int] = {"train": 3000, "validation": 600, "test": 3000}
GROWN = 0.7
"""Share of training sentences whose templates are made by the grammar."""
LOWER, UPPER = 0.25, 0.1
"""Shares of sentences without capitals, and of nothing but capitals."""

_THINGS = [thing.strip() for thing in ner_templates.THINGS.split(",")]
_JOBS = [job.strip() for job in ner_templates.JOBS.split(",")]
_SHORT = "|".join(name for name in calendar.month_abbr if name)
_WORD = re.compile(rf"\b(?:[A-Z]|{_SHORT})\.|\w+(?:[-'&/]\w+)*|[^\w\s]")


def generate(seed: int, sizes: Mapping[str, int] = SIZES) -> dict[str, Part]:
    """Rows of ``tokens`` and ``tags`` for each part."""
    used = [line for some in (*TEMPLATES.values(), *ner_grammar.RULES.values()) for line in some]
    strings = values.parts(seed, sentences.words(*used, ner_templates.THINGS, ner_templates.JOBS))
    made = {}
    for name, count in sizes.items():
        draw, part = Random(f"{seed} ner {name}"), Part()
        grown = round(count * GROWN) if name == "train" else 0
        for template in sentences.spread(TEMPLATES[name], count - grown, draw):
            _add(part, template, strings[name], draw)
        for _ in range(grown):
            _add(part, ner_grammar.template(draw), strings[name], draw)
        made[name] = part
    return made


def _add(part: Part, template: str, strings: Values, draw: Random) -> None:
    """Fill a template, and tag the words of its entities."""
    fillers = {
        "PER": strings.person,
        "LOC": strings.place,
        "ORG": strings.company,
        "DATE": strings.date,
        "thing": lambda one: one.choice(_THINGS),
        "job": lambda one: one.choice(_JOBS),
        "n": lambda one: str(one.randint(2, 950)),
    }
    tokens: list[str] = []
    tags: list[str] = []
    for text, slot in sentences.pieces(template, lambda name: fillers[name](draw)):
        found = _WORD.findall(text)
        entity = slot is not None and slot.isupper()
        tokens += found
        tags += [f"{'I' if number else 'B'}-{slot}" if entity else "O" for number in range(len(found))]
        if entity:
            part.strings.add(text)
    style = draw.random()
    if style < LOWER + UPPER:
        tokens = [token.lower() if style < LOWER else token.upper() for token in tokens]
    part.rows.append({"tokens": tokens, "tags": tags})
    part.texts.append(" ".join(tokens))
    part.templates.add(template)
