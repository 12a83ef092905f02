"""Sentences with two marked entities and how they are related, in both directions, among entities that are not.

One in five rows has no relation: either nothing relates the two, or one of them is the head or tail of a relation whose
other half is not marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from random import Random

from lilliput.benchmarks.training.generated import sentences, values
from lilliput.benchmarks.training.generated.relation_frames import FRAMES, NOTHING
from lilliput.benchmarks.training.generated.relation_templates import RELATIONS
from lilliput.benchmarks.training.generated.sentences import Part
from lilliput.benchmarks.training.generated.values import Values

SIZES: Mapping[str, int] = {"train": 4200, "validation": 500, "test": 1200}
NONE = "none"
UNRELATED = 0.2
LOWER = 0.25
"""Share of sentences without capitals."""
BARE = "{X}."
"""The frame that is none, which all parts have."""


def generate(seed: int, sizes: Mapping[str, int] = SIZES) -> dict[str, Part]:
    """Rows of ``text``, with markers, and ``relation`` for each part."""
    every = [by for relation in RELATIONS.values() for by in relation.cores.values()]
    every += [*NOTHING.values(), *FRAMES.values()]
    strings = values.parts(seed, sentences.words(*(line for some in every for line in some)))
    made = {}
    for name, count in sizes.items():
        draw, part = Random(f"{seed} relation {name}"), Part()
        for kind in sentences.spread(sorted(RELATIONS), count // 2 if name == "train" else count, draw):
            _add(part, kind, name, strings[name], draw)
        made[name] = part
    return made


def _add(part: Part, kind: str, name: str, strings: Values, draw: Random) -> None:
    """A sentence in a frame, two of its entities marked; for training in both orders, so that the order is learned."""
    relation, frame = RELATIONS[kind], draw.choice(FRAMES[name])
    core, unrelated = draw.choice(relation.cores[name]), draw.random() < UNRELATED
    if unrelated and (frame == BARE or draw.random() < 0.5):
        core = draw.choice(NOTHING[name])
    sorts = {"H": relation.head, "T": relation.tail}
    found = sentences.pieces(frame.replace("{X}", core), lambda slot: _string(sorts.get(slot, slot), strings, draw))
    if draw.random() < LOWER:
        found = [(text.lower(), slot) for text, slot in found]

    pair = _pair([slot for _, slot in found], unrelated, draw)
    for first, second in (pair, pair[::-1]) if name == "train" else (pair,):
        label = NONE if unrelated else kind
        if not unrelated and not relation.symmetric:
            label += "(e1,e2)" if found[first][1] == "H" else "(e2,e1)"
        part.rows.append({"text": _marked([text for text, _ in found], (first, second)), "relation": label})
    part.texts.append("".join(text for text, _ in found))
    part.templates.update({core, frame} - {BARE})
    part.strings.update(text for text, slot in found if slot)


def _string(sort: str, strings: Values, draw: Random) -> str:
    kinds = {"PER": strings.full_name, "ORG": strings.company, "LOC": strings.place}
    return kinds[sort](draw) if sort in kinds else str(draw.choice(strings.years))


def _pair(slots: Sequence[str | None], unrelated: bool, draw: Random) -> tuple[int, int]:
    """Places of the pieces that become the first and the second entity, in either order."""
    entities = [place for place, slot in enumerate(slots) if slot not in (None, "DATE")]
    related = {place for place in entities if slots[place] in ("H", "T")}
    pairs = [pair for pair in permutations(entities, 2) if (set(pair) == related) != unrelated]
    return draw.choice(pairs)


def _marked(texts: Sequence[str], pair: tuple[int, int]) -> str:
    marked = list(texts)
    for place, name in zip(pair, ("E1", "E2"), strict=True):
        marked[place] = f"[{name}] {texts[place]} [/{name}]"
    return "".join(marked)
